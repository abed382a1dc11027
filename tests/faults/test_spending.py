"""A crowd on an almost spent budget. `make chaos ARGS="--play spending"` is the long form: five runs of each."""

from pathlib import Path

from tests.faults.spending import DEFIANT, HONEST, LIMIT, crowded, staged


async def test_workers_over_postgres_never_pass_a_budget_whatever_a_provider_counts(tmp_path: Path) -> None:
    async with staged(tmp_path, delay_s=1.0) as rig:
        honest = await crowded(rig, "Honest", counts=HONEST)
        defiant = await crowded(rig, "Defiant", counts=DEFIANT)
    assert honest.kept and defiant.kept, (honest, defiant)
    assert defiant.spent > LIMIT * 9 // 10, "what it counts would have been a hundred times as much"
