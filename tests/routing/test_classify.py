import random
import time
import tomllib
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_app.routing.classify import WEIGHTS, Classification, classify
from omni_app.routing.reading.difficulty import BASE
from omni_app.routing.reading.lexicon import MARKERS
from omni_app.routing.reading.sightings import MOST
from omni_app.routing.reading.words import WORD, _phrases, phrases_in, plain, plain_words
from omni_app.routing.types import Message, Task

TASKS = tomllib.loads(Path(__file__).with_name("tasks.toml").read_text(encoding="utf-8"))
WRITTEN = [
    (text, Task(task), language) for language, tasks in TASKS.items() for task, texts in tasks.items() for text in texts
]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


def read(*messages: Message | str, tools: bool = False, image_parts: bool = False) -> Classification:
    written = [user(message) if isinstance(message, str) else message for message in messages]
    return classify(written, tools=tools, image_parts=image_parts)


def task_of(seen: Classification) -> Task:
    return max(seen.task_scores, key=seen.task_scores.__getitem__)


@pytest.mark.parametrize(
    ("text", "task", "language"), WRITTEN, ids=[f"{lang}-{text[:30]}" for text, _, lang in WRITTEN]
)
def test_the_task_is_found_in_every_language(text: str, task: Task, language: str) -> None:
    assert task_of(read(text)) is task


@pytest.mark.parametrize(
    "text", [text for text, task, _ in WRITTEN if task is Task.IMAGE and "highly detailed" not in text]
)
def test_a_clear_wish_for_a_picture_is_all_but_certain(text: str) -> None:
    assert read(text).task_scores[Task.IMAGE] >= 0.9


@pytest.mark.parametrize(
    "text",
    [
        "Describe this image",
        "Draw conclusions from this data: 3, 5, 8",
        "Draw up a contract for a lease",
        "Write code that draws a picture of a cat in SVG",
        "How do I draw a cat?",
        "Create a prompt for an image of a castle",
        "Write a caption for a photo of my dog",
        "Create an image classifier in PyTorch",
        "Draw a flowchart of the login process in mermaid",
        "Make a list of famous paintings and pictures",
        "Give me a picture of how the economy works",
        "Create a Docker image for a flask app",
        "Who painted the picture The Scream?",
        "Design a logo using HTML and CSS",
        "Fais un tableau des verbes irréguliers",
        "Crée un tableau Excel",
        "Dibuja un diagrama de flujo del proceso de compra",
        "Zeichne ein Diagramm der Prozesse",
        "Нарисуй таблицу сравнения цен",
        "表を描いてください",
        "画一个表格比较苹果和安卓",
        "Generate a photo caption for my Instagram post",
        "Create a logo usage policy",
        "Create a photo album app",
        "Give me painting tips",
        "I need a good image compression tool",
        "Sketch a database schema for a blog",
        "Rewrite: I want a picture of you",
        "a small dog runs over a green field",
    ],
)
def test_speaking_of_pictures_is_no_clear_wish_for_one(text: str) -> None:
    assert read(text).task_scores[Task.IMAGE] < 0.9


@pytest.mark.parametrize(
    "text",
    [
        "Create a logo for my app",
        "Design an app icon",
        "Make a poster with the title Summer Party",
        "Generate an image of a tool shed",
        "Create a thumbnail for my video about apps",
        "Peins un tableau de Venise",
        "画一张苹果的图",
    ],
)
def test_what_a_picture_is_for_or_of_takes_nothing_from_the_wish(text: str) -> None:
    assert read(text).task_scores[Task.IMAGE] >= 0.9


def test_tools_and_tool_messages_are_an_agents_step() -> None:
    question = user("What is the capital of France?")
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    answer = {"role": "tool", "tool_call_id": "1", "content": "Paris"}
    assert task_of(read(question, tools=True)) is Task.AGENT_STEP
    assert task_of(read(question, call, answer)) is Task.AGENT_STEP
    assert read(question, tools=True).signals[0] == "tools"


def test_an_image_to_look_at_is_no_image_to_make() -> None:
    parts = [{"type": "text", "text": "a dog on a red sofa"}, {"type": "image_url", "image_url": {"url": "data:"}}]
    seen = read({"role": "user", "content": parts}, image_parts=True)
    assert task_of(seen) is Task.CHAT
    assert seen.task_scores[Task.IMAGE] < 0.1


def test_an_instruction_counts_at_the_end_of_a_long_text() -> None:
    text = "The harbour was closed for two days. Ships waited outside. " * 60
    assert task_of(read(text + "\n\nSummarize this in two sentences.")) is Task.SUMMARIZATION
    assert task_of(read(text + "\n\nTranslate this into Spanish.")) is Task.TRANSLATION


def test_a_system_prompt_can_say_the_task() -> None:
    system = {"role": "system", "content": "You are a translator. Translate everything the user writes into French."}
    assert task_of(read(system, "The meeting was moved to Friday.")) is Task.TRANSLATION


def test_the_tone_of_a_system_prompt_says_nothing() -> None:
    system = {
        "role": "system",
        "content": "You are a helpful assistant. Answer briefly, kindly and in short sentences.",
    }
    assert read(system, "Why do cats purr?").task_scores == read("Why do cats purr?").task_scores


def test_a_short_turn_leans_on_the_turn_before() -> None:
    before = user("Write a Python function that sorts a list.")
    answer = {"role": "assistant", "content": "```python\nsorted(x)\n```"}
    assert task_of(read(before, answer, "now make it faster")) is Task.CODING
    assert task_of(read("now make it faster")) is Task.CHAT


@pytest.mark.parametrize("text", ["thanks!", "Who won the 2018 world cup?", "Why not?"])
def test_after_a_picture_what_is_said_is_no_clear_wish_for_another(text: str) -> None:
    before, made = user("Draw a picture of a cat"), {"role": "assistant", "content": "Here it is."}
    assert read(before).task_scores[Task.IMAGE] >= 0.9
    assert read(before, made, text).task_scores[Task.IMAGE] < 0.9
    assert read(before, made, "now make it blue").task_scores[Task.IMAGE] >= 0.9


def test_a_picture_that_is_spoken_of_in_the_middle_of_a_long_text_is_no_clear_wish_for_one() -> None:
    around = "We went through the budget for the second quarter, and agreed that travel costs too much. " * 4
    mail = (
        f"Reply politely to this email and decline:\n\n{around}We also want to create a new logo for the fair. {around}"
    )
    assert len(mail) > 600
    assert read(mail).task_scores[Task.IMAGE] < 0.5
    assert read("Create a new logo for the fair.").task_scores[Task.IMAGE] >= 0.9


def test_nothing_at_all_is_chat() -> None:
    for messages in ([], [user("")], [{"role": "user", "content": None}], [{"role": "system", "content": "Be kind."}]):
        assert task_of(classify(messages, tools=False, image_parts=False)) is Task.CHAT


def test_a_wish_for_a_model_changes_neither_task_nor_difficulty() -> None:
    for text, wish in (
        ("Prove that there are infinitely many primes.", " Take the dearest model."),
        ("hi", " use gpt-5"),
    ):
        plain, wished = read(text), read(text + wish)
        assert task_of(plain) is task_of(wished)
        assert wished.difficulty == pytest.approx(plain.difficulty, abs=0.11)


def test_difficulty_rises_from_small_talk_to_proofs() -> None:
    texts = [
        "hi!",
        "Who wrote Faust?",
        "Write a Python function that sorts a list.",
        "Prove by induction that $\\sum_{k=1}^{n} k^3 = \\frac{n^2(n+1)^2}{4}$ for every integer n.",
    ]
    difficulties = [read(text).difficulty for text in texts]
    assert difficulties == sorted(difficulties)
    assert difficulties[0] < 0.1 and difficulties[-1] > 0.6


@given(st.text(max_size=300), st.booleans(), st.booleans())
def test_any_text_gets_probabilities_that_sum_to_one(text: str, tools: bool, image_parts: bool) -> None:  # noqa: FBT001
    seen = read(text, tools=tools, image_parts=image_parts)
    assert set(seen.task_scores) == set(Task)
    assert sum(seen.task_scores.values()) == pytest.approx(1)
    assert all(0 <= score <= 1 for score in seen.task_scores.values())
    assert 0 <= seen.difficulty <= 1
    assert seen.subtask in BASE


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\n",
        "(",
        "{",
        "\\",
        "$",
        "=",
        "1+",
        "a.b(",
        "</",
        "at x(",
        "Error",
        "画",
        "ー",
        "ا",
        "```",
        "_",
        "'",
        "é",
        "<a ",
    ],
)
def test_the_time_is_bounded_for_any_input(unit: str) -> None:
    for text in (unit * (10_000_000 // len(unit)), (unit * 400 + "\n") * 20):
        started = time.perf_counter()
        read(text)
        assert time.perf_counter() - started < 0.05


def test_random_noise_is_read_in_bounded_time() -> None:
    draw = random.Random(1)
    alphabet = "abc XYZ019 \n\t(){}[]<>=;:.,+-*/\\$#@!?'\"`_é画ا한"
    for _ in range(20):
        started = time.perf_counter()
        read("".join(draw.choices(alphabet, k=20_000)))
        assert time.perf_counter() - started < 0.05


def test_a_conversation_of_any_length_is_read_in_bounded_time() -> None:
    messages = [user("hello")] * 200_000
    started = time.perf_counter()
    read(*messages[:-1], "Translate into German: good night")
    assert time.perf_counter() - started < 1


def test_no_phrase_mixes_scripts_by_a_slip_of_the_keyboard() -> None:
    apart = ["LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI", "HANGUL"]
    for phrase in _phrases():
        found = {unicodedata.name(letter, "").split(" ")[0] for letter in phrase.text if letter.isalpha()}
        assert len(found & set(apart)) <= 1, phrase


def test_every_phrase_is_found_in_a_text_of_nothing_else() -> None:
    for phrase in _phrases():
        found = {(one.marker, one.text) for one, _ in phrases_in(phrase.text, phrase.words)}
        longer = any(text.startswith(phrase.text) for _, text in found)
        assert (phrase.marker, phrase.text) in found or longer, phrase


@given(st.text(st.sampled_from("aAzZ09_+#.,'\n\t\x1c -c"), max_size=60))
def test_words_of_ascii_are_those_that_the_pattern_tells(text: str) -> None:
    assert plain_words(text)[1] == WORD.findall(plain(text))


def test_every_marker_is_used_and_every_weight_has_a_source() -> None:
    structure = {
        "tools",
        "tool_messages",
        "agent_lines",
        "code_fence",
        "code_lines",
        "code_signs",
        "stack_trace",
        "latex",
    }
    together = {
        "image_request",
        "bare_caption",
        "write_code",
        "into_language",
        "language_lines",
        "code_to_code",
        "brief_of_long",
        "word_problem",
        "formulas",
    }
    helpers = {"write", "make", "draw", "draw_idiom", "picture", "picture_request", "not_picture", "number_word"}
    helpers |= {"language", "quoted_words"}
    assert set(WEIGHTS) == (set(MARKERS) | structure | together) - helpers - {"constraint", "expert"}
    assert set(MOST) <= set(WEIGHTS) | set(MARKERS)
