"""The API as one ASGI app: routes, error mapping, and the layer that every answer passes through.

It serves alone (`omni_app.asgi`) or in front of the web app (`omni_app.omni_app`). Authentication hangs on the
route (`Doorkeeper.admit` in each endpoint), never on the path's text.
"""

from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from omni_app.api import (
    account,
    chat,
    completions,
    cors,
    documents,
    drafts,
    embeddings,
    estimate,
    exports,
    factor_routes,
    health,
    invitations,
    key_routes,
    lost_factor,
    mail_routes,
    messages,
    metrics,
    models,
    openai_responses,
    request_export,
    router_debug,
    team,
    usage,
)
from omni_app.api.dispatch import Dispatch
from omni_app.api.idempotency import Idempotency
from omni_app.api.load_shedding import BODIES, BODY, MARK, LoadShedding, headers_of
from omni_app.api.noted import note_turned_away, noting_refusals
from omni_app.api.responses import on_http_error, on_omni_error, on_unexpected_error
from omni_app.api.watch import Watch
from omni_app.errors import OmniError
from omni_app.open_files import raise_limit, room_for_requests
from omni_app.origin import transport_security
from omni_app.request_ids import new_request_id
from omni_app.services import Services
from omni_app.settings import Settings

FORMS = (account, key_routes, team, invitations, factor_routes, lost_factor, mail_routes, drafts)
"""What our own pages send, under `/auth`."""
PREFIXES = ("/v1/", "/auth/")
EXACT = frozenset({"/v1", "/auth", "/health", "/ready", "/openapi.json", "/docs", "/metrics", "/estimate"})

ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; frame-ancestors 'none'"),
)


REFUSED = b"HTTP/1.1 503 Service Unavailable\r\n"


def serves(path: str) -> bool:
    """Whether a path belongs to this app rather than to the pages."""
    return path in EXACT or path.startswith(PREFIXES)


def create_api(services: Services) -> Watch:
    """The whole API over already built services."""
    routes = [
        *chat.routes(services),
        *completions.routes(services),
        *embeddings.routes(services),
        *messages.routes(services),
        *openai_responses.routes(services),
        *usage.routes(services),
        *models.routes(services),
        *router_debug.routes(services),
        *health.routes(services),
        *metrics.routes(services),
        *documents.routes(services),
        *noting_refusals([route for one in FORMS for route in one.routes(services)], services),
        *exports.routes(services),
        *request_export.routes(services),
        *estimate.routes(services),
    ]
    app = Starlette(
        routes=routes,
        exception_handlers={
            OmniError: on_omni_error,
            HTTPException: on_http_error,
            Exception: on_unexpected_error,
        },
    )
    app.router.redirect_slashes = False
    most = min(services.settings.max_in_flight, room_for_requests(raise_limit()))
    served = Idempotency(Dispatch(routes, otherwise=app), services)
    shedding = LoadShedding(served, services.turns, most_in_flight=most)
    services.observer.sources.append(shedding.samples)
    envelope = Envelope(shedding, services.settings)
    return Watch(envelope, services.observer, routes, turned_away=partial(note_turned_away, services))


class Envelope:
    """Gives the request its id, and every answer its id, security and CORS headers.

    `scope["omni_headers"]` is where endpoints leave further headers, so that errors carry them too;
    `scope["omni_status"]` is the answer's status once it has begun. Names of headers are in lower case, as ASGI has it.
    """

    def __init__(self, app: LoadShedding, settings: Settings) -> None:
        self._app = app
        self._cors_origin = settings.cors_origin.encode()
        transport = transport_security(settings).items()
        self._always = (*ALWAYS, *((name.encode(), value.encode()) for name, value in transport))
        self._refusals = {path: self._whole(body) for path, body in BODIES.items()}
        self._refusal = self._whole(BODY)
        self.crowded = app.full

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope["omni_request_id"] = new_request_id()
        scope["omni_headers"] = [(b"x-request-id", scope["omni_request_id"].encode()), *self._always]
        if scope["path"].startswith("/v1"):
            if scope["method"] == "OPTIONS":
                await self._preflight(scope, send)
                return
            scope["omni_headers"] += cors.answer_headers(scope, self._cors_origin)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                scope["omni_status"] = message["status"]
                headers = message["headers"]
                present = {name for name, _ in headers}
                headers += [pair for pair in scope["omni_headers"] if pair[0] not in present]
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def refusal(self, scope: Scope) -> bytes:
        """A whole answer for who is refused by his head alone; empty for anybody else, and where origins matter."""
        if self._cors_origin or not self._app.refuses(scope):
            return b""
        scope["omni_request_id"] = new_request_id()
        self._app.note_refusal()
        return self._refusals.get(scope["path"], self._refusal).replace(MARK, scope["omni_request_id"].encode())

    def _whole(self, body: bytes) -> bytes:
        """A refusal with this body as it goes over the wire, but for its id."""
        pairs = [(b"x-request-id", MARK), *self._always, *headers_of(body)]
        return REFUSED + b"".join([b"%b: %b\r\n" % pair for pair in pairs]) + b"\r\n" + body

    def let_in(self, scope: Scope) -> None:
        """A request is on its way here."""
        self._app.let_in(scope)

    async def _preflight(self, scope: Scope, send: Send) -> None:
        headers = [
            *scope["omni_headers"],
            (b"allow", b"GET, POST, OPTIONS"),
            *cors.preflight_headers(scope, self._cors_origin),
        ]
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
