"""The long form of `tests/faults`, with figures: `make chaos` (ARGS="--play kills --in-flight 200").

It takes minutes, so the suite runs the short form. The provider is a server of this process that takes `--delay-s`.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tests.faults import (
    clock,
    connections,
    disk,
    fallback,
    hangups,
    idempotency,
    limits,
    migrations,
    outage,
    overload,
    process,
    providers,
    spending,
)  # fmt: skip

Play = Callable[[Path, argparse.Namespace], Awaitable[bool]]
"""What goes wrong, in a folder of its own; says its figures, and gives whether every promise was kept."""

PLAYS: Mapping[str, Play] = {
    "stop": process.stop,
    "restarts": process.restarts,
    "kills": process.kills,
    "spending": spending.play,
    "disk": disk.play,
    "hangups": hangups.play,
    "clock": clock.play,
    "outage": outage.crash,
    "stall": outage.stall,
    "late": outage.late,
    "pooler": connections.pooler,
    "failover": connections.failover,
    "exhausted": connections.exhausted,
    "migrations": migrations.play,
    "providers": providers.play,
    "fallback": fallback.play,
    "overload": overload.play,
    "limits": limits.play,
    "idempotency": idempotency.play,
}


async def run(names: Sequence[str], arguments: argparse.Namespace) -> bool:
    """One play after the other; whether all is well."""
    well = True
    for name in names:
        with tempfile.TemporaryDirectory(prefix="omni-chaos-") as folder:
            well &= await PLAYS[name](Path(folder), arguments)
    return well


def main() -> int:
    """0 when every promise was kept."""
    parser = argparse.ArgumentParser(description="Lets things go wrong for real servers, and compares the accounts.")
    parser.add_argument("--play", action="append", choices=PLAYS, help="this one (may be repeated); all without it")
    parser.add_argument("--fault", action="append", help="of the play `providers`: this one (may be repeated)")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--in-flight", type=int, default=200)
    parser.add_argument("--delay-s", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--requests", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2, help="of the server whose workers are replaced")
    parser.add_argument("--away-s", type=float, default=60.0)
    parser.add_argument("--at-once", type=int, default=20)
    arguments = parser.parse_args()
    return 0 if asyncio.run(run(arguments.play or list(PLAYS), arguments)) else 1


if __name__ == "__main__":
    sys.exit(main())
