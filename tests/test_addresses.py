"""Which ways to other services are closed to others."""

from urllib.parse import parse_qs, urlsplit

import pytest

from omni_app.addresses import clear_problem, is_this_machine, postgres_problem, verified

PLAIN = frozenset({"cache.internal", "10.0.0.5"})


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1"])
def test_this_machine_is_known_by_its_names(host: str) -> None:
    assert is_this_machine(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "localhost.example", "127.0.0.1.example", "127.1", "10.0.0.5"])  # noqa: S104
def test_what_is_not_surely_this_machine_is_another(host: str) -> None:
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example/v1",
        "http://127.0.0.1:8080/v1",
        "http://[::1]:8080",
        "http://localhost",
        "http://cache.internal:80",
        "http://10.0.0.5",
        "rediss://redis.example:6380/0",
        "rediss://redis.example?ssl_cert_reqs=required",
        "redis://127.0.0.1:6379?ssl_cert_reqs=none",
        "unix:///run/redis.sock",
        "smtps://a:b@mail.example",
        "smtp://mail.example",
    ],
)
def test_a_way_that_nobody_reads_along_is_taken(url: str) -> None:
    assert clear_problem(url, PLAIN) == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://api.example/v1", "begin it with https://, or list api.example in PLAIN_HOSTS"),
        ("http://localhost@localhost.example", "list localhost.example"),
        ("http://127.0.0.1@api.example", "list api.example"),
        ("api.example/v1", "begin it with https://"),
        ("redis://redis.example", "begin it with rediss://"),
        ("rediss://redis.example?ssl_cert_reqs=none", "leave ssl_cert_reqs out"),
        ("rediss://redis.example?ssl_check_hostname=False", "leave ssl_check_hostname out"),
    ],
)
def test_one_that_others_read_is_told_with_what_to_do(url: str, says: str) -> None:
    assert says in clear_problem(url, PLAIN)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@db.example/x",
        "postgresql://u:p@DB.example:6543/x?sslmode=verify-full",
        "postgresql:///x?host=db.example",
        "postgresql://localhost/x?hostaddr=192.0.2.1",
        "postgresql://localhost,db.example/x",
        "postgresql://[fd00::1]:5432/x",
        "postgresql+psycopg://u@/x?host=localhost:5432&host=db.example:5432",
    ],
)
def test_postgres_elsewhere_has_to_show_a_certificate_that_is_checked(url: str) -> None:
    assert postgres_problem(url, PLAIN) == ""
    found = parse_qs(urlsplit(verified(url, PLAIN)).query)
    assert found["sslmode"] == ["verify-full"] and found["sslrootcert"][0].startswith("/")
    for weak in ("disable", "allow", "prefer", "require", "verify-ca"):
        without = url.replace("?sslmode=verify-full", "")
        problem = postgres_problem(f"{without}{'&' if '?' in without else '?'}sslmode={weak}", PLAIN)
        assert "sslmode=verify-full" in problem and "PLAIN_HOSTS" in problem


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@127.0.0.1:5432/x",
        "postgresql://u@localhost/x?sslmode=disable",
        "postgresql:///x",
        "postgresql:///x?host=/var/run/postgresql",
        "postgresql://%2Fvar%2Frun%2Fpostgresql/x?sslmode=disable",
        "postgresql://u@10.0.0.5/x",
    ],
)
def test_postgres_here_or_where_it_may_be_plain_is_left_as_it_is(url: str) -> None:
    assert postgres_problem(url, PLAIN) == "" and verified(url, PLAIN) == url


def test_an_authority_that_is_named_stays() -> None:
    url = verified("postgresql://u@db.example/x?sslrootcert=/etc/ca.pem&application_name=a", PLAIN)
    assert parse_qs(urlsplit(url).query) == {
        "sslrootcert": ["/etc/ca.pem"], "application_name": ["a"], "sslmode": ["verify-full"],
    }  # fmt: skip
