"""Python's cyclic collector, told what a server is: much that stays, little that goes round in circles.

Reference counts free nearly all of a request. By itself the collector looks for cycles after every 700 new containers,
which is every tenth request, and what it walks then are the records that wait for the database
(docs/decisions/0060-what-a-request-costs.md).
"""

import gc

THRESHOLDS = (5_000, 20, 50)
"""New containers until the youngest are looked at; rounds of these until the middle ones are, and of those until all.
The first is a look of about a millisecond; at 20,000 it would be four, and save 2 µs a request more (measured)."""


def rest() -> None:
    """To be called once, when what a process needs is loaded: that is never walked again, the rest seldom."""
    gc.collect()
    gc.freeze()  # going through it again and again stopped the process for 0.1 s or more
    gc.set_threshold(*THRESHOLDS)
