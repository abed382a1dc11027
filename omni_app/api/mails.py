"""Mail to people with accounts of our own, where `SMTP_URL` is set: a link that confirms a sign-up, one that resets.

What a link carries is sealed and stands behind its `#`: no server's log has it, nobody but us reads it. A mail is sent
after the answer, in a thread, so that an answer takes as long for an address that has an account as for one that has
none.
"""

import asyncio
import logging
import smtplib
import ssl
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from omni_app.authorities import client_context
from omni_app.errors import InvalidRequest
from omni_app.limits.base import Quota
from omni_app.services import Services
from omni_app.settings import Settings
from omni_app.storage.sealing import CannotOpen, Sealer

log = logging.getLogger(__name__)

PURPOSE = "mail links"
TIMEOUT_S = 10.0
MAX_TOKEN = 2_000
MAILS_TO_ONE = ((3, 3_600.0), (10, 86_400.0))
"""Mails to one address in so many seconds: what comes beyond is not sent, and the answer is the same."""


class StaleLink(InvalidRequest):
    """The link of a mail was changed, is too old, or was used."""


def sends_mail(settings: Settings) -> bool:
    """Whether we do: Supabase Auth sends its own."""
    return bool(settings.smtp_url.get_secret_value()) and not settings.supabase_url


@dataclass(frozen=True, slots=True)
class Links:
    """Makes links, and reads them again."""

    settings: Settings

    def link(self, kind: str, facts: dict[str, Any], *, lasts_s: int) -> str:
        """The address of the page `kind` with these facts sealed in it."""
        text = orjson.dumps(facts | {"until": int(time.time()) + lasts_s})
        token = urlsafe_b64encode(self._sealer().seal(text, about=kind)).decode().rstrip("=")
        return f"{self.settings.origin}/{kind}/#{kind}={token}"

    def facts(self, kind: str, token: str) -> dict[str, Any]:
        """What was sealed. Raises `StaleLink`."""
        try:
            sealed = urlsafe_b64decode(token[:MAX_TOKEN] + "=" * (-len(token[:MAX_TOKEN]) % 4))
            facts: dict[str, Any] = orjson.loads(self._sealer().open(sealed, about=kind))
        except (CannotOpen, ValueError):
            raise StaleLink("this link cannot be read: open it as it stands in the mail") from None
        if facts["until"] < time.time():
            raise StaleLink("this link is too old: ask for another one")
        return facts

    def _sealer(self) -> Sealer:
        return Sealer(self.settings.secret_key, purpose=PURPOSE, other_key=self.settings.secret_key_other)


async def send(services: Services, to: str, subject: str, text: str) -> None:
    """Sends, unless the address has had enough."""
    if await _may_send(services, to):
        await deliver(services.settings, to, subject, text)


async def deliver(settings: Settings, to: str, subject: str, text: str) -> bool:
    """Sends; a mail server that does not take it is logged, and the answer is False."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings.mail_from, to, subject
    message.set_content(text)
    try:
        await asyncio.to_thread(_deliver, settings, message)
    except (OSError, smtplib.SMTPException) as error:
        log.warning("a mail could not be sent: %s", type(error).__name__)
        return False
    return True


async def _may_send(services: Services, to: str) -> bool:
    whom = services.security.mark(to)
    for limit, window_s in MAILS_TO_ONE:
        verdict = await services.limiter.take(Quota(f"mail:{whom}:{window_s:g}", limit, window_s))
        if not verdict.allowed:
            return False
    return True


def _deliver(settings: Settings, message: EmailMessage) -> None:
    """`smtps://` is TLS from the start; `smtp://` becomes TLS where it is offered.

    It has to before a password, and in production before anything, towards hosts that may not be plain.
    """
    parts = urlsplit(settings.smtp_url.get_secret_value())
    host, context = parts.hostname or "", client_context()
    if parts.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, parts.port or 465, timeout=TIMEOUT_S, context=context)
    else:
        server = smtplib.SMTP(host, parts.port or 587, timeout=TIMEOUT_S)
    with server:
        if parts.scheme != "smtps" and (server.has_extn("starttls") if server.ehlo()[0] == 250 else False):
            server.starttls(context=context)
        is_secret = bool(parts.username) or settings.omni_env == "production"
        if is_secret and not (isinstance(server.sock, ssl.SSLSocket) or settings.may_be_plain(host)):
            raise smtplib.SMTPNotSupportedError("no TLS: nothing is sent")
        if parts.username:
            server.login(unquote(parts.username), unquote(parts.password or ""))
        server.send_message(message)
