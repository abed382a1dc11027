"""What a request cost, line by line: tokens times the price of its moment, adding up to the recorded amount.

Nothing is made up: where the kept tokens and the price of that time do not give the recorded amount to the last
digit, the recorded amount stands alone, and the page says so.
"""

from collections.abc import Callable, Iterator, Sequence

from omni_app.providers.base import Usage
from omni_app.routing.cost import actual_cost
from omni_app.routing.types import Deployment, Price
from omni_app.storage.ledger import AttemptRecord, RequestRecord
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.records import OUTCOMES

TOKENS_PER_PRICE = 1_000_000
Deployments = Callable[[str], Deployment | None]
"""Model id -> the deployment as it was when the request was decided; None when that is not kept."""


def cost_rows(record: RequestRecord, attempts: Sequence[AttemptRecord], deployments: Deployments) -> list[Row]:
    """Each attempt with its lines, and the total: the rows of kind `line` and `rest` add up to the recorded cost."""
    rows: list[Row] = []
    for attempt in attempts:
        answered = record.success and attempt is attempts[-1]
        usage = usage_of(record) if answered else Usage(attempt.tokens_input, attempt.tokens_output)
        found = deployments(attempt.model)
        told = lines(found.price if found else None, usage, attempt.cost + attempt.overrun)
        if told and attempt.overrun:
            told = [*told, _row("line", "Beyond what the request may cost: not charged", amount=-attempt.overrun)]
        rows += _part(_title(attempt), attempt.cost, told)
    rest = record.cost - sum(attempt.cost for attempt in attempts)
    if rest:
        rows += _part("Attempts that were not kept", rest, None)
    return [*rows, _row("total", "Recorded cost", amount=record.cost), *_billed_rows(record)]


def _billed_rows(record: RequestRecord) -> list[Row]:
    """What is billed on top; nothing without a markup."""
    own = [_row("rest", "Of it charged to your own provider keys", amount=record.byok_cost)] if record.byok_cost else []
    if not record.markup_bp:
        return own
    rate = f"Markup of {record.markup_bp / 100:g} %"
    return [*own, _row("less", rate, amount=record.markup), _row("total", "Billed", amount=record.billed)]


def baseline_rows(record: RequestRecord, deployments: Deployments) -> list[Row]:
    """The same tokens at the baseline's price, and what was saved; empty without a baseline."""
    if not record.premium_model:
        return []
    found = deployments(record.premium_model)
    told = lines(found.price if found else None, usage_of(record), record.premium_cost)
    return [
        *_part(f"The same tokens with {record.premium_model}", record.premium_cost, told),
        _row("less", "Recorded cost", amount=-record.cost),
        _row("total", "Saved", amount=record.savings),
    ]


def usage_of(record: RequestRecord) -> Usage:
    """What the answer's provider billed."""
    return Usage(
        input=record.tokens_input,
        output=record.tokens_output,
        cached_input=record.tokens_cached,
        cache_write=record.tokens_cache_write,
        reasoning=record.tokens_reasoning,
        images=record.images,
    )


def lines(price: Price | None, usage: Usage, amount: int) -> list[Row] | None:
    """The lines that give `amount` exactly; None when these tokens at this price do not."""
    if price is None or actual_cost(price, usage) != amount:
        return None
    parts = list(_parts(price, usage))
    if sum(count * each for _, count, each in parts) != amount:
        return None
    return [_row("line", what, amount=count * each, count=count, each=each) for what, count, each in parts]


def _parts(price: Price, usage: Usage) -> Iterator[tuple[str, int, int]]:
    """What was billed, how many, and pico-dollars each; parts that are nothing are left out."""
    thought = min(usage.reasoning, usage.output)
    told = (
        ("Input", usage.input - usage.cached_input - usage.cache_write, price.input),
        ("Input from the cache", usage.cached_input, _or_input(price, price.cached_input)),
        ("Input written to the cache", usage.cache_write, _or_input(price, price.cache_write)),
        ("Reasoning", thought, price.output),
        ("Output", usage.output - thought, price.output),
        ("Images", usage.images, price.image),
    )
    return ((what, count, each) for what, count, each in told if count > 0)


def _or_input(price: Price, special: int | None) -> int:
    return price.input if special is None else special


def _part(title: str, amount: int, told: Sequence[Row] | None) -> Iterator[Row]:
    """A heading, then its lines, or its amount alone."""
    yield _row("part", title)
    if told:
        yield from told
    else:
        bare = "As recorded; its tokens and price are not kept in full"
        yield _row("rest", bare if amount else "Nothing was billed", amount=amount)


def _title(attempt: AttemptRecord) -> str:
    outcome = "answered" if attempt.outcome == "ok" else OUTCOMES.get(attempt.outcome, attempt.outcome)
    return f"{attempt.position + 1}. {attempt.model}: {outcome.replace('_', ' ')}"


def _row(kind: str, what: str, *, amount: int | None = None, count: int | None = None, each: int = 0) -> Row:
    """`kind`: `part` (a heading), `line`, `rest`, `less`, `total`. A price is per million, an image's per image."""
    per = 1 if what == "Images" else TOKENS_PER_PRICE
    return {
        "kind": kind,
        "what": what,
        "count": "" if count is None else text.number(count),
        "price": "" if count is None else f"{text.money(each * per)}{' each' if per == 1 else ''}",
        "amount": "" if amount is None else text.money(amount),
        "exact": "" if amount is None else text.exact_money(amount),
        "pico": "" if amount is None else str(amount),
    }


def price_note(deployment: Deployment | None, today: Deployment | None) -> str:
    """Says so when the price has changed since, or is not known any more; empty when it is as it was."""
    if deployment is None:
        return "The price list of that moment is not kept, so the amounts stand without their prices."
    if today is None:
        return f"{deployment.id} is no longer in the registry; this is its price of that moment."
    if deployment.price == today.price:
        return ""
    now = [text.money(each * TOKENS_PER_PRICE) for each in (today.price.input, today.price.output)]
    told = f"now {now[0]} in and {now[1]} out per million tokens"
    return f"The price of {today.id} has changed since: {told}. The lines show the price used."
