"""How the drainer sizes its batches, and the benchmark that drains a spool from its file."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from bench.drain import NOON, drained
from omni_app.storage import spool
from omni_app.storage.bulk import sqlite_text
from omni_app.storage.database import Database
from omni_app.storage.spool import BATCH_LINES, MOST_LINES, Drainer, Spool
from omni_app.storage.tables import UtcDateTime
from tests.storage.facts import admission, record


async def test_a_spool_that_another_process_left_is_drained_whole_in_batches_of_any_size(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "BATCH_LINES", 50)  # 900 lines: 50, 100, 200, 400, the rest
    took_s, cpu_s = await drained(database_url, tmp_path / "spool", 300)
    assert took_s > 0 and cpu_s > 0  # and every row and sum is there, or it raises


async def test_a_batch_grows_while_the_database_is_quick_and_shrinks_when_it_is_slow_or_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = Database(f"sqlite:///{tmp_path}/missing/omni.db")
    mine = Spool(tmp_path / "spool")
    drainer = Drainer(mine, away)
    for took_s, size in ((0.1, 2_000), (0.9, 4_000), (2.0, 4_000), (0.1, 8_000), (0.1, MOST_LINES), (3.1, 4_000)):
        drainer._size_batches(took_s)
        assert drainer._most == size
    mine.admit(admission())
    mine.finish(record())
    with pytest.raises(Exception, match="unable to open"):
        await drainer.flush()
    assert drainer._most == BATCH_LINES
    mine.close()
    await away.close()


@given(instant=st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_an_instant_is_written_into_sqlite_as_sqlalchemy_writes_it(instant: datetime) -> None:
    convert = UtcDateTime().dialect_impl(sqlite.dialect()).bind_processor(sqlite.dialect())
    assert convert is not None
    assert sqlite_text(instant) == convert(instant)


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        sqlite_text(NOON.replace(tzinfo=None))
