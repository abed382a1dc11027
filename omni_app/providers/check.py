"""For the operator: which providers are configured, and whether their keys work."""

from collections.abc import Mapping

import httpx

from omni_app.authorities import web_client
from omni_app.providers.base import FaultKind, Provider
from omni_app.providers.faults import error_object, kind_of
from omni_app.settings import PROVIDER_KEY_VARIABLES, Settings

TIMEOUT_S = 10.0
TELLS = {"anthropic": "v1/models", "gemini": "v1beta/models", "openrouter": "key"}
"""Provider -> what it gives to a right key only, where that is not `models`: OpenRouter lists its models to anybody."""


async def check_providers(
    settings: Settings, providers: Mapping[str, Provider], *, call: bool
) -> list[tuple[str, str]]:
    """`(name, state)` per provider: ready, what to set, or (with `call`) what it answered to our key."""
    states = []
    async with web_client(TIMEOUT_S) as client:
        for name, provider in providers.items():
            state = provider.unavailable_reason() or "ready"
            if state == "ready" and call and name in PROVIDER_KEY_VARIABLES:
                state = await _ask(client, settings, name)
            states.append((name, state))
    return states


async def _ask(client: httpx.AsyncClient, settings: Settings, name: str) -> str:
    key = settings.provider_key(name)
    try:
        answer = await client.get(_address(settings, name), headers=_headers(name, key))
    except httpx.HTTPError as error:
        return f"cannot be reached ({type(error).__name__})"
    if answer.status_code == 200:
        return "ready, the key works"
    kind = kind_of(answer.status_code, error_object(answer.content))
    variable = PROVIDER_KEY_VARIABLES[name]
    return (
        f"refuses the key: check {variable}"
        if kind is FaultKind.AUTHENTICATION
        else f"answers with HTTP {answer.status_code}"
    )


def _address(settings: Settings, name: str) -> str:
    return f"{settings.provider_base_url(name)}/{TELLS.get(name, 'models')}"


def _headers(name: str, key: str) -> dict[str, str]:
    if name == "anthropic":
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}
    if name == "gemini":
        return {"x-goog-api-key": key}
    return {"Authorization": f"Bearer {key}"}
