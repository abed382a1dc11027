"""The learned part of task detection: what it reads, and that its sums are those of its weights."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.evaluate import training
from omni_app.evaluate.files import read_tasks
from omni_app.evaluate.training import main
from omni_app.routing.classify import classify
from omni_app.routing.reading.courtesy import without_courtesy
from omni_app.routing.reading.learned import BIAS, FILE, FULL_SAY, LearnedWords, features, packaged, tokens
from omni_app.routing.types import Task

lanes = st.tuples(*[st.integers(-BIAS, BIAS)] * len(Task))


@given(st.dictionaries(st.sampled_from(tokens("red fish, blue fish; 12 chips")), lanes), st.text(max_size=200))
def test_a_lean_is_the_sum_of_its_words(weights: dict[str, tuple[int, ...]], more: str) -> None:
    request = f"red fish, blue fish {more}"
    known = [weights[feature] for feature in features(request) if feature in weights]
    most = max(FULL_SAY, len(known))
    expected = [sum(lane[place] for lane in known) * FULL_SAY // most for place in range(len(Task))]
    assert list(LearnedWords(weights).lean(request).values()) == expected


def test_words_pairs_and_places_are_read() -> None:
    assert {"draw", "draw a", "^draw", "a cat", "#asks"} <= features("Draw a cat?")
    assert {"画", "画一", "一只"} <= features("画一只猫")
    assert "year 0000" in features("in the year 1998")


@given(st.text(st.sampled_from("aAzZ09_+#.,'\n\t\x1c éß٣½"), max_size=80))
def test_words_are_the_same_beside_another_script(text: str) -> None:
    assert tokens(f"{text} 画") == [*tokens(text), "画"]
    assert tokens(f"{text} ~é") == [*tokens(text), "~", "é"]


def test_only_the_opening_and_the_close_of_a_long_text_are_read() -> None:
    text = "start " + "x " * 500_000 + "finish"
    found = features(text)
    assert {"start", "finish"} <= found and len(found) < 1000


def test_words_break_a_tie_but_do_not_overrule_structure() -> None:
    poems = LearnedWords(dict.fromkeys(tokens("write zorblax"), tuple(500 * (task is Task.CHAT) for task in Task)))
    code = [
        {"role": "user", "content": "write zorblax:\n```python\ndef f(x):\n    return x\n```\nTypeError: bad operand"}
    ]
    seen = classify(code, tools=False, image_parts=False, learned=poems)
    assert max(seen.task_scores, key=seen.task_scores.__getitem__) is Task.CODING
    open_question = [{"role": "user", "content": "zorblax numbers"}]
    unsure = classify(open_question, tools=False, image_parts=False, learned=None).task_scores[Task.CHAT]
    assert classify(open_question, tools=False, image_parts=False, learned=poems).task_scores[Task.CHAT] > unsure


def test_the_packaged_words_are_few_and_within_their_lanes() -> None:
    words = json.loads(FILE.read_text(encoding="utf-8"))
    assert 1_000 < len(words) < 50_000 and FILE.stat().st_size < 2_000_000
    assert all(len(lanes) == len(Task) and max(map(abs, lanes)) <= BIAS for lanes in words.values())
    assert packaged().lean("a lighthouse in a storm, oil pastel")[Task.IMAGE] > 0


def test_the_same_rows_give_the_same_words_and_tell_what_they_were_learned_for(
    tmp_path: Path,
) -> None:
    texts = {"chat": "tell me a glorp of the sea", "coding": "compile the snurf of the sea"}
    rows = [
        {"id": str(n), "label": label, "source": "made", "lang": "en", "text": f"{text} {n}"}
        for n in range(20)
        for label, text in texts.items()
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    once, again = (training.fit(read_tasks(path)) for _ in range(2))
    assert once == again
    lean = training.train(read_tasks(path)).lean("glorp")
    assert lean[Task.CHAT] > lean[Task.CODING]


def test_a_bad_file_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"id": 1}')
    monkeypatch.setattr("sys.argv", ["training", "--tasks", str(path)])
    assert main() == 1
    assert "bad.jsonl:1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("polite", "plain"),
    [
        ("Hello! Could you please help me with this? Translate to French: cat", "Translate to French: cat"),
        (
            "Hi there, I hope you're doing well. Can you fix this code? x=1\n\nThank you very much!",
            "fix this code? x=1\n",
        ),
        ("请帮我写一首诗，谢谢", "写一首诗"),
        ("¿Puedes traducir esto?", "traducir esto?"),
        ("Please, translate: thank you", "translate: thank you"),
        ("There are 5 birds", "There are 5 birds"),
        ("Here is what I need you to do:\n\nName three rivers.", "Name three rivers."),
        ("You are a helpful assistant. I was wondering if you could do this for me. Name a river", "Name a river"),
        ("Name a river. That's all I need.", "Name a river."),
        ("What is this? A river.", "What is this? A river."),
        ("My car broke down. What is this worth?", "My car broke down. What is this worth?"),
        ("hey there!", "hey there!"),
        ("thanks", "thanks"),
    ],
)
def test_courtesy_is_taken_off_what_is_asked(polite: str, plain: str) -> None:
    assert without_courtesy(polite) == plain


@given(st.text(max_size=2000))
def test_courtesy_never_takes_all(text: str) -> None:
    left = without_courtesy(text)
    assert left in text or left.rstrip(".!?。！？") in text
    assert bool(left.strip()) == bool(text.strip())
