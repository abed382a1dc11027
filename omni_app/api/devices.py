"""Browsers that were logged in before: their tries at an account are counted apart from everybody else's.

So the tries of the whole internet at one account can be bounded without locking its owner out. The cookie is a random
number and the server's mark that it goes with this account's address (OWASP's device cookies); it says nothing about
who it is, opens nothing by itself, and nothing is kept of it here.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode

from starlette.requests import Request
from starlette.responses import Response

from omni_app.origin import device_cookie, is_https
from omni_app.services import Services

MAX_AGE_S = 180 * 24 * 3600
MAX_LENGTH = 120
BROWSERS = (("Edg", "Edge"), ("OPR", "Opera"), ("Firefox", "Firefox"), ("Chrome", "Chrome"), ("Safari", "Safari"))
SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iPadOS"), ("Windows", "Windows"), ("Mac OS X", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
"""What stands in `User-Agent` -> what people call it; the first one that is found."""


def known_device(request: Request, services: Services, *, email: str) -> str:
    """The random number of a browser that was logged in to this account before; "" for any other."""
    value = request.cookies.get(device_cookie(services.settings), "")
    number, _, mark = value.partition(".")
    if len(value) > MAX_LENGTH or not value.isascii() or not number:
        return ""
    return number if hmac.compare_digest(mark, _mark(services, number, email)) else ""


def remember_device(answer: Response, services: Services, *, email: str) -> None:
    """This browser is one of the account's from now on."""
    number = secrets.token_urlsafe(16)
    answer.set_cookie(
        device_cookie(services.settings), f"{number}.{_mark(services, number, email)}", max_age=MAX_AGE_S, path="/",
        secure=is_https(services.settings), httponly=True, samesite="lax",
    )  # fmt: skip


def _mark(services: Services, number: str, email: str) -> str:
    text = f"device {number} {email.strip().casefold()}"
    digest = hmac.digest(services.settings.secret_key.encode(), text.encode(), "sha256")
    return urlsafe_b64encode(digest).decode().rstrip("=")


def browser_of(request: Request) -> str:
    """The browser in fixed words, such as `Firefox on Linux`: no text of the caller's is kept."""
    agent = request.headers.get("user-agent", "")
    browser = next((name for sign, name in BROWSERS if sign in agent), "A program")
    system = next((name for sign, name in SYSTEMS if sign in agent), "")
    return f"{browser} on {system}" if system else browser
