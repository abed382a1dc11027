"""The pure core: which task is this, what would each model cost, which one answers, and why.

Values in, values out: no clock, no randomness, no I/O. The import contract in pyproject.toml holds it to that.
"""
