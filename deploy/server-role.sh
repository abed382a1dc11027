#!/bin/sh
# Run by the image of Postgres when it makes its database: the role that serves, which owns nothing (docs/DEPLOY.md).
set -e
psql -v ON_ERROR_STOP=1 -v password="$SERVER_ROLE_PASSWORD" -v database="$POSTGRES_DB" -U "$POSTGRES_USER" -d "$POSTGRES_DB" <<'SQL'
CREATE ROLE omni_server LOGIN PASSWORD :'password';
REVOKE TEMPORARY ON DATABASE :"database" FROM PUBLIC;
SQL
