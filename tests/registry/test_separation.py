import pytest

from omni_app.registry.quality import MEASURES, SUBTASK_MEASURES, Measure, Table, load_leaderboards, separation
from omni_app.routing.reading.difficulty import BASE
from omni_app.routing.types import Task


def test_separation_is_the_slope_of_a_category_over_all_prompts() -> None:
    rows = {
        name: {"full": 1000.0 + x, "math": 900.0 + 1.5 * x, "coding": 0.5 * x}
        for name, x in {"a": 0, "b": 40, "c": 90}.items()
    }
    table = Table("three models", "2025-12-17", rows | {"d": {"full": 1200.0}})
    assert separation(table, ["math"]) == pytest.approx(1.5)
    assert separation(table, ["math", "coding"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("subtasks", "measure"),
    [
        (("arithmetic", "mathematics"), SUBTASK_MEASURES["mathematics"]),
        (("creative", "roleplay"), SUBTASK_MEASURES["creative"]),
        (("code_writing", "code_repair"), MEASURES[Task.CODING]),
        (("logic",), MEASURES[Task.REASONING]),
        (("general", "knowledge", "trivia", "commonsense", "advice"), MEASURES[Task.CHAT]),
    ],
)
def test_the_difficulty_of_a_kind_follows_how_far_models_stand_apart_in_it(
    subtasks: tuple[str, ...], measure: Measure
) -> None:
    further = separation(load_leaderboards().arena, measure.categories) - 1
    for subtask in subtasks:
        assert BASE[subtask] == pytest.approx(0.25 + 2.5 * further, abs=0.005)
