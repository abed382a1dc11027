"""The request that the playground's form makes, as code: curl, Python with OpenAI's SDK, JavaScript.

The key is never here: each sample is cut where the reader's own goes (`assets/omni.js` fills it in).
"""

import json
from collections.abc import Mapping, Sequence
from textwrap import indent
from typing import Any

from omni_app.ui.components.basics import Row

KEY = "<key>"
"""Stands for the key while a sample is written; nothing that a person typed stands before it."""
LINE_ENDS = {ord(one): f"\\u{ord(one):04x}" for one in "\x85\u2028\u2029"}

CURL = """curl {origin}/v1/chat/completions \\
  -H "Authorization: Bearer <key>" \\
  -H "Content-Type: application/json" \\
  -d {body}"""

PYTHON = """answer = client.chat.completions.create(
{arguments}
)
print(answer.model, answer.choices[0].message.content)"""

JAVASCRIPT = """const response = await fetch("{origin}/v1/chat/completions", {{
  method: "POST",
  headers: {{ "Authorization": "Bearer <key>", "Content-Type": "application/json" }},
  body: JSON.stringify({{
{fields}
  }}),
}});
const answer = await response.json();
console.log(answer.model, answer.choices ? answer.choices[0].message.content : answer.error.message);"""


def samples(body: Mapping[str, Any], models: Sequence[str], *, origin: str) -> list[Row]:
    """Each language's `kind`, and its text `before` and `after` the key. `body` is the request without its model."""
    texts = {
        "curl": curl(body, models, origin=origin),
        "openai": python(body, models, origin=origin),
        "javascript": javascript(body, models, origin=origin),
    }
    parts = {kind: text.partition(KEY) for kind, text in texts.items()}
    return [{"kind": kind, "before": before, "after": after} for kind, (before, _, after) in parts.items()]


def curl(body: Mapping[str, Any], models: Sequence[str], *, origin: str) -> str:
    """For a POSIX shell; several models in a loop."""
    fields = [f"  {literal(name)}: {literal(value, 2)}" for name, value in body.items()]
    alone = len(models) == 1
    model = f'  "model": {literal(models[0])}' if alone else '  "model": "<model>"'
    text = "{\n" + ",\n".join([model, *fields]) + "\n}"
    word = shell_word(text) if alone else shell_word(text).replace("<model>", "'\"$model\"'", 1)
    command = CURL.format(origin=origin, body=word)
    return command if alone else f"for model in {' '.join(models)}; do\n{indent(command, '  ')}\n  echo\ndone"


def shell_word(text: str) -> str:
    """The text as one word of a POSIX shell."""
    return "'" + text.replace("'", "'\\''") + "'"


def python(body: Mapping[str, Any], models: Sequence[str], *, origin: str) -> str:
    """OpenAI's SDK; our own options travel in `extra_body`."""
    known = {name: value for name, value in body.items() if name != "omni"}
    extra = {"extra_body": {"omni": body["omni"]}} if "omni" in body else {}
    alone = len(models) == 1
    arguments = [f"    model={literal(models[0]) if alone else 'model'},"]
    arguments += [f"    {name}={literal(value, 4)}," for name, value in (known | extra).items()]
    call = PYTHON.format(arguments="\n".join(arguments))
    asked = call if alone else f"for model in {literal(list(models))}:\n{indent(call, '    ')}"
    return f'from openai import OpenAI\n\nclient = OpenAI(base_url="{origin}/v1", api_key="{KEY}")\n{asked}'


def javascript(body: Mapping[str, Any], models: Sequence[str], *, origin: str) -> str:
    """`fetch`, in a browser's console, Node, Deno or Bun."""
    alone = len(models) == 1
    fields = [f"    model: {literal(models[0])}," if alone else "    model,"]
    fields += [f"    {name}: {literal(value, 4)}," for name, value in body.items()]
    call = JAVASCRIPT.format(origin=origin, fields="\n".join(fields))
    return call if alone else f"for (const model of {literal(list(models))}) {{\n{indent(call, '  ')}\n}}"


def literal(value: Any, margin: int = 0) -> str:
    """A JSON value: texts, numbers, lists and objects are written the same in all three; one message a line."""
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        return on_one_line(value)
    space = " " * margin
    lines = ",\n".join(f"{space}  {on_one_line(one)}" for one in value)
    return f"[\n{lines}\n{space}]"


def on_one_line(value: Any) -> str:
    """JSON, readable; the characters that some programs take for a line's end are escaped too."""
    return json.dumps(value, ensure_ascii=False).translate(LINE_ENDS)
