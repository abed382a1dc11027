"""Both databases, for what must hold in them: the fixtures of the storage tests."""

from tests.storage.conftest import (
    database,
    database_url,
    migrated_sqlite,
    postgres,
    postgres_name,
    postgres_url,
    sqlite_url,
)

__all__ = ["database", "database_url", "migrated_sqlite", "postgres", "postgres_name", "postgres_url", "sqlite_url"]
