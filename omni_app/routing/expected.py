"""What is expected of a request before it is sent: how long its answer is, its size class, the time it takes."""

from omni_app.routing.types import Case, Deployment, SizeClass

SMALL_PROMPT = 1_000
MEDIUM_PROMPT = 10_000
BRIEF_ANSWER = 256
"""Tokens; stated, not fitted. Prompts are read at thousands of tokens a second, so up to the first the network weighs
more, and above the second reading alone takes seconds. Answers are written at tens of tokens a second."""

CLASSES = (
    (SMALL_PROMPT, SizeClass.SMALL_BRIEF, SizeClass.SMALL_FULL),
    (MEDIUM_PROMPT, SizeClass.MEDIUM_BRIEF, SizeClass.MEDIUM_FULL),
)


def usual_output_tokens(case: Case) -> int:
    """How long answers of this task are: the median of our own traffic, else the policy's prior."""
    measured = case.snapshot.expected_output.get(case.task)
    return case.policy.expected_output.get(case.task, 0) if measured is None else measured


def expected_output_tokens(case: Case) -> int:
    """What cost is counted with: `max_tokens` when given, else what is usual."""
    asked = case.request.max_tokens
    return usual_output_tokens(case) if asked is None else asked


def size_class(case: Case) -> SizeClass:
    """By what is known before the call, so that a measurement is filed where the next choice will look for it.

    `max_tokens` is a limit and no expectation here: many clients send a large one with every request.
    """
    prompt, asked = case.request.input_tokens, case.request.max_tokens
    usual = usual_output_tokens(case)
    brief = usual <= BRIEF_ANSWER or (asked is not None and asked <= BRIEF_ANSWER)
    for largest, with_brief, with_full in CLASSES:
        if prompt <= largest:
            return with_brief if brief else with_full
    return SizeClass.LARGE_BRIEF if brief else SizeClass.LARGE_FULL


def expected_latency_ms(deployment: Deployment, case: Case, size: SizeClass) -> float:
    """Milliseconds to the whole answer: as measured for requests of this size, else the deployment's prior."""
    return case.snapshot.latency_ms.get(deployment.id, {}).get(size, float(deployment.prior_latency_ms))
