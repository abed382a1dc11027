"""Months are made and dropped by functions of the tables' owner: the role that serves need not own anything.

They run with the owner's rights, find nothing by a search path of the caller's, and take the three tables' names and
the beginning of a month. Who may call them is granted by `storage/server_role.py`; nobody else is.

Revision: 0026, after 0025
"""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None
contract = ""

MAKE = """
CREATE FUNCTION omni_make_month(parent text, starts_at timestamptz, at_most bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    ends_at timestamptz := (starts_at AT TIME ZONE 'UTC' + interval '1 month') AT TIME ZONE 'UTC';
    month text := parent || to_char(starts_at AT TIME ZONE 'UTC', '_YYYY_MM');
    rest text := parent || '_default';
    held bigint;
    server text;
BEGIN
    IF parent IS NULL OR parent NOT IN ('requests', 'attempts', 'routing_logs') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no table that is divided by month';
    ELSIF starts_at IS NULL OR starts_at <> date_trunc('month', starts_at, 'UTC')
        OR starts_at NOT BETWEEN '2000-01-01 00:00:00+00' AND '2999-12-01 00:00:00+00' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'not the beginning of a UTC month';
    ELSIF at_most IS NULL OR at_most NOT BETWEEN 0 AND 50000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'at most 50000 rows are moved';
    END IF;
    EXECUTE format('LOCK TABLE {schema}.%I IN ACCESS EXCLUSIVE MODE', rest);
    EXECUTE format(
        'SELECT count(*) FROM (SELECT FROM {schema}.%I WHERE created_at >= $1 AND created_at < $2 LIMIT $3) AS few', rest
    ) INTO held USING starts_at, ends_at, at_most + 1;
    IF held > at_most THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TABLE {schema}.%I (LIKE {schema}.%I INCLUDING ALL)', month, parent);
    EXECUTE format('ALTER TABLE {schema}.%I ENABLE ROW LEVEL SECURITY', month);
    FOR server IN SELECT quote_ident(rolname) FROM pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON TABLE {schema}.%I FROM %s', month, server);
    END LOOP;
    FOR server IN
        SELECT quote_ident(rolname) FROM pg_policy JOIN pg_roles ON pg_roles.oid = ANY (polroles)
        WHERE polname = 'omni_server' AND polrelid = to_regclass(format('{schema}.%I', parent))
    LOOP
        EXECUTE format('REVOKE ALL ON TABLE {schema}.%I FROM %s', month, server);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE {schema}.%I TO %s', month, server);
        EXECUTE format('CREATE POLICY omni_server ON {schema}.%I TO %s USING (true) WITH CHECK (true)', month, server);
    END LOOP;
    EXECUTE format(
        'WITH moved AS (DELETE FROM {schema}.%I WHERE created_at >= $1 AND created_at < $2 RETURNING *) '
        'INSERT INTO {schema}.%I SELECT * FROM moved', rest, month
    ) USING starts_at, ends_at;
    EXECUTE format(
        'ALTER TABLE {schema}.%I ATTACH PARTITION {schema}.%I FOR VALUES FROM (%L) TO (%L)', parent, month,
        to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T00:00:00Z"'),
        to_char(ends_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T00:00:00Z"')
    );
    RETURN true;
END
$function$
"""
"""Attached and not made as a partition: that would lock the whole table, this the default partition alone. As long as
the default partition has rows of a month Postgres refuses it, so no row can come to lie in two."""

DROP = """
CREATE FUNCTION omni_drop_months(parent text, before timestamptz) RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    ended record;
BEGIN
    IF parent IS NULL OR parent NOT IN ('requests', 'attempts', 'routing_logs') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no table that is divided by month';
    ELSIF before IS NULL OR NOT isfinite(before) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no moment to drop months before';
    END IF;
    FOR ended IN
        SELECT part.oid::regclass AS place, part.relname AS name FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
        WHERE inhparent = to_regclass(format('{schema}.%I', parent)) AND CAST((regexp_match(
            pg_get_expr(part.relpartbound, part.oid), 'TO \\(''([^'']+)''\\)'))[1] AS timestamptz) <= before
        ORDER BY part.relname
    LOOP
        EXECUTE format('DROP TABLE %s', ended.place);
        RETURN NEXT ended.name;
    END LOOP;
END
$function$
"""
SIGNATURES = ("omni_make_month(text, timestamptz, bigint)", "omni_drop_months(text, timestamptz)")
GRANTED = sa.text("""
    SELECT DISTINCT CASE grantee WHEN 0 THEN 'PUBLIC' ELSE CAST(CAST(grantee AS regrole) AS text) END
    FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
    WHERE pg_proc.oid = to_regprocedure(:function) AND grantee <> proowner
""")
"""Whom a new function is granted to by default: everybody, and at Supabase some roles by name."""


def upgrade() -> None:
    connection = op.get_bind()
    if connection.dialect.name != "postgresql":
        return
    schema = connection.scalar(sa.text("SELECT quote_ident(current_schema())"))
    for function in (MAKE, DROP):
        op.execute(function.replace("{schema}", schema))
    for function in SIGNATURES:
        for role in connection.scalars(GRANTED, {"function": function}).all():
            op.execute(f"REVOKE ALL ON FUNCTION {function} FROM {role}")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        for function in SIGNATURES:
            op.execute(f"DROP FUNCTION {function}")
