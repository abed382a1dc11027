"""No secret in a log, and no forged line: every record of every logger is cleaned as it is made, its traceback too,
which is set in so that none of its lines looks like a record of its own.

Our own code logs no secret. Libraries do not know ours: at debug level an HTTP client tells its headers, a database
driver its parameters. So the cleaning sits where records are made, not at one handler among several.
"""

import logging
import re
from textwrap import indent
from typing import Any

REMOVED = "[removed]"
SECRET = re.compile(
    r"""
      \bomr_(?:live|test)_[0-9A-Za-z]+                      # a key of ours
    | \b(?:sk|pk|rk|gsk|xai|hf)[-_][0-9A-Za-z_-]{8,}        # a provider's: sk-…, sk-ant-…, gsk_…
    | \b(?:AIza|AQ\.)[0-9A-Za-z_-]{20,}                     # Google's
    | \beyJ[0-9A-Za-z_-]{4,}(?:\.[0-9A-Za-z_-]+)*           # a JSON web token
    | \$argon2\w*\$\S+                                      # a password's hash
    | (?<=omr_session=)[^;\s'"]+                            # a session
    | (?i:\b(?:Bearer|Basic))\s+[^\s'",]+
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)                       # name and password in a URL
    | (?i:['"]?\b(?:authorization|x-api-key|(?:set-)?cookie|password|passwd|secret|token|apikey|api_key)['"]?)
      (?:'\s*,|"\s*,|\s*[:=])\s*                            # a field's name, told as a pair, a mapping or an assignment
      (?:b?'[^']*'|b?"[^"]*"|(?i:(?:Bearer|Basic)\s+)?[^\s,;&)}\]]+)
    """,
    re.VERBOSE,
)
"""What may be a secret, by its own form or by the name before it."""

_formatter = logging.Formatter()


def cleaned(text: str) -> str:
    """The text without what may be a secret in it."""
    return SECRET.sub(REMOVED, text)


def printable(text: str) -> str:
    """The text on one line: what would begin another one, or move a terminal's cursor, is written as its code."""
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def install() -> None:
    """From here on; a second time changes nothing."""
    make = logging.getLogRecordFactory()
    if getattr(make, "omni_cleans", False):
        return

    def clean_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        record.msg, record.args = printable(cleaned(_message(record))), ()
        if record.exc_info:
            record.exc_text = indent(cleaned(_formatter.formatException(record.exc_info)), "  ")
        if record.stack_info:
            record.stack_info = cleaned(record.stack_info)
        return record

    clean_record.omni_cleans = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(clean_record)


def _message(record: logging.LogRecord) -> str:
    """The message; arguments that do not fit it are dropped: logging itself would print them."""
    try:
        return record.getMessage()
    except Exception:  # noqa: BLE001 anything can be an argument
        return str(record.msg)
