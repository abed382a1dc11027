"""Which providers there are, and what the operator is told about each."""

import pytest
from pydantic import SecretStr

from omni_app.providers.base import Provider
from omni_app.providers.catalog import build_providers
from omni_app.providers.check import check_providers
from omni_app.providers.transport import Transport
from omni_app.settings import PROVIDER_KEY_VARIABLES, Settings
from tests.providers.asking import ask, model
from tests.servers.gemini import Gemini
from tests.servers.upstream import Upstream


def test_every_unconfigured_provider_names_its_variable(transport: Transport) -> None:
    providers = build_providers(Settings(local_model="off"), transport)
    reasons = {name: provider.unavailable_reason() for name, provider in providers.items()}
    without_key = {name: f"{variable} is not set" for name, variable in PROVIDER_KEY_VARIABLES.items()}
    assert reasons == {**without_key, "local": "LOCAL_MODEL is off", "sandbox": ""}


def test_a_key_makes_a_provider_available(transport: Transport) -> None:
    providers = build_providers(Settings(groq_api_key=SecretStr("gsk_x"), gemini_api_key=SecretStr("g")), transport)
    assert [name for name in PROVIDER_KEY_VARIABLES if not providers[name].unavailable_reason()] == ["groq", "gemini"]


def test_providers_know_their_own_names(transport: Transport) -> None:
    providers = build_providers(Settings(), transport)
    assert all(provider.name == name for name, provider in providers.items())
    assert [name for name, provider in providers.items() if provider.simulated] == ["sandbox"]


def settings(upstream: Upstream, gemini: Gemini, **more: object) -> Settings:
    keys = {f"{name}_api_key": SecretStr(upstream.key) for name in PROVIDER_KEY_VARIABLES}
    urls = {f"{name}_base_url": upstream.openai_url for name in PROVIDER_KEY_VARIABLES}
    anthropic = {"anthropic_base_url": upstream.anthropic_url}
    google = {"gemini_base_url": gemini.url, "gemini_api_key": SecretStr(gemini.key)}
    return Settings.model_validate({**keys, **urls, **anthropic, **google, "sandbox_speed": 0, **more})


async def test_every_provider_answers_at_the_address_in_the_settings(transport: Transport) -> None:
    async with Upstream() as upstream, Gemini() as gemini:
        providers = build_providers(settings(upstream, gemini, local_model="off"), transport)
        for name in PROVIDER_KEY_VARIABLES:
            request = ask(params={"max_tokens": 5}, deployment=model(f"{name}/m"))
            assert "Hello" in (await providers[name].complete(request)).text
    limits = {"max_tokens", "max_completion_tokens"}
    named = [limits & call.body.keys() for call in upstream.calls]
    assert named == [{"max_completion_tokens"}, *[{"max_tokens"}] * (len(PROVIDER_KEY_VARIABLES) - 2)]


async def states(upstream: Upstream, gemini: Gemini, transport: Transport, *, call: bool) -> dict[str, str]:
    configured = settings(upstream, gemini, xai_api_key=SecretStr(""), local_model="off")
    providers: dict[str, Provider] = build_providers(configured, transport)
    return dict(await check_providers(configured, providers, call=call))


async def test_checking_asks_each_configured_provider_for_its_models(transport: Transport) -> None:
    async with Upstream() as upstream, Gemini() as gemini:
        quiet = await states(upstream, gemini, transport, call=False)
        assert not upstream.calls and not gemini.calls
        asked = await states(upstream, gemini, transport, call=True)
    assert quiet["openai"] == "ready"
    works = {name for name, state in asked.items() if state == "ready, the key works"}
    assert works == PROVIDER_KEY_VARIABLES.keys() - {"xai"}
    assert (asked["xai"], asked["sandbox"], asked["local"]) == ("XAI_API_KEY is not set", "ready", "LOCAL_MODEL is off")
    assert [call.path for call in gemini.calls] == ["/v1beta/models"]
    (asks_for_key,) = (call for call in upstream.calls if call.path.endswith("/key"))
    assert asks_for_key.path == "/v1/key", "OpenRouter tells its models to anybody"


@pytest.mark.parametrize(
    ("fault", "state"),
    [
        ("401", "refuses the key: check OPENAI_API_KEY"),
        ("403", "refuses the key: check OPENAI_API_KEY"),
        ("500", "answers with HTTP 500"),
        ("redirect", "answers with HTTP 302"),
        ("close", "cannot be reached (RemoteProtocolError)"),
    ],
)
async def test_checking_tells_what_is_wrong(fault: str, state: str, transport: Transport) -> None:
    async with Upstream(fault=fault) as upstream, Gemini() as gemini:
        told = await states(upstream, gemini, transport, call=True)
    assert told["openai"] == state


async def test_checking_a_wrong_gemini_key_says_so_although_google_says_400(transport: Transport) -> None:
    async with Upstream() as upstream, Gemini() as gemini:
        configured = settings(upstream, gemini, gemini_api_key=SecretStr("AIzaWrong"))
        told = dict(await check_providers(configured, build_providers(configured, transport), call=True))
    assert told["gemini"] == "refuses the key: check GEMINI_API_KEY"


async def test_checking_somebody_who_is_not_there_says_so(transport: Transport) -> None:
    async with Upstream() as upstream, Gemini() as gemini:
        pass
    told = await states(upstream, gemini, transport, call=True)
    assert told["openai"] == told["gemini"] == "cannot be reached (ConnectError)"
