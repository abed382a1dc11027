"""Every page of the web app, as the app itself adds them: a new page cannot be forgotten by what holds for all."""

import re
from typing import Any

from omni_app.ui.site import GUARDED, add_pages

MISSING = "/no-such-page/"
NEEDS_A_REQUEST = "/request/"
"""Shows one request: opened without an id it says so."""
VIEWS = ("/models/?mode=live",)
"""Further addresses worth a look."""


class _Recorder:
    """Takes the app's place where pages are added."""

    def __init__(self) -> None:
        self.paths: list[str] = []

    def add_page(self, _page: Any, *, route: str, **_rest: Any) -> None:
        path = "/" + route.strip("/")
        self.paths.append(MISSING if route == "404" else path if path == "/" else path + "/")

    def add_middleware(self, _middleware: Any) -> None:
        """Stands before events, and is no page."""


def _recorded() -> list[str]:
    recorder = _Recorder()
    add_pages(recorder)  # type: ignore[arg-type]
    return recorder.paths


PAGES = tuple(_recorded())
OPEN_PAGES = tuple(path for path in PAGES if path not in GUARDED)
APP_PAGES = (*(path for path in PAGES if path in GUARDED), *VIEWS)


def picture_name(path: str) -> str:
    """`/models/?mode=live` as `models-mode-live`."""
    return re.sub(r"[^a-z0-9]+", "-", path.strip("/")).strip("-") or "landing"
