"""`GET /auth/draft-key`: what a person's browser seals their drafts of prompts with.

A draft outlives its page and its session, so it lies in the browser's storage, sealed by the page's script. The key is
made from the server's secret key and the user's id: nobody else gets it, no storage holds it, and the same person gets
the same one after the next log-in.
"""

from base64 import b64encode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import refuse_cross_site, signed_in
from omni_app.api.responses import json_response
from omni_app.services import Services
from omni_app.storage.sealing import derived_key


def routes(services: Services) -> list[Route]:
    """The one route."""

    async def draft_key(request: Request) -> Response:
        refuse_cross_site(request, services.settings)
        who = await signed_in(request, services)
        key = derived_key(services.settings.secret_key, purpose=f"drafts of {who.user_id}")
        return json_response({"key": b64encode(key).decode(), "whose": who.email})

    return [Route("/auth/draft-key", draft_key, methods=["GET"])]
