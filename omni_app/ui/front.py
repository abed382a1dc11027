"""What stands in front of the built pages: the guard, the security headers, the caching.

The pages are static files that hold no data; their data comes over the socket, where every event is checked
(`omni_app.ui.session`). The guard here only spares a stranger the way: no cookie, straight to the log-in.
"""

import base64
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from omni_app.origin import allowed_origins, session_cookie, transport_security
from omni_app.settings import Settings
from omni_app.ui.session import log_unexpected

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

INLINE_SCRIPT = re.compile(r"<script(?![^>]*\ssrc=)[^>]*>(.*?)</script>", re.DOTALL)
INLINE_STYLE = re.compile(r"<style[^>]*>(.*?)</style>", re.DOTALL)
BUILT_ADDRESS = re.compile(r"""(["'`])(ws|http)s?://[^/"'`]+(/[^"'`]*)\1""")
"""An address of this server as Reflex bakes it into the pages."""
HERE = 'const here=typeof location>"u"?"http://localhost":location.origin,hereWs=here.replace(/^http/,"ws");'
FOREVER = b"public, max-age=31536000, immutable"
"""For files whose address changes with their content."""


@dataclass(frozen=True, slots=True)
class Site:
    """The built files, read once at the start."""

    scripts: tuple[str, ...] = ()
    styles: tuple[str, ...] = ()
    addresses: Mapping[str, bytes] = ()  # type: ignore[assignment]
    """Path of a script that holds this server's address -> its text with the page's own address instead."""


def read_site(client: Path) -> Site:
    """What the headers need to know of the build in `client`; an empty site when nothing is built."""
    pages = [path.read_text() for path in sorted(client.rglob("*.html"))]
    addresses = {
        f"/assets/{path.name}": portable(path.read_text()).encode() for path in client.glob("assets/reflex-env-*.js")
    }
    return Site(
        scripts=_hashes(INLINE_SCRIPT.findall("\n".join(pages))),
        styles=_hashes(INLINE_STYLE.findall("\n".join(pages))),
        addresses=addresses,
    )


def portable(script: str) -> str:
    """The script with the address of the page it runs in, in place of the one it was built for.

    So one build serves any host and port: a proxy, a container's mapped port, a port that was changed after the build.
    """
    return HERE + BUILT_ADDRESS.sub(lambda match: f'({"hereWs" if match[2] == "ws" else "here"}+"{match[3]}")', script)


def _hashes(texts: Iterable[str]) -> tuple[str, ...]:
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts}
    return tuple(f"'sha256-{digest}'" for digest in sorted(digests))


def content_security_policy(site: Site, settings: Settings) -> str:
    """Own files and the known inline pieces of the built pages; nothing evaluated, nothing from elsewhere."""
    sockets = " ".join(origin.replace("http", "ws", 1) for origin in allowed_origins(settings))
    rules = {
        "default-src": "'none'",
        "script-src": " ".join(("'self'", *site.scripts)),
        "style-src": " ".join(("'self'", *site.styles)),
        "connect-src": f"'self' {sockets}",
        "img-src": "'self' data:",
        "font-src": "'self'",
        "object-src": "'none'",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class Front:
    """The ASGI layer around Reflex: pages and their files; the socket passes through."""

    def __init__(self, app: ASGIApp, *, site: Site, settings: Settings, guarded: Iterable[str]) -> None:
        self._app = app
        self._site = site
        self._cookie = session_cookie(settings)
        self._guarded = frozenset(path.rstrip("/") for path in guarded)
        self._always = _headers(
            {
                "x-content-type-options": "nosniff",
                "x-frame-options": "DENY",
                "referrer-policy": "same-origin",
                "permissions-policy": "camera=(), geolocation=(), microphone=()",
                "cross-origin-opener-policy": "same-origin",
                "content-security-policy": content_security_policy(site, settings),
            }
            | transport_security(settings)
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._always, *_caching(scope, message["status"])]
            await send(message)

        answer = self._own_answer(scope)
        await (answer or self._app)(scope, receive, guarded_send)

    def _own_answer(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path in self._site.addresses:
            return Response(self._site.addresses[path], media_type="text/javascript")
        if path.rstrip("/") in self._guarded and not self._has_cookie(scope):
            return RedirectResponse("/login/?" + urlencode({"next": _address(scope)}), status_code=303)
        return None

    def _has_cookie(self, scope: Scope) -> bool:
        return bool(cookie_parser(Headers(scope=scope).get("cookie", "")).get(self._cookie))


def _address(scope: Scope) -> str:
    """Path and query of a page, to come back to after the log-in."""
    query = scope.get("query_string", b"").decode("latin-1")
    return str(scope["path"]).rstrip("/") + "/" + (f"?{query}" if query else "")


def log_event_error(exception: Exception) -> None:
    """Reflex's own errors while it handles an event, which no handler of ours saw."""
    log_unexpected("an event", exception)


def log_browser_error(exception: Exception) -> None:
    """An error that a browser reports; anybody can send one, so it is one short line."""
    log.warning("a browser reports: %.300r", str(exception))


def _caching(scope: Scope, status: int) -> list[Header]:
    """Files with a hash in their name or a version in their query stay; everything else is asked for again."""
    stays = scope["path"].startswith("/assets/") or scope["query_string"].startswith(b"v=")
    return [(b"cache-control", FOREVER if stays and status == 200 else b"no-cache")]


def _headers(values: Mapping[str, str]) -> list[Header]:
    return [(name.encode(), value.encode()) for name, value in values.items()]
