"""A good request for each route and a good event for each handler: served, if only the right person sends it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.security.cast import PASSWORD, Cast, code_of_now

HELLO = [{"role": "user", "content": "Hello! How are you today?"}]
Arguments = dict[str, Any]

KNOCKS: dict[str, Callable[[Cast], Arguments]] = {
    "GET /health": lambda cast: {},
    "GET /ready": lambda cast: {},
    "GET /openapi.json": lambda cast: {},
    "GET /docs": lambda cast: {},
    "GET /metrics": lambda cast: {},
    "POST /v1/chat": lambda cast: {"body": {"messages": HELLO}},
    "POST /v1/agent-step": lambda cast: {"body": {"messages": HELLO}},
    "POST /v1/chat/completions": lambda cast: {"body": {"model": "auto", "messages": HELLO}},
    "POST /v1/images/generations": lambda cast: {"body": {"model": "auto", "prompt": "a red fox"}},
    "POST /v1/embeddings": lambda cast: {"body": {"model": "auto", "input": "a red fox"}},
    "POST /v1/messages": lambda cast: {"body": {"model": "auto", "max_tokens": 50, "messages": HELLO}},
    "POST /v1/responses": lambda cast: {"body": {"model": "auto", "input": HELLO}},
    "GET /v1/usage": lambda cast: {"path": "/v1/usage?from=2026-01-01&to=2026-01-02"},
    "GET /v1/requests.csv": lambda cast: {"path": "/v1/requests.csv?from=2026-01-01&to=2026-01-02"},
    "GET /v1/models": lambda cast: {},
    "GET /v1/models/{id:path}": lambda cast: {"path": "/v1/models/sandbox/coder"},
    "POST /v1/router/debug": lambda cast: {"body": {"messages": HELLO}},
    "POST /estimate": lambda cast: {"body": {"form": "requests", "lines": [[1, '{"messages": []}']]}},
    "POST /auth/signup": lambda cast: {"form": {"email": "new@example.com", "password": PASSWORD}},
    "POST /auth/login": lambda cast: {"form": {"email": "owner@example.com", "password": PASSWORD}},
    "POST /auth/logout": lambda cast: {"form": {}},
    "POST /auth/keys": lambda cast: {"body": {"name": "New", "kind": "test"}},
    "POST /auth/keys/rotate": lambda cast: {"body": {"id": cast.ids["test key"], "grace_hours": 1}},
    "GET /auth/draft-key": lambda cast: {},
    "GET /auth/usage.csv": lambda cast: {},
    "GET /auth/requests.csv": lambda cast: {},
    "POST /auth/password": lambda cast: {"form": {"password": PASSWORD, "new_password": "a quite different lamp 77"}},
    "POST /auth/email": lambda cast: {"form": {"password": PASSWORD, "email": "moved@example.com"}},
    "POST /auth/logout-everywhere": lambda cast: {"form": {"sure": "yes"}},
    "POST /auth/join": lambda cast: {"form": {"token": cast.ids["invitation_token"]}},
    "POST /auth/keep-invitation": lambda cast: {"form": {"token": cast.ids["invitation_token"]}},
    "POST /auth/confirm": lambda cast: {"form": {"token": "none", "password": PASSWORD}},
    "POST /auth/forgot": lambda cast: {"form": {"email": "owner@example.com"}},
    "POST /auth/reset": lambda cast: {"form": {"token": "none", "new_password": PASSWORD}},
    "POST /auth/lost-factor": lambda cast: {"form": {"token": "none", "password": PASSWORD}},
    "POST /auth/second-factor": lambda cast: {"form": {"code": "000000"}},
    "POST /auth/second-factor/begin": lambda cast: {"body": {"password": PASSWORD}},
    "POST /auth/second-factor/confirm": lambda cast: {"body": {"code": code_of_now()}},
    "POST /auth/second-factor/off": lambda cast: {"form": {"password": PASSWORD, "code": code_of_now()}},
    "POST /auth/invitations": lambda cast: {"form": {"role": "member"}},
    "POST /auth/provider-keys": lambda cast: {"form": {"provider": "groq", "key": "gsk_a-key-of-their-own"}},
    "POST /auth/delete": lambda cast: {"form": {"password": PASSWORD, "org_name": "owner"}},
}

ARGUMENTS: dict[str, Any] = {
    "key_id": "00000000-0000-0000-0000-000000000000",
    "prompt": "hello",
    "priority": "cheap",
    "latency_pref": "fast",
    "model_id": "sandbox/coder",
    "form": {"prompt": "hello"},
    "system": "Be brief.",
    "amount": "1",
    "broken": "yes",
    "column": "auto",
    "preset": "cheapest",
    "which": "quality",
    "number": "1",
    "model": "openai/gpt-x",
    "place": "0",
    "provider": "mistral",
    "days": "30",
    "wanted": "yes",
    "role": "member",
    "user_id": "00000000-0000-0000-0000-000000000000",
    "org_id": "00000000-0000-0000-0000-000000000000",
    "invitation_id": "00000000-0000-0000-0000-000000000000",
    "session_id": "00000000-0000-0000-0000-000000000000",
}
"""A good value for every argument that a handler takes."""


@dataclass(frozen=True, slots=True)
class Play:
    """An event as a person would cause it: what stands in the page's address, what they did before, and its values."""

    query: Mapping[str, str] = field(default_factory=dict)
    before: Sequence[tuple[str, Arguments]] = ()
    arguments: Arguments = field(default_factory=dict)


PLAYS: dict[str, Callable[[Cast], Play]] = {
    "keys_state.revoke": lambda cast: Play(before=[("ask", {"key_id": cast.ids["test key"]})]),
    "keys_state.save": lambda cast: Play(
        query={"key": cast.ids["test key"]}, arguments={"form": {"name": "Renamed", "expires": "keep"}}
    ),
    "keys_state.switch": lambda cast: Play(query={"key": cast.ids["test key"]}),
    "keys_state.save_budget": lambda cast: Play(arguments={"form": {"whose": "org", "amount": "5", "period": "month"}}),
    "models_state.switch_off": lambda cast: Play(query={"mode": "test"}),
    "models_state.switch_on": lambda cast: Play(query={"mode": "test"}, arguments={"model_id": "sandbox/premium"}),
    "policy_state.save": lambda cast: Play(
        before=[("use_preset", {"preset": "cheapest"})], arguments={"form": {"note": "cheaper"}}
    ),
    "settings_state.choose_baseline": lambda cast: Play(arguments={"model": "sandbox/premium"}),
    "settings_state.choose_comparison": lambda cast: Play(arguments={"place": "0", "model": "sandbox/swift"}),
    "settings_state.give_role": lambda cast: Play(arguments={"user_id": cast.ids["member"], "role": "owner"}),
    "settings_state.rename": lambda cast: Play(arguments={"form": {"name": "Engines"}}),
    "settings_state.switch_team": lambda cast: Play(arguments={"org_id": cast.ids["org"]}),
    "settings_state.take_back": lambda cast: Play(arguments={"invitation_id": cast.ids["invitation"]}),
    "settings_state.take_out": lambda cast: Play(before=[("ask", {"user_id": cast.ids["member"]})]),
}
"""Where more is needed than to open the page and to give each argument its value of `ARGUMENTS`."""
