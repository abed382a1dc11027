"""What the tests need from the system, and where it is: one place, for the fixtures and for `scripts/test-system.sh`.

`python -m tests.system` prints the Debian packages that are missing, on one line; nothing when all is there.
"""

import importlib.util
import shutil
from pathlib import Path

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM_PATHS = (
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)


def chromium() -> Path | None:
    """A Chromium that Playwright can drive (`executable_path`)."""
    found = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)
    if found:
        return Path(found)
    return next((path for path in map(Path, CHROMIUM_PATHS) if path.is_file()), None)


def postgres_programs() -> Path | None:
    """The folder with `initdb`, `pg_ctl` and `postgres`: the system's newest, else the one of the wheel `pgserver`."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    if newest:
        return newest.parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    wheel = importlib.util.find_spec("pgserver")
    if wheel and wheel.origin:
        return Path(wheel.origin).parent / "pginstall" / "bin"
    return None


def libfaketime() -> Path | None:
    """The library that gives a process another time (`LD_PRELOAD`)."""
    places = (path for base in ("/usr/lib", "/usr/local/lib") for path in Path(base).glob("**/libfaketimeMT.so.1"))
    return next(places, None)


def pgbouncer() -> Path | None:
    """A connection pooler for Postgres; Debian puts it where only root looks."""
    found = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin")
    return Path(found) if found else None


def missing_debian_packages() -> list[str]:
    """What `apt-get install` would have to bring."""
    needs = {
        "chromium": chromium(),
        "postgresql": postgres_programs(),
        "faketime": libfaketime(),
        "pgbouncer": pgbouncer(),
        "prometheus": shutil.which("promtool"),
        "systemd": shutil.which("systemd-analyze"),
        "gcc libc6-dev": shutil.which("cc") or shutil.which("gcc"),
    }
    return [package for package, found in needs.items() if found is None]


if __name__ == "__main__":
    print(*missing_debian_packages())
