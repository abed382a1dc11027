"""Text that would be something else in a browser, and a page that notices if it ever is."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

from playwright.sync_api import Page
from sqlalchemy import create_engine, text

from tests.servers.upstream import Upstream

MARK = "data-injected"
HOSTILE = (
    f'"\'><img src=x {MARK} onerror="window.injected=1;alert(1)">',
    f"<script {MARK}>window.injected=1;alert(1)</script>",
    f"</textarea></title><svg {MARK} onload=alert(1)>",
    f'<iframe {MARK} srcdoc="<script>parent.injected=1;alert(1)</script>"></iframe>',
    f"[x](javascript:alert(1)) ![p](https://evil.invalid/p.png) <a {MARK} href=javascript:alert(1)>x</a>",
    f"{{{{7*7}}}} ${{alert(1)}} `${{alert(1)}}` --></script><b {MARK}>b</b>",
    '=HYPERLINK("https://evil.invalid/","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    f"\u202e<form {MARK} action=https://evil.invalid><input name=q></form>",
    f"<style {MARK}>*{{background:url(https://evil.invalid/b.png)}}</style>",
    f"<base {MARK} href=https://evil.invalid/><link {MARK} rel=stylesheet href=https://evil.invalid/s.css>",
    "javascript:alert(1)//",
)
NOTICE = """
window.violations = [];
document.addEventListener('securitypolicyviolation',
  (one) => window.violations.push(`${one.blockedURI} ${one.violatedDirective}`));
"""
PATIENCE_S = 10
COLUMNS = {
    "attempts": ("model", "provider", "outcome", "detail"),
    "requests": ("endpoint", "model", "provider", "premium_model", "error_code", "session_id", "step_id"),
    "routing_logs": ("reason", "final_model"),
    "usage_rollups": ("model", "provider", "premium_model"),
    "latencies": ("model",),
    "latency_rollups": ("model",),
    "orgs": ("name", "premium_model"),
    "users": ("email",),
    "api_keys": ("name", "prefix", "last4"),
    "provider_keys": ("base_url", "last4", "entered_by"),
    "invitations": ("invited_by",),
    "policies": ("note", "author"),
    "model_changes": ("model_id", "field", "source"),
}
"""Every text that a page may show and that comes from somebody: from a caller, a provider, a person, or a file."""


def spoil(database: Path) -> int:
    """Puts hostile text into each of these columns, of every row; gives how many values were changed.

    Whatever checks a text on its way in, the pages must not need it.
    """
    engine, changed = create_engine(f"sqlite:///{database}"), 0
    with engine.begin() as connection:
        for table, columns in COLUMNS.items():
            rows = connection.execute(text(f"SELECT rowid FROM {table}")).scalars().all()
            texts = cycle(HOSTILE)
            for row in rows:
                for column in columns:
                    said = f"{next(texts)} {column}{row}"  # unique where it must be
                    statement = text(f"UPDATE OR IGNORE {table} SET {column} = :said WHERE rowid = :row")
                    changed += connection.execute(statement, {"said": said, "row": row}).rowcount
    engine.dispose()
    return changed


def assert_only_text(page: Page) -> None:
    """Nothing of it became an element, ran, or leads anywhere."""
    assert page.evaluate("window.injected") is None
    assert page.evaluate("window.violations") == []
    assert page.locator(f"[{MARK}]").count() == 0
    led = page.evaluate(
        "[...document.querySelectorAll('[href],[src],[action]')].map((one) => "
        "one.getAttribute('href') || one.getAttribute('src') || one.getAttribute('action') || '')"
    )
    assert [one for one in led if one.strip().lower().startswith("javascript:") or one.startswith("//")] == []
    assert [one for one in led if "evil.invalid" in one.partition("?")[0]] == []


def shown(page: Page) -> int:
    """How many pieces of hostile text can be read on the page."""
    said = str(
        page.evaluate(
            "document.body.innerText + [...document.querySelectorAll('input,textarea')].map((one) => one.value)"
        )
    )
    return sum(said.count(one[:12]) for one in HOSTILE)


@contextmanager
def in_background(upstream: Upstream) -> Iterator[Upstream]:
    """The provider on a loop of its own, beside a browser that holds this thread."""
    started, loop = threading.Event(), asyncio.new_event_loop()
    ended = asyncio.Event()

    async def serve() -> None:
        async with upstream:
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(PATIENCE_S)
    try:
        yield upstream
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(PATIENCE_S)
    loop.close()
