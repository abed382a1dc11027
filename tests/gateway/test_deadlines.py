"""How a request's time is split over its chain."""

from hypothesis import given
from hypothesis import strategies as st

from omni_app.gateway.deadlines import CONNECT_S, FIRST_BYTE_S, FIRST_PIECE_S, needed_s, share_s, tells, timeouts

SECONDS = st.floats(0.001, 3_600)
NEEDS = st.floats(CONNECT_S, 100)


@given(left_s=SECONDS, needs_s=NEEDS, later_s=st.lists(NEEDS, max_size=8))
def test_the_last_gets_all_and_every_other_leaves_something(
    left_s: float, needs_s: float, later_s: list[float]
) -> None:
    share = share_s(left_s, needs_s, later_s)
    assert 0 < share <= left_s
    assert (share == left_s) == (not later_s)


@given(spare_s=st.floats(0, 3_600), needs_s=NEEDS, later_s=st.lists(NEEDS, min_size=1, max_size=8))
def test_where_there_is_enough_for_all_each_has_what_it_needs(
    spare_s: float, needs_s: float, later_s: list[float]
) -> None:
    left_s = needs_s + sum(later_s) + spare_s
    share = share_s(left_s, needs_s, later_s)
    assert share >= needs_s * (1 - 1e-9)
    assert left_s - share >= min(later_s) * (1 - 1e-9)


def test_a_hanging_primary_leaves_the_next_one_its_time() -> None:
    usual, slow = needed_s(2_500), needed_s(6_000)
    assert (usual, slow) == (6, 13)
    assert share_s(30, usual, [slow, usual]) == 15, "not enough for all: it shares with the quickest behind it"
    assert share_s(120, usual, [slow, usual]) == 101, "enough for all: those behind it keep what they need"


def test_a_plain_call_has_its_share_and_a_stream_only_until_it_has_begun() -> None:
    plain = timeouts(101, 120, 6, streamed=False)
    assert (plain.first_byte_s, plain.total_s) == (FIRST_BYTE_S, 101)
    stream = timeouts(101, 120, 6, streamed=True)
    assert (stream.first_byte_s, stream.total_s) == (FIRST_PIECE_S, 120)
    assert timeouts(101, 120, 25, streamed=True).first_byte_s == 25, "a model that thinks first is given time to"
    assert timeouts(0.2, 0.4, 6, streamed=True).first_byte_s == 0.2


def test_a_time_out_of_a_hasty_request_says_nothing_of_the_model() -> None:
    assert [tells(time_s, needed_s(2_500)) for time_s in (0.05, 2.9, 3.0, 60.0)] == [False, False, True, True]
