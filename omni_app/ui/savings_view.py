"""A saving in words: between which amounts it lies, against which models, what failed attempts and routing added."""

from collections.abc import Sequence

from omni_app.gateway.comparison import Comparison
from omni_app.registry import Registry
from omni_app.routing.band import OF_MANY, OF_ONE, Band, OutputRatio, output_part, savings_band
from omni_app.storage.ledger import RequestRecord
from omni_app.storage.reports import Overhead, Totals
from omni_app.ui import text
from omni_app.ui.components.basics import Row
from omni_app.ui.cost_lines import usage_of
from omni_app.ui.time_line import precise_ms

LESS, MORE = f"{100 - OF_MANY.low}% less", f"{OF_MANY.high - 100}% more"
"""How much another model would have written, over many requests."""


def between(band: Band, ratio: OutputRatio) -> str:
    """`$0.10 to $0.31 with answers 33% shorter to 50% longer`."""
    ends = f"{text.money(band.low)} to {text.money(band.high)}"
    return f"{ends} with answers {100 - ratio.low}% shorter to {ratio.high - 100}% longer"


def band_of_one(record: RequestRecord, then: Registry | None) -> str:
    """The band of one request's saving, at the price of its moment; empty where no other model's text was compared."""
    if record.premium_model in ("", record.model) or record.images:
        return ""
    found = then.get(record.premium_model) if then else None
    output = output_part(found.price if found else None, usage_of(record), record.premium_cost)
    return between(savings_band(record.premium_cost, output, cost=record.cost, ratio=OF_ONE), OF_ONE)


def recorded_row(totals: Totals, band: Band) -> Row:
    """The baseline's line: what the ledger recorded."""
    name = ", ".join(totals.premium_models)
    return _row(name, "of each request's moment", totals.premium_cost, totals.savings, band)


def comparison_rows(found: Sequence[Comparison]) -> list[Row]:
    """A line for each further model."""
    return [_row(one.model, f"today's ({one.price_version})", one.cost, one.savings, one.band) for one in found]


def _row(model: str, prices: str, cost: int, savings: int, band: Band) -> Row:
    amounts = {"cost": cost, "saved": savings, "low": band.low, "high": band.high}
    told = {name: text.money(amount) for name, amount in amounts.items()}
    exact = {f"{name}_exact": text.exact_money(amount) for name, amount in amounts.items()}
    return {"model": model, "prices": prices} | told | exact


def failed_note(overhead: Overhead, requests: int) -> str:
    """How much of the cost went to failed attempts; empty when nothing was asked."""
    if not requests:
        return ""
    return f"{text.money(overhead.failed_cost) if overhead.failed_cost else 'none'} of it for failed attempts"


def billed_note(cost: int, markup: int) -> str:
    """The cost with its markup; empty without one."""
    return f"{text.money(cost + markup)} billed" if markup else ""


def routing_note(overhead: Overhead) -> str:
    """What routing added to a request, on average; empty when it was not measured."""
    return "" if overhead.routing_ms is None else f"routing took {precise_ms(overhead.routing_ms)} on average"
