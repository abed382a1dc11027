"""Which providers there are, and through which lane each one is reached."""

from collections.abc import Mapping
from dataclasses import replace

from omni_app.providers.anthropic_wire import AnthropicWire
from omni_app.providers.base import Provider
from omni_app.providers.gemini_wire import GeminiWire
from omni_app.providers.local import LocalModel
from omni_app.providers.openai_wire import OpenAIWire
from omni_app.providers.sandbox import Sandbox
from omni_app.providers.transport import Transport
from omni_app.settings import PROVIDER_KEY_VARIABLES, Settings

OPENAI_COMPATIBLE = ("openai", "openrouter", "groq", "mistral", "deepseek", "xai")
TAKE_CHOICES = frozenset({"openai", "mistral"})
"""Who documents `n`, with the prompt billed once; elsewhere each answer is a call of its own."""
UNKNOWN = {"mistral": ("user",), "xai": ("stop", "frequency_penalty", "presence_penalty")}
"""Parameters that a provider answers with an error: Mistral forbids what it does not know, xAI's models all reason."""
RENAMED = {"mistral": {"seed": "random_seed", "dimensions": "output_dimension"}}
TELL_USAGE = frozenset({"mistral"})
KEYED = (OpenAIWire, AnthropicWire, GeminiWire)
"""The doors that want a key."""


def base_url_of(provider: Provider) -> str:
    """Where a provider that wants a key is reached; "" for one that wants none."""
    return provider.base_url if isinstance(provider, KEYED) else ""


def with_key(provider: Provider, key: str) -> Provider | None:
    """The same provider, at the same address, with another key; None for one that wants none."""
    return replace(provider, api_key=key) if isinstance(provider, KEYED) else None


def use_keys(providers: Mapping[str, Provider], settings: Settings) -> None:
    """From their next call on the providers with a key show the one of these settings."""
    for provider in providers.values():
        if isinstance(provider, KEYED) and provider.api_key:
            provider.use_key(settings.provider_key(provider.name) or provider.api_key)


def build_providers(settings: Settings, transport: Transport) -> dict[str, Provider]:
    """Every provider by name, configured or not: one without a key says which variable to set."""
    providers: dict[str, Provider] = {
        name: OpenAIWire(
            name=name,
            base_url=settings.provider_base_url(name),
            api_key=settings.provider_key(name),
            key_variable=PROVIDER_KEY_VARIABLES[name],
            transport=transport,
            limit_field="max_completion_tokens" if name == "openai" else "max_tokens",
            takes_choices=name in TAKE_CHOICES,
            unknown=UNKNOWN.get(name, ()),
            renamed=RENAMED.get(name, {}),
            tells_usage=name in TELL_USAGE,
            vector_encoding="base64" if name == "openai" else "",
        )
        for name in OPENAI_COMPATIBLE
    }
    providers["anthropic"] = AnthropicWire(
        base_url=settings.provider_base_url("anthropic"),
        api_key=settings.provider_key("anthropic"),
        key_variable=PROVIDER_KEY_VARIABLES["anthropic"],
        transport=transport,
    )
    providers["gemini"] = GeminiWire(
        base_url=f"{settings.provider_base_url('gemini')}/v1beta",
        api_key=settings.provider_key("gemini"),
        key_variable=PROVIDER_KEY_VARIABLES["gemini"],
        transport=transport,
    )
    providers["local"] = LocalModel(transport, enabled=settings.local_model == "on")
    providers["sandbox"] = Sandbox(speed=settings.sandbox_speed)
    return providers
