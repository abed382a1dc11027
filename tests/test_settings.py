"""The environment: read once, typed, and refused with one clear line per problem."""

import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from pydantic import SecretStr

from omni_app.settings import (
    ADDRESSES,
    POSTGRES,
    PROVIDER_KEY_VARIABLES,
    Settings,
    SettingsError,
    _stored_secret,
    load_settings,
    secret_variables,
)


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return refused.value.problems


def test_nothing_needs_to_be_set() -> None:
    settings = load_settings()
    assert settings.database.startswith("sqlite:///") and settings.database.endswith("data/omni.db")
    assert settings.origin == "http://127.0.0.1:8000"


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PORT", "SUPABASE_URL", "OPENAI_API_KEY", "DATABASE_URL", "OPENAI_BASE_URL"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.port == 8000 and settings.provider_base_url("openai") == "https://api.openai.com/v1"


@pytest.mark.parametrize(
    ("have", "lack"),
    [
        ("SUPABASE_URL", "SUPABASE_ANON_KEY"),
        ("SUPABASE_ANON_KEY", "SUPABASE_URL"),
        ("SUPABASE_SERVICE_KEY", "SUPABASE_URL"),
        ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"),
        ("UPSTASH_REDIS_REST_TOKEN", "UPSTASH_REDIS_REST_URL"),
        ("SMTP_URL", "MAIL_FROM"),
        ("TLS_CERT_FILE", "TLS_KEY_FILE"),
        ("TLS_KEY_FILE", "TLS_CERT_FILE"),
    ],
)
def test_half_a_pair_is_refused_naming_the_other_half(monkeypatch: pytest.MonkeyPatch, have: str, lack: str) -> None:
    assert problems(monkeypatch, **{have: "https://one.example"}) == [
        f"{have} is set but {lack} is not: set both or neither"
    ]


def test_supabase_is_asked_with_either_key_and_not_with_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://x.example")
    for name in ("SUPABASE_ANON_KEY", "SUPABASE_SERVICE_KEY"):
        with monkeypatch.context() as alone:
            alone.setenv(name, name.lower())
            assert load_settings().supabase_key == name.lower()
    assert problems(monkeypatch, SUPABASE_ANON_KEY="a", SUPABASE_SERVICE_KEY="s") == [
        "SUPABASE_SERVICE_KEY is set beside SUPABASE_ANON_KEY, which suffices: unset it"
    ]


def test_the_owner_s_database_is_the_server_s_unless_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://server@db/omni")
    assert load_settings().database_owner == load_settings().database == "postgresql://server@db/omni"
    monkeypatch.setenv("DATABASE_OWNER_URL", "postgres://owner@db/omni")
    assert load_settings().database_owner == "postgresql://owner@db/omni"
    (line,) = problems(monkeypatch, DATABASE_URL="")
    assert line.startswith("DATABASE_OWNER_URL is for Postgres")


def test_every_problem_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    found = problems(
        monkeypatch, SUPABASE_URL="https://x.example", UPSTASH_REDIS_REST_TOKEN="t", OMNI_SECRET_KEY="short"
    )
    assert len(found) == 3 and all("\n" not in line for line in found)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("PORT", "0"),
        ("RATE_LIMIT_MAX", "-1"),
        ("DATABASE_URL", "mysql://x"),
        ("LOCAL_MODEL", "maybe"),
        ("TRUSTED_PROXIES", "everybody"),
        ("OMNI_ENV", "staging"),
    ],
)
def test_a_wrong_value_is_refused_by_its_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    (line,) = problems(monkeypatch, **{name: value})
    assert line.startswith(f"{name}: ")


@pytest.mark.parametrize(
    "url",
    [
        "https://omni.example/app", "https://omni.example/app/", "https://omni.example//x", "https://omni.example?a=b",
        "https://omni.example/?", "https://omni.example#top", "https://omni.example/#", "https://me@omni.example",
        "omni.example", "//omni.example", "ftp://omni.example", "https://",
        "https://omni.example\\x", "https://omni example",
    ],
)  # fmt: skip
def test_an_address_that_shares_its_host_or_is_no_host_s_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    (line,) = problems(monkeypatch, PUBLIC_URL=url)
    assert line == (
        "PUBLIC_URL: must be a scheme and a host alone, like https://omni.example: no path, query or fragment"
    )


@pytest.mark.parametrize("url", ["https://omni.example/", "http://127.0.0.1:8000", "https://[::1]:8443"])
def test_a_host_of_its_own_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PUBLIC_URL", url)
    assert load_settings().origin == url.rstrip("/")


def test_a_file_of_the_secrets_folder_says_what_the_environment_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    mounted = tmp_path / "..data"  # as Kubernetes mounts a secret
    mounted.mkdir()
    for name, value in {"OMNI_SECRET_KEY": "s" * 32 + "\n", "openai_api_key": "sk-file", "PORT": "9001"}.items():
        (mounted / name).write_text(value)
        (tmp_path / name).symlink_to(mounted / name)
    monkeypatch.setenv("OMNI_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("PORT", "9002")
    settings = load_settings()
    assert (settings.secret_key, settings.provider_key("openai"), settings.port) == ("s" * 32, "sk-file", 9002)


def test_a_file_of_the_secrets_folder_with_a_wrong_value_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "OMNI_KEY_PEPPER").write_text("short")
    assert problems(monkeypatch, OMNI_SECRETS_DIR=str(tmp_path)) == [
        "OMNI_KEY_PEPPER is too short: at least 32 characters"
    ]


def test_a_secrets_folder_that_cannot_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    assert problems(monkeypatch, OMNI_SECRETS_DIR=str(gone)) == [f"OMNI_SECRETS_DIR: {gone} is no folder"]
    (tmp_path / "OMNI_SECRET_KEY").symlink_to(tmp_path / "OMNI_SECRET_KEY")
    (line,) = problems(monkeypatch, OMNI_SECRETS_DIR=str(tmp_path))
    assert line.startswith("OMNI_SECRETS_DIR: ")


def test_production_asks_for_its_secrets_and_a_database(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = problems(monkeypatch, OMNI_ENV="production")
    assert [line.split()[0] for line in lines] == [
        "OMNI_SECRET_KEY",
        "OMNI_KEY_PEPPER",
        "PUBLIC_URL",
        "DATABASE_URL",
        "OMNI_DATA_DIR",
    ]


@pytest.mark.parametrize(
    ("pepper", "other", "says"),
    [("", "b" * 40, "OMNI_KEY_PEPPER is not"), ("a" * 40, "a" * 40, "the same"), ("a" * 40, "b", "too short")],
)
def test_the_other_pepper_is_a_whole_and_another_one(
    monkeypatch: pytest.MonkeyPatch, pepper: str, other: str, says: str
) -> None:
    (line,) = problems(monkeypatch, OMNI_KEY_PEPPER=pepper, OMNI_KEY_PEPPER_OTHER=other)
    assert "OMNI_KEY_PEPPER_OTHER" in line and says in line


@pytest.mark.parametrize(
    ("secret", "other", "says"),
    [("", "b" * 40, "OMNI_SECRET_KEY is not"), ("a" * 40, "a" * 40, "the same"), ("a" * 40, "b", "too short")],
)
def test_the_other_secret_key_is_a_whole_and_another_one(
    monkeypatch: pytest.MonkeyPatch, secret: str, other: str, says: str
) -> None:
    (line,) = problems(monkeypatch, OMNI_SECRET_KEY=secret, OMNI_SECRET_KEY_OTHER=other)
    assert "OMNI_SECRET_KEY_OTHER" in line and says in line


def test_the_other_secret_key_opens_provider_keys_while_these_have_none_of_their_own() -> None:
    first, other = SecretStr("a" * 40), SecretStr("b" * 40)
    exchanged = Settings(omni_secret_key=first, omni_secret_key_other=other)
    assert (exchanged.sealing_key, exchanged.sealing_key_other) == ("a" * 40, "b" * 40)
    apart = Settings(omni_secret_key=first, omni_secret_key_other=other, omni_sealing_key=SecretStr("c" * 40))
    assert (apart.sealing_key, apart.sealing_key_other) == ("c" * 40, "")


def test_secrets_are_made_once_and_readable_by_the_owner_alone(tmp_path: Path) -> None:
    settings = Settings(omni_data_dir=tmp_path)
    assert settings.key_pepper == settings.key_pepper != settings.secret_key
    assert len(settings.key_pepper) >= 32
    assert stat.S_IMODE((tmp_path / "key_pepper").stat().st_mode) == 0o600


def test_of_many_that_start_at_once_all_have_the_same_whole_secret(tmp_path: Path) -> None:
    """Each round is a first start: who comes while the secret is made reads no half of one, and makes no other."""
    with ThreadPoolExecutor(8) as pool:
        for number in range(50):
            path, line = tmp_path / str(number) / "secret", Barrier(8)

            def read(path: Path = path, line: Barrier = line) -> str:
                line.wait()
                return _stored_secret(path)

            found = {one.result() for one in [pool.submit(read) for _ in range(8)]}
            assert found == {path.read_text()}
            assert len(found.pop()) >= 32
            assert [one.name for one in path.parent.iterdir()] == ["secret"]


def test_no_representation_shows_a_secret() -> None:
    secrets = {name.lower(): f"sk-{name.lower()}-0123456789" for name in PROVIDER_KEY_VARIABLES.values()}
    settings = Settings(**secrets, omni_secret_key="s" * 40)  # type: ignore[arg-type]
    assert "0123456789" not in repr(settings) and "s" * 40 not in repr(settings)


def test_supabases_own_spelling_of_a_database_url_is_taken() -> None:
    assert Settings(database_url="postgres://u:p@db.example/x").database == "postgresql://u:p@db.example/x"


def in_production(**more: str) -> dict[str, str]:
    secrets = {
        "OMNI_SECRET_KEY": "a" * 40,
        "OMNI_KEY_PEPPER": "b" * 40,
        "DATABASE_URL": "sqlite://",
        "OMNI_DATA_DIR": "/x",
    }
    return {"OMNI_ENV": "production", "PUBLIC_URL": "https://omni.example", **secrets, **more}


@pytest.mark.parametrize(
    ("more", "opened"),
    [
        ({}, False),
        ({"SIGN_UP_WITHOUT_MAIL": "on"}, True),
        ({"SMTP_URL": "smtp://x", "MAIL_FROM": "a@b.example"}, True),
        ({"SMTP_URL": "smtp://x", "MAIL_FROM": "a@b.example", "SIGN_UP_WITHOUT_MAIL": "off"}, True),
        ({"SUPABASE_URL": "https://x.example", "SUPABASE_ANON_KEY": "k"}, True),
        ({"OMNI_ENV": "development"}, True),
        ({"OMNI_ENV": "development", "SIGN_UP_WITHOUT_MAIL": "off"}, False),
    ],
)
def test_in_production_nobody_signs_up_by_themselves_where_no_mail_is_sent(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, str], *, opened: bool
) -> None:
    for name, value in in_production(**more).items():
        monkeypatch.setenv(name, value)
    assert load_settings().takes_sign_ups is opened


def test_in_production_the_public_address_is_https(monkeypatch: pytest.MonkeyPatch) -> None:
    (line,) = problems(monkeypatch, **in_production(PUBLIC_URL="http://omni.example"))
    assert line.startswith("PUBLIC_URL") and "https://" in line
    for url in ("https://omni.example", "http://localhost:8000", "http://127.0.0.1:8000"):
        monkeypatch.setenv("PUBLIC_URL", url)
        assert load_settings().public_url == url


@pytest.mark.parametrize(
    "origin", ["https://app.example/", "app.example", "*", "https://a.example,https://b.example/x"]
)
def test_an_origin_that_no_browser_would_send_stops_the_start(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    (line,) = problems(monkeypatch, CORS_ORIGIN=origin)
    assert line.startswith("CORS_ORIGIN") and "scheme and a host" in line


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "omni.internal"])  # noqa: S104 what is refused
def test_in_production_nobody_comes_in_without_tls(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    (line,) = problems(monkeypatch, **in_production(HOST=host))
    assert line.startswith(f"HOST={host}") and "TLS_CERT_FILE" in line and "TRUSTED_PROXIES" in line
    for name, value in {
        "HOST": "127.0.0.1",
        "TRUSTED_PROXIES": "10.0.0.0/8",
        "TLS_CERT_FILE": "/c.pem",
        "OMNI_ENV": "development",
    }.items():
        with monkeypatch.context() as other:
            other.setenv(name, value)
            if name == "TLS_CERT_FILE":
                other.setenv("TLS_KEY_FILE", "/k.pem")
            load_settings()


def test_every_address_of_another_service_is_looked_at() -> None:
    named = {name for name in Settings.model_fields if re.search("url|endpoint", name)}
    assert {*ADDRESSES, *POSTGRES} == named - {"public_url"}


@pytest.mark.parametrize("name", sorted({*ADDRESSES, *POSTGRES} - {"smtp_url"}))
def test_in_production_no_service_elsewhere_is_asked_in_the_clear(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Mail becomes TLS by STARTTLS, which is insisted on when it is sent."""
    kind = "postgres" if name in POSTGRES else "redis" if "reflex" in name else "http"
    plain = {"postgres": "postgresql://u@elsewhere.example/x?sslmode=require", "redis": "redis://elsewhere.example"}
    beside = {"UPSTASH_REDIS_REST_TOKEN": "t", "ALERT_WEBHOOK_SECRET": "s" * 40, "SUPABASE_ANON_KEY": "k"}
    whole = {"upstash_redis_rest_url": 0, "alert_webhook_url": 1, "supabase_url": 2}
    more = dict([list(beside.items())[whole[name]]]) if name in whole else {}
    if name == "database_owner_url":
        more["DATABASE_URL"] = "postgresql://s@elsewhere.example/x"
    environment = in_production(**more) | {name.upper(): plain.get(kind, "http://elsewhere.example/v1")}
    (line,) = problems(monkeypatch, **environment)
    assert line.startswith(f"{name.upper()} ") and "list elsewhere.example in PLAIN_HOSTS" in line
    monkeypatch.setenv("PLAIN_HOSTS", "other.example, Elsewhere.example")
    load_settings()
    monkeypatch.setenv("PLAIN_HOSTS", "")
    monkeypatch.setenv("OMNI_ENV", "development")
    load_settings()


def test_in_production_postgres_elsewhere_is_asked_who_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "postgresql://u:p@db.example/x"
    for name, value in in_production(DATABASE_URL=url, DATABASE_OWNER_URL=url).items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert "sslmode=verify-full&sslrootcert=" in settings.database and settings.database == settings.database_owner
    monkeypatch.setenv("PLAIN_HOSTS", "db.example")
    assert load_settings().database == url


def test_a_file_of_authorities_that_cannot_be_read_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (line,) = problems(monkeypatch, SSL_CERT_FILE=str(tmp_path / "none.pem"))
    assert line.startswith("SSL_CERT_FILE: ") and "none.pem" in line


def test_with_a_certificate_our_own_address_is_https() -> None:
    settings = Settings(tls_cert_file=Path("/c.pem"), tls_key_file=Path("/k.pem"), port=8443)
    assert settings.origin == "https://127.0.0.1:8443"


@pytest.mark.parametrize("name", ["OMNI_SECRET_KEY", "OMNI_KEY_PEPPER", "OMNI_SEALING_KEY", "ALERT_WEBHOOK_SECRET"])
def test_a_secret_that_could_be_guessed_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """At least 32 characters: 128 bits even of hex digits."""
    monkeypatch.setenv("ALERT_WEBHOOK_URL", "https://alerts.example")
    monkeypatch.setenv("ALERT_WEBHOOK_SECRET", "c" * 32)
    assert problems(monkeypatch, **{name: "d" * 31}) == [f"{name} is too short: at least 32 characters"]


def test_every_variable_with_a_secret_is_known_as_one() -> None:
    words = ("secret", "key", "pepper")
    named = {name.upper() for name in Settings.model_fields if any(word in name for word in words)}
    named -= {"OMNI_SECRETS_DIR", "TLS_KEY_FILE"}  # where they lie
    named |= {
        "METRICS_TOKEN",
        "UPSTASH_REDIS_REST_TOKEN",
        "SMTP_URL",
        "DATABASE_URL",
        "DATABASE_OWNER_URL",
        "REFLEX_REDIS_URL",
    }
    assert named | {"OTEL_EXPORTER_OTLP_HEADERS"} == secret_variables()
