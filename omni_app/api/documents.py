"""`/openapi.json` and `/docs`: the document, and the same document as a page for people (no script, no other host)."""

from html import escape
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from omni_app.api.openapi import document
from omni_app.api.responses import json_response
from omni_app.services import Services

STYLE = """
:root{color-scheme:light dark;--line:#8884;--dim:#667;--accent:#3b5bdb}
@media(prefers-color-scheme:dark){:root{--dim:#aab;--accent:#91a7ff}}
body{font:16px/1.55 system-ui,sans-serif;max-width:58rem;margin:0 auto;padding:2rem 1.25rem 6rem}
h1{margin:0 0 .25rem}h2{margin:2.5rem 0 .5rem;font:600 1.05rem ui-monospace,monospace}
h2 b{color:var(--accent)}h3{font-size:.95rem;margin:1.2rem 0 .3rem}a{color:var(--accent)}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .75rem .35rem 0;border-top:1px solid var(--line)}
code{font-family:ui-monospace,monospace;font-size:.9em}td:first-child{white-space:nowrap}.dim{color:var(--dim)}
"""
CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'"


def routes(services: Services) -> list[Route]:
    """Both documents, made once."""
    specification = document()
    page = docs_page(specification)

    async def openapi(request: Request) -> Response:
        return json_response(specification)

    async def docs(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": CSP})

    return [Route("/openapi.json", openapi, methods=["GET"]), Route("/docs", docs, methods=["GET"])]


def docs_page(specification: dict[str, Any]) -> str:
    """The document as one HTML page."""
    info = specification["info"]
    operations = "".join(
        _operation(path, method, operation, specification)
        for path, methods in specification["paths"].items()
        for method, operation in methods.items()
    )
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])} API</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><style>{STYLE}</style></head><body>
<p><a href="/">← {escape(info["title"])}</a></p><h1>API reference</h1><p class="dim">{escape(info["description"])}</p>
<p>Send your key as <code>Authorization: Bearer omr_…</code> or <code>X-API-Key: omr_…</code>. Every answer carries
<code>x-request-id</code>; every error is <code>{{"error": {{"code", "message"}}, "request_id"}}</code>.
Machine-readable: <a href="/openapi.json">/openapi.json</a>.</p>{operations}</body></html>"""


def _operation(path: str, method: str, operation: dict[str, Any], specification: dict[str, Any]) -> str:
    parts = [f"<h2><b>{method.upper()}</b> {escape(path)}</h2><p>{escape(operation['summary'])}</p>"]
    if "parameters" in operation:
        rows = [(p["name"], p["in"], p.get("description", "")) for p in operation["parameters"]]
        parts.append("<h3>Parameters</h3>" + _table(rows))
    if "requestBody" in operation:
        parts.append("<h3>Body</h3>" + _fields(_schema(operation["requestBody"], specification), specification))
    parts.append("<h3>Answer</h3>" + _fields(_schema(operation["responses"]["200"], specification), specification))
    errors = [
        (status, "", answer["description"]) for status, answer in operation["responses"].items() if status != "200"
    ]
    if errors:
        parts.append("<h3>Errors</h3>" + _table(errors))
    return "".join(parts)


def _schema(holder: dict[str, Any], specification: dict[str, Any]) -> dict[str, Any]:
    content, *_ = holder["content"].values()  # a stream, where there is one, comes second
    return _resolve(content["schema"], specification)


def _resolve(schema: dict[str, Any], specification: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        found: dict[str, Any] = specification["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        return found
    if "anyOf" in schema:
        return _resolve(schema["anyOf"][-1], specification)
    return schema


def _fields(schema: dict[str, Any], specification: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = [
        (name, _type(field) + (", required" if name in required else ""), field.get("description", ""))
        for name, field in schema.get("properties", {}).items()
    ]
    return _table(rows) if rows else '<p class="dim">A JSON object.</p>'


def _type(field: dict[str, Any]) -> str:
    if "enum" in field:
        return " | ".join(str(value) for value in field["enum"])
    if "const" in field:
        return str(field["const"])
    if "$ref" in field:
        return str(field["$ref"].rsplit("/", 1)[1])
    if "anyOf" in field:
        return " or ".join(_type(one) for one in field["anyOf"])
    kind = field.get("type", "value")
    if kind == "array":
        return f"list of {_type(field['items'])}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td class=dim>{escape(kind)}</td><td>{escape(text)}</td></tr>"
        for name, kind, text in rows
    )
    return f'<div class="scroll"><table>{lines}</table></div>'
