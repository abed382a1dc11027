"""A request costs what it cost: by CPU time, against a bare forwarder in the same run: noise does not fail it."""

from pathlib import Path
from statistics import median

from bench.gateways import Case, bare, ledger_rows, mocked, product, rounds, table

AT_ONCE = 16
LIMIT = 110
"""CPU a request, as a multiple of the bare forwarder's. Measured with bodies of 200 bytes to 8 kB: 57 to 70 on two
cores, more beside other work; thrice the work fails."""


def test_a_request_costs_no_more_than_so_many_bare_forwards_and_each_one_is_in_the_ledger(tmp_path: Path) -> None:
    case = Case("pinned", stream=False, at_once=AT_ONCE)
    with mocked(tmp_path) as mock:
        with bare(tmp_path / "bare", mock.port) as floor, product(tmp_path / "product", mock.port) as (ours, settings):
            warm = rounds([floor, ours], [case], mock, count=1, seconds=0.5)
            found = rounds([floor, ours], [case], mock, count=3, seconds=0.7)
        issued = sum(one.issued for seen in (warm, found) for one in seen[case, ours.name])
        rows = ledger_rows(settings)
    ratio = median(one.cpu_us for one in found[case, ours.name]) / median(one.cpu_us for one in found[case, floor.name])
    assert ratio < LIMIT, table(found, floor.name)
    assert rows == issued
    assert all(one.calls == one.issued for seen in found.values() for one in seen)
