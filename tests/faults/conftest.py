"""A real Postgres for the plays that need one."""

from tests.storage.conftest import postgres, postgres_name, postgres_url

__all__ = ("postgres", "postgres_name", "postgres_url")
