import pytest

from omni_app.evaluate.curves import Ends, Point, Sample, apgr, bootstrap, least, measure, pack, unpack

WEAK, STRONG = Point(0.5, 1.0, 0.0), Point(1.0, 11.0, 1.0)
ENDS = Ends(WEAK, STRONG)


def test_a_coin_between_the_two_models_has_an_apgr_of_one_half() -> None:
    report = measure([WEAK, STRONG], ENDS)
    assert report["apgr"] == pytest.approx(0.5)
    assert report["cpt50"] == pytest.approx(0.5)
    assert report["cpt80"] == pytest.approx(0.8)
    assert report["saved_at_95"] == pytest.approx(1 - 10 / 11)


def test_an_oracle_that_needs_the_strong_model_for_half_of_the_prompts_has_an_apgr_of_three_quarters() -> None:
    half = Point(1.0, 6.0, 0.5)
    assert apgr([WEAK, half, STRONG], ENDS) == pytest.approx(0.75)
    assert measure([WEAK, half, STRONG], ENDS)["cpt50"] == pytest.approx(0.25)


def test_a_threshold_that_is_never_reached_has_no_figure() -> None:
    assert least([(0.0, 0.1), (1.0, 0.4)], 0.5) is None
    assert measure([WEAK], ENDS)["saved_at_99"] is None


def test_packed_rows_add_up_to_the_means() -> None:
    rows = [pack([Sample(1.0, 0.25, 1.0)]), pack([Sample(0.0, 0.75, 0.0)])]
    assert unpack(sum(rows), points=1, rows=2) == [Point(0.5, 0.5, 0.5)]


def test_the_bootstrap_gives_the_same_intervals_each_time() -> None:
    packed = [pack([Sample(n % 2, 0.1, 0.0), Sample(1.0, 1.0, 1.0), Sample(1.0, 0.5, 0.5)]) for n in range(20)]
    assert bootstrap(packed, points=3, many=False, resamples=50) == bootstrap(
        packed, points=3, many=False, resamples=50
    )
