"""The API's reference as a page, written from the OpenAPI document that the server itself gives out."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

INTRODUCTION = """# Reference

Made from the OpenAPI document that a running server gives out at `/openapi.json` and shows at `/docs`: every route,
field and status, and nothing else. What they mean, with examples that run, is in [the API](api.md).

Without anything said, a call needs an API key: `Authorization: Bearer omr_…` or `X-API-Key: omr_…`. A field in
**bold** is required.
"""


def reference(document: Schema) -> str:
    """The whole page, in Markdown."""
    lines = [INTRODUCTION, "## Routes", ""]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            lines += route(method, path, operation)
    lines += ["## Objects", ""]
    for name, schema in document["components"]["schemas"].items():
        lines += [f"### {name}", "", *described(schema)]
    return "\n".join(lines).rstrip() + "\n"


def route(method: str, path: str, operation: Schema) -> Iterator[str]:
    """One route: what it does, what it takes, what it answers."""
    yield from (f"### `{method.upper()} {path}`", "", f"{operation['summary']}.", "")
    if operation.get("security") == []:
        yield from ("No API key is needed.", "")
    if parameters := operation.get("parameters"):
        yield from ("| parameter | in | type | |", "|---|---|---|---|")
        for one in parameters:
            name = f"**`{one['name']}`**" if one.get("required") else f"`{one['name']}`"
            yield f"| {name} | {one['in']} | {kind(one['schema'])} | {cell(one.get('description', ''))} |"
        yield ""
    if body := operation.get("requestBody"):
        yield from ("**Body**", "", *content(body))
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield from (f"**Answer ({status})**", "", *content(answer))
    refusals = {status: answer for status, answer in operation["responses"].items() if not status.startswith("2")}
    if refusals:
        yield from ("| status | |", "|---|---|")
        yield from (f"| {status} | {cell(answer['description'])} |" for status, answer in refusals.items())
        yield ""


def content(carrier: Schema) -> Iterator[str]:
    """What a body or an answer holds, for each media type."""
    for media_type, one in carrier["content"].items():
        if media_type != "application/json":
            yield from (f"`{media_type}`", "")
        yield from described(one["schema"])


def described(schema: Schema) -> Iterator[str]:
    """A schema: a sentence, then a table of its fields when it is an object."""
    properties = schema.get("properties")
    if properties is None:
        yield from (kind(schema) + (f": {schema['description']}" if "description" in schema else ""), "")
        return
    if "description" in schema:
        yield from (f"{schema['description']}.", "")
    yield from ("| field | type | |", "|---|---|---|")
    yield from rows(schema, prefix="")
    yield ""
    if schema.get("additionalProperties") is False:
        yield from ("An unknown field is refused by name.", "")


def rows(schema: Schema, *, prefix: str) -> Iterator[str]:
    """A row for each field; those of an object within follow it, as `outer.inner`."""
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        shown = f"`{prefix}{name}`"
        yield f"| {f'**{shown}**' if name in required else shown} | {kind(field)} | {cell(remarks(field))} |"
        inner = field.get("items", field)
        if "properties" in inner:
            yield from rows(inner, prefix=f"{prefix}{name}{'[]' if 'items' in field else ''}.")


def kind(schema: Schema) -> str:
    """What a value is, in a few words; a reference is a link."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if choices := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(kind(one) for one in choices)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {kind(schema.get('items', {}))}"
    if isinstance(schema.get("type"), list):
        return " or ".join(schema["type"])
    return str(schema.get("format") or schema.get("type", "any"))


BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "minItems": "at least {}",
    "maxItems": "at most {}",
    "minLength": "at least {} characters",
    "maxProperties": "at most {} fields",
    "default": "default `{}`",
}


def remarks(field: Schema) -> str:
    """The field's description and its bounds."""
    bounds = [words.format(field[name]) for name, words in BOUNDS.items() if name in field]
    return "; ".join(filter(None, [field.get("description", ""), *bounds]))


def cell(text: str) -> str:
    """A text that stays within its cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
