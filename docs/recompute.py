"""Computes every cost, baseline cost and saving of an exported requests.csv again: `python recompute.py FILE`.

Without FILE it reads standard input. Prints what is wrong and the sums by model, day, task and key, in US dollars. The
exit status is 1 on any difference. Needs nothing but Python.
"""

import csv
import sys
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path


def at(prices, row):
    """The row's tokens at these prices, in whole pico-dollars; None where the prices are not known any more."""
    each = [row[f"{prices}_{kind}_pico"] for kind in ("input", "output", "cached_input", "cache_write", "image")]
    read, out, cached, written, images = (
        max(0, int(row[name]))
        for name in ("tokens_input", "tokens_output", "tokens_cached", "tokens_cache_write", "images")
    )
    counts = (max(0, read - cached - written), out, cached, written, images)
    return None if "" in each else sum(count * int(price) for count, price in zip(counts, each, strict=True))


def computed(row):
    """Failed cost, cost, baseline cost, saving, billed; None for what needs a price that is not known any more."""
    failed = sum(int(attempt.split()[-1]) for attempt in filter(None, row["failed_attempts"].split("; ")))
    if row["outcome"] == "failed":
        return failed, failed, 0, -failed, billed(row, failed)
    answer, baseline = at("price", row), at("premium_price", row)
    cost = None if answer is None else failed + answer - int(row["overrun_pico"])
    premium = baseline if row["premium_model"] else cost
    saved = None if None in (cost, premium) else premium - cost
    return failed, cost, premium, saved, billed(row, int(row["cost_pico"]))


def billed(row, cost):
    """The cost with its markup, on all but what went to the org's own provider keys, up to a whole pico-dollar."""
    return cost - (-(cost - int(row["byok_cost_pico"])) * int(row["markup_bp"]) // 10_000)


wrong, unknown, sums = 0, 0, defaultdict(Counter)
with Path(sys.argv[1]).open(newline="", encoding="utf-8") if sys.argv[1:] else sys.stdin as file:
    for row in csv.DictReader(file):
        kept = {name: int(row[f"{name}_pico"]) for name in ("failed_cost", "cost", "premium_cost", "savings", "billed")}
        for (name, recorded), again in zip(kept.items(), computed(row), strict=True):
            unknown += again is None
            if again not in (None, recorded):
                wrong += 1
                print(f"{row['request_id']}: {name} is {recorded}, should be {again} pico-dollars")
        for by in (
            f"model {row['model']}",
            f"day {row['created_at_utc'][:10]}",
            f"task {row['task']}",
            f"key {row['key']}",
        ):
            sums[by].update(kept, requests=1)
        sums["total"].update(kept, requests=1)
print(f"{sums['total']['requests']} requests, {wrong} figures wrong, {unknown} without a known price")
for by, total in sorted(sums.items()):
    dollars = (f"{name} {Decimal(total[name]).scaleb(-12):f}" for name in ("cost", "premium_cost", "savings", "billed"))
    print(f"{by}: {total['requests']} requests,", ", ".join(dollars))
sys.exit(wrong > 0)
