"""What is known of a stream before it has ended."""

from omni_app.providers.base import Usage
from omni_app.providers.gathering import Gathering, Gatherings
from tests.providers.asking import ask


def test_what_was_told_at_the_end_is_the_bill_though_others_go_on() -> None:
    one = Gatherings(ask())
    one.each[0].add_text("A heap is a tree. " * 40)
    one.usage = Usage(20, 300)
    assert one.came() != one.usage, "some tell meanwhile how far they are"
    one.each[0].finish_reason = "stop"
    assert one.came() == one.usage


def test_names_and_ids_of_calls_are_held_too() -> None:
    one = Gathering(ask())
    one.open_call("i" * 300, "n" * 200, "{}")
    one.add_text("twelve words")
    assert one.size == 300 + 200 + 2 + 12
