"""`/auth/second-factor/*` of the Settings page: a second factor is turned on and off.

The secret and the recovery codes leave here once, as JSON to the page's static script: they are never in the web app's
state, nor in an address.
"""

import asyncio
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from omni_app.api.forms import may_try, may_try_code, refuse_cross_site, signed_in
from omni_app.api.json_body import read_json_object
from omni_app.api.noted import note
from omni_app.api.responses import json_response
from omni_app.api.team import Form, check_password, form_route, said
from omni_app.errors import InvalidRequest, OmniError, RateLimited
from omni_app.services import Services
from omni_app.storage import second_factors, sessions
from omni_app.storage.accounts import Identity

MAX_BODY_BYTES = 1_024
SLOW_DOWN = "too many tries: wait a minute, then try again"


def _picture(address: str) -> str:
    """The code that an app's camera reads, as a `data:` address."""
    import segno  # by who turns a factor on, which is seldom

    picture: str = segno.make(address, error="m", micro=False).svg_data_uri(scale=4, light="#fff")
    return picture


def routes(services: Services) -> list[Route]:
    """Begin, confirm, turn off."""

    async def begin(request: Request) -> Response:
        who, fields = await _asked(request, services, field="password")
        if not await may_try(request, services, account=who.email):
            raise RateLimited(SLOW_DOWN, headers={"Retry-After": "60"})
        await check_password(services, who, fields)
        async with services.database.reading() as session:
            secret = await second_factors.begin(session, user_id=who.user_id, sealer=services.factor_sealer)
            await session.commit()
        address = second_factors.address_for_apps(secret, email=who.email)
        return json_response({"secret": secret, "qr": await asyncio.to_thread(_picture, address)})

    async def confirm(request: Request) -> Response:
        who, fields = await _asked(request, services, field="code")
        try:
            codes = await _turn_on(services, who, fields["code"])
        except OmniError as error:
            note(services, request, "second_factor_on", who=who, refused=error.code)
            raise
        note(services, request, "second_factor_on", who=who)
        return json_response({"recovery_codes": codes})

    return [
        Route("/auth/second-factor/begin", begin, methods=["POST"]),
        Route("/auth/second-factor/confirm", confirm, methods=["POST"]),
        form_route("/auth/second-factor/off", "second_factor_off", turn_off, services=services),
    ]


async def _asked(request: Request, services: Services, *, field: str) -> tuple[Identity, Mapping[str, str]]:
    """Who asks, and the one field that they send."""
    refuse_cross_site(request, services.settings)
    who = await signed_in(request, services, for_self=True)
    body = await read_json_object(request, max_bytes=MAX_BODY_BYTES)
    value = body.get(field)
    if body.keys() != {field} or not isinstance(value, str):
        raise InvalidRequest(f"{field}: this field, a text, and no other", param=field)
    return who, {field: value}


async def _turn_on(services: Services, who: Identity, code: str) -> list[str]:
    """Every other browser is logged out: whoever sits there has not shown the second factor."""
    if not await may_try_code(services, who.user_id):
        raise RateLimited(SLOW_DOWN, headers={"Retry-After": "60"})
    async with services.database.reading() as session:
        codes = await second_factors.confirm(
            session, user_id=who.user_id, code="".join(code.split()), sealer=services.factor_sealer
        )
        await sessions.end_others(session, user_id=who.user_id, but=who.session_id)
        await session.commit()
    return codes


async def turn_off(services: Services, who: Identity, form: Form) -> Response:
    """Off again, with the password and a code; not while a team of theirs asks for it."""
    await check_password(services, who, form)
    if not await may_try_code(services, who.user_id):
        return said("slow_down")
    async with services.database.reading() as session:
        code, sealer = form.get("code", ""), services.factor_sealer
        await second_factors.refuse_where_asked(session, user_id=who.user_id)
        await second_factors.check(session, user_id=who.user_id, code=code, sealer=sealer)
        await second_factors.turn_off(session, user_id=who.user_id)
        await session.commit()
    return said("second_factor_off")
