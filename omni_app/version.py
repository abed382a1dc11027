"""The version of this product, stated here and nowhere else: `pyproject.toml` and the OpenAPI document read it."""

VERSION = "0.1.0"
