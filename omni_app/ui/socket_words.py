"""What a browser may say over the socket of a tab, and nothing else.

Under the pages lie three protocols: Engine.IO, Socket.IO and Reflex's events. Each knows far more than our pages use,
and each meets what it does not expect with an exception and a traceback in the log. So what is not one of the few
messages that a page of ours sends is not handed on; whoever sent it is cut off.
"""

from collections.abc import Container
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

NAMESPACE = "/_event,"
PONG, CLOSE, CONNECT, DISCONNECT, EVENT = "3", "1", f"40{NAMESPACE}", f"41{NAMESPACE}", f"42{NAMESPACE}"
MAX_ADDRESS = 8_000

Address = Annotated[str, StringConstraints(max_length=MAX_ADDRESS)]
Schema = Annotated[str, StringConstraints(max_length=200)]


class Place(BaseModel):
    """The address that the tab shows."""

    model_config = ConfigDict(strict=True)
    pathname: Address = "/"
    asPath: Address = "/"  # noqa: N815 the browser's word
    query: dict[str, str | list[str]] = Field(default_factory=dict)


class Event(BaseModel):
    """An event of a page: the handler's name and its arguments."""

    model_config = ConfigDict(strict=True)
    name: str
    payload: dict[str, Any] = Field(default_factory=dict)
    router_data: Place = Field(default_factory=Place)
    event_actions: dict[str, Any] = Field(default_factory=dict)


class Hello(BaseModel):
    """What comes with a tab's connection: which build its page is of, and its first event."""

    model_config = ConfigDict(strict=True)
    state_schema: Schema | None = None
    event: Event | None = None


HELLO = TypeAdapter(Hello)
SENT = TypeAdapter(tuple[Literal["event"], Event])
REPORT = TypeAdapter(tuple[Literal["client_error"], dict[str, Any]])
"""An error that the browser met; Reflex caps how many are logged."""


class Nothing(BaseModel):
    """No arguments."""

    model_config = ConfigDict(strict=True, extra="forbid")


class Loads(Nothing):
    """What a page knows already, by hash. `vars` would set variables that browsers keep: there are none."""

    vars: dict[str, Any] | None = Field(default=None, max_length=0)
    hashes: list[str] | None = None


class Hydrated(Nothing):
    """Whether a tab shows its state."""

    value: bool


class Stored(Nothing):
    """As `Loads.vars`."""

    vars: dict[str, Any] = Field(max_length=0)


class Failed(Nothing):
    """An error in a page."""

    info: str
    component_stack: str


OURS = ".omni_app___"
"""In the full name of a handler of ours, which checks its arguments itself (`omni_app.ui.session`)."""
ARGUMENTS: dict[str, type[BaseModel]] = {
    "hydrate": Nothing,
    "hydrate_and_load": Loads,
    "on_load_internal": Nothing,
    "set_is_hydrated": Hydrated,
    "update_vars_internal": Stored,
    "handle_frontend_exception": Failed,
}
"""What Reflex's own handlers take; they check nothing."""


def understood(text: str, *, handlers: Container[str]) -> bool:
    """Whether this message is one of ours. `handlers`: the names of all event handlers."""
    try:
        if text.startswith(EVENT):
            return _event_known(text[len(EVENT) :], handlers)
        if text.startswith(CONNECT):
            said = HELLO.validate_json(text[len(CONNECT) :] or "{}").event
            return said is None or _can_be_called(said, handlers)
    except ValidationError:
        return False
    return text in (PONG, CLOSE, DISCONNECT)


def _event_known(said: str, handlers: Container[str]) -> bool:
    if said.startswith('["event",'):
        return _can_be_called(SENT.validate_json(said)[1], handlers)
    REPORT.validate_json(said)
    return True


def _can_be_called(event: Event, handlers: Container[str]) -> bool:
    """Whether there is such a handler, and its arguments are checked: by itself, or here."""
    if event.name not in handlers:
        return False
    if OURS in event.name:
        return True
    takes = ARGUMENTS.get(event.name.rpartition(".")[2])
    return takes is not None and takes.model_validate(event.payload) is not None
