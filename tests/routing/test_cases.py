"""The table in cases.toml, one test per situation, through the classifier, the token count and the decision."""

from pathlib import Path

import pytest

from omni_app.errors import InvalidRequest
from omni_app.evaluate.situations import Situation, read_situations, routing_report
from omni_app.routing.shortlist import RoutingTable
from tests.routing.models import MODELS, SITUATIONS

FILE = Path(__file__).with_name("cases.toml")
TABLE = RoutingTable(MODELS)


@pytest.mark.parametrize("case", SITUATIONS.cases, ids=lambda case: case.situation)
def test_the_router_does_what_the_table_says(case: Situation) -> None:
    assert list(case.differences(case.decided(TABLE, today=SITUATIONS.today))) == []


def test_the_table_tells_enough_and_no_situation_twice() -> None:
    names = [case.situation for case in SITUATIONS.cases]
    assert len(set(names)) == len(names) >= 40
    assert {case.takes for case in SITUATIONS.cases} >= {one.id for one in MODELS if one.id != "gamma/unrated"}


def test_what_is_not_as_expected_is_said(tmp_path: Path) -> None:
    wrong = tmp_path / "cases.toml"
    wrong.write_text(FILE.read_text().replace('takes = "beta/tiny"', 'takes = "alpha/genius"', 1))
    rows = routing_report(read_situations(wrong))
    assert [row["differences"] for row in rows if row["differences"]] == [["beta/tiny is taken, not alpha/genius"]]


def test_a_word_that_the_table_does_not_know_is_named(tmp_path: Path) -> None:
    wrong = tmp_path / "cases.toml"
    wrong.write_text(FILE.read_text() + '\n[[case]]\nsituation = "odd"\ntake = "alpha/quick"\n')
    with pytest.raises(InvalidRequest, match=r"case\.\d+\.take: "):
        read_situations(wrong)
