"""What every Python client's script shares: its check functions, run one by one, told as lines of JSON."""

import json
import os
import sys
import time
import traceback
import urllib.request
from collections.abc import Callable, Mapping

BASE_URL = os.environ["OMNI_URL"]
"""The server, without `/v1`."""
KEY = os.environ["OMNI_KEY"]
QUESTION = "Write a Python function that reverses a linked list."
WEATHER = "What is the weather in Paris?"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
CANCEL_DEADLINE_S = 10.0


class NotSupported(Exception):
    """The client has no such thing, whatever the server does."""


class NotOffered(Exception):
    """The client has it, and our server does not."""


def check(fact: object, what: str) -> None:
    """Raises `AssertionError` saying `what` when the fact does not hold."""
    if not fact:
        raise AssertionError(what)


def failed_requests() -> int:
    """How many of the org's requests have no whole answer in the ledger; a cancelled one is among them."""
    request = urllib.request.Request(f"{BASE_URL}/v1/usage", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        usage = json.load(answer)
    return int(usage["total_requests"]) - int(usage["successful_requests"])


def check_cancelled(before: int) -> None:
    """Raises unless the ledger soon has one more request that was broken off."""
    until_s = time.monotonic() + CANCEL_DEADLINE_S
    while failed_requests() <= before:
        check(time.monotonic() < until_s, "the server did not notice that the client went away")
        time.sleep(0.2)


def check_failed_once(before: int) -> None:
    """Raises unless the failed call is one request in the ledger: the client did not send it again."""
    time.sleep(2)
    check(failed_requests() == before + 1, f"{failed_requests() - before} requests for one call")


def raises(kinds: type[Exception] | tuple[type[Exception], ...], call: Callable[[], object]) -> Exception:
    """The error that the call raised. Raises `AssertionError` when it raised none of these kinds."""
    try:
        call()
    except kinds as error:
        return error
    raise AssertionError(f"no {kinds} was raised")


def run(checks: Mapping[str, Callable[[], object]]) -> None:
    """Runs the checks; prints `{"capability", "result", "detail"}` for each."""
    for name, one in checks.items():
        result, detail = "pass", ""
        try:
            one()
        except NotSupported as reason:
            result, detail = "not supported", str(reason)
        except NotOffered as reason:
            result, detail = "not offered by us", str(reason)
        except Exception as error:  # noqa: BLE001 whatever a client raises is its result
            result, detail = "fail", f"{type(error).__name__}: {error}"
            traceback.print_exc()
        print(json.dumps({"capability": name, "result": result, "detail": detail[:500]}))
        sys.stdout.flush()
