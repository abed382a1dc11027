"""Settings: the one typed reader of the environment, and of the files of `OMNI_SECRETS_DIR`.

An empty variable counts as unset. A half-configured environment is refused with one line per problem
(`SettingsError`), before anything starts.
"""

import os
import re
import secrets
import warnings
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSource

from omni_app import authorities
from omni_app.addresses import clear_problem, is_this_machine, postgres_problem, verified

PROVIDER_KEY_VARIABLES: Mapping[str, str] = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "groq": "GROQ_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
}
"""Provider name -> the variable that holds its key. Its base URL is the same name with `_BASE_URL`."""

DEFAULT_BASE_URLS: Mapping[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "openrouter": "https://openrouter.ai/api/v1",
    "groq": "https://api.groq.com/openai/v1",
    "gemini": "https://generativelanguage.googleapis.com",
    "mistral": "https://api.mistral.ai/v1",
    "deepseek": "https://api.deepseek.com/v1",
    "xai": "https://api.x.ai/v1",
}


ADDRESSES = (
    *(f"{name}_base_url" for name in PROVIDER_KEY_VARIABLES),
    "supabase_url",
    "upstash_redis_rest_url",
    "reflex_redis_url",
    "alert_webhook_url",
    "otel_exporter_otlp_endpoint",
    "catalog_openrouter_url",
    "catalog_litellm_url",
    "smtp_url",
)
"""Where others are called; Postgres' addresses beside them."""
POSTGRES = ("database_url", "database_owner_url")


class SettingsError(Exception):
    """The environment cannot be used. `problems`: one clear line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _without_slash(value: str) -> str:
    return value.rstrip("/")


BaseUrl = Annotated[str, BeforeValidator(_without_slash)]


class Settings(BaseSettings):
    """Every setting, by the name of its environment variable (case-insensitive).

    What the environment does not say may stand in a file of that name in the folder `OMNI_SECRETS_DIR`, as vaults,
    Kubernetes and systemd lay secrets out.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the files."""
        del dotenv_settings, file_secret_settings
        files = SecretsSettingsSource(settings_cls, secrets_dir=os.environ.get("OMNI_SECRETS_DIR") or None)
        return init_settings, env_settings, files

    # Where we are
    omni_env: Literal["development", "production"] = "development"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    public_url: BaseUrl = ""
    hsts_subdomains: Literal["on", "off"] = "on"
    """Whether browsers that saw us on https are told that our host's subdomains speak it too."""
    omni_data_dir: Path = Path("data")
    tls_cert_file: Path | None = None
    tls_key_file: Path | None = None
    """A certificate with its chain, and its key (PEM): then TLS alone is spoken at our port."""
    trusted_proxies: str = ""
    plain_hosts: str = ""
    """Hosts that production may speak with in the clear."""
    ssl_cert_file: Path | None = None
    """Authorities beside the system's; OpenSSL reads the variable by itself."""
    cors_origin: str = ""

    # Secrets of ours
    omni_secrets_dir: Path | None = None
    """A folder with files named as variables; each holds that variable's value."""
    omni_secret_key: SecretStr = SecretStr("")
    omni_secret_key_other: SecretStr = SecretStr("")
    """The one before or after `OMNI_SECRET_KEY`: what it sealed is opened, nothing is sealed with it."""
    omni_key_pepper: SecretStr = SecretStr("")
    omni_key_pepper_other: SecretStr = SecretStr("")
    """The pepper before or after `OMNI_KEY_PEPPER`: keys under it are let in, and come under that one."""

    omni_sealing_key: SecretStr = SecretStr("")
    """Seals the orgs' own provider keys; `OMNI_SECRET_KEY` when it is not set."""
    omni_sealing_key_other: SecretStr = SecretStr("")
    """The one before: what it sealed is opened."""

    # Data
    database_url: str = ""
    database_owner_url: str = ""
    """The role that owns the tables, for migrations; unset, the one of `DATABASE_URL` does."""
    database_pool_size: int = Field(default=15, ge=2, le=200)
    """Connections to Postgres that one process opens at most."""
    supabase_url: BaseUrl = ""
    supabase_anon_key: SecretStr = SecretStr("")
    supabase_service_key: SecretStr = SecretStr("")
    """In place of the other one; it may do more than we ask for."""
    upstash_redis_rest_url: BaseUrl = ""
    upstash_redis_rest_token: SecretStr = SecretStr("")
    reflex_redis_url: str = ""

    # Providers
    openai_api_key: SecretStr = SecretStr("")
    openai_base_url: BaseUrl = DEFAULT_BASE_URLS["openai"]
    anthropic_api_key: SecretStr = SecretStr("")
    anthropic_base_url: BaseUrl = DEFAULT_BASE_URLS["anthropic"]
    openrouter_api_key: SecretStr = SecretStr("")
    openrouter_base_url: BaseUrl = DEFAULT_BASE_URLS["openrouter"]
    groq_api_key: SecretStr = SecretStr("")
    groq_base_url: BaseUrl = DEFAULT_BASE_URLS["groq"]
    gemini_api_key: SecretStr = SecretStr("")
    gemini_base_url: BaseUrl = DEFAULT_BASE_URLS["gemini"]
    mistral_api_key: SecretStr = SecretStr("")
    mistral_base_url: BaseUrl = DEFAULT_BASE_URLS["mistral"]
    deepseek_api_key: SecretStr = SecretStr("")
    deepseek_base_url: BaseUrl = DEFAULT_BASE_URLS["deepseek"]
    xai_api_key: SecretStr = SecretStr("")
    xai_base_url: BaseUrl = DEFAULT_BASE_URLS["xai"]
    local_model: Literal["on", "off"] = "on"
    sandbox_speed: float = Field(default=1.0, ge=0.0, le=100.0)
    """Factor on the sandbox's simulated delays; 0 answers at once (tests)."""

    # Routing and limits
    premium_model: str = ""
    markup_percent: Decimal = Field(default=Decimal(0), ge=0, le=1_000, decimal_places=2)
    """Billed on top of what providers charge."""
    rate_limit_max: int = Field(default=100, ge=1, le=1_000_000)
    rate_limit_window_sec: int = Field(default=60, ge=1, le=86_400)
    rate_limit_tokens: int = Field(default=0, ge=0, le=1_000_000_000)
    """Tokens per org and window; 0 = no limit."""
    rate_limit_workers: int = Field(default=1, ge=1, le=10_000)
    """How many worker processes, on all machines, share one Redis: each enforces its share while Redis is away."""
    max_body_bytes: int = Field(default=10_000_000, ge=1_000, le=100_000_000)
    provider_timeout_sec: float = Field(default=120.0, gt=0, le=3600)
    max_in_flight: int = Field(default=4_000, ge=1, le=20_000)
    """Requests that one worker holds at once; a long body counts as several."""
    http_client: Literal["own", "aiohttp"] = "own"
    """What speaks HTTP with providers (`omni_app.providers.transport.CLIENTS`)."""
    stop_grace_sec: int = Field(default=15, ge=0, le=3600)
    """What is in flight when a stop is asked for may take this long; then it is cut off, and told so."""

    # What is seen of it while it runs
    metrics_token: SecretStr = SecretStr("")
    """Who holds it may read `/metrics`; unset, nobody may."""
    log_requests: Literal["on", "off"] = "off"
    log_security: Literal["on", "off"] = "on"
    alert_webhook_url: str = ""
    alert_webhook_secret: SecretStr = SecretStr("")
    otel_exporter_otlp_endpoint: BaseUrl = ""
    otel_exporter_otlp_headers: SecretStr = SecretStr("")
    """`name=value,name=value`, percent-encoded, as OpenTelemetry's own libraries read it."""
    otel_logs_exporter: Literal["otlp", "none"] = "otlp"
    """Whether what is logged goes to that endpoint too."""
    otel_traces_sampler_arg: float = Field(default=1.0, ge=0.0, le=1.0)
    otel_service_name: str = "omni-model-router"

    # The public catalogues of models and prices
    catalog_sync: Literal["off", "daily"] = "off"
    """`daily`: one worker follows them once a day; else only `python -m omni_app catalog sync` does."""
    catalog_openrouter_url: str = "https://openrouter.ai/api/v1/models"
    catalog_litellm_url: str = (
        "https://raw.githubusercontent.com/BerriAI/litellm/main/model_prices_and_context_window.json"
    )

    # Mail
    smtp_url: SecretStr = SecretStr("")
    mail_from: str = ""
    sign_up_without_mail: Literal["on", "off", ""] = ""
    """Whether anybody makes an account on the page of a server that sends no mail, and so learns which addresses are
    taken; unset, in development only.
    """

    @field_validator("public_url", "cors_origin")
    @classmethod
    def _whole_host(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^/?#@\\\s]+", value):
            raise ValueError("must be a scheme and a host alone, like https://omni.example: no path, query or fragment")
        return value

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("sqlite://", "postgres://", "postgresql://", "postgresql+psycopg://")):
            raise ValueError("must start with sqlite:// or postgresql://")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, value: str) -> str:
        for one in filter(None, (part.strip() for part in value.split(","))):
            ip_network(one, strict=False)
        return value

    @model_validator(mode="after")
    def _whole_pairs(self) -> "Settings":
        problems = [
            f"{have} is set but {lack} is not: set both or neither"
            for one, other in (
                ("supabase_url", self._supabase_key_name),
                ("upstash_redis_rest_url", "upstash_redis_rest_token"),
                ("smtp_url", "mail_from"),
                ("tls_cert_file", "tls_key_file"),
                ("alert_webhook_url", "alert_webhook_secret"),
            )
            for have, lack in ((one.upper(), other.upper()), (other.upper(), one.upper()))
            if self._is_set(have.lower()) and not self._is_set(lack.lower())
        ]
        if self.omni_env == "production":
            problems += [
                f"{name.upper()} is required when OMNI_ENV=production"
                for name in ("omni_secret_key", "omni_key_pepper", "public_url", "database_url")
                if not self._is_set(name)
            ]
            if "omni_data_dir" not in self.model_fields_set:
                problems.append(
                    "OMNI_DATA_DIR is required when OMNI_ENV=production: a volume that outlives the process"
                )
            if self.public_url and not _is_safe(self.public_url):
                problems.append("PUBLIC_URL has to begin with https:// when OMNI_ENV=production, but on this machine")
            if not (is_this_machine(self.host) or self.tls_cert_file or self.trusted_proxies):
                problems.append(
                    f"HOST={self.host} would be reached without TLS: set TLS_CERT_FILE and TLS_KEY_FILE, or "
                    "TRUSTED_PROXIES to the addresses of the proxy that does TLS, or HOST=127.0.0.1"
                )
            problems += self._open_ways()
        problems += [
            f"{name.upper()} is too short: at least 32 characters"
            for name in (
                "omni_secret_key",
                "omni_secret_key_other",
                "omni_key_pepper",
                "omni_key_pepper_other",
                "omni_sealing_key",
                "omni_sealing_key_other",
                "alert_webhook_secret",
            )
            if self._is_set(name) and len(getattr(self, name).get_secret_value()) < 32
        ]
        if self._is_set("alert_webhook_url") and not self.alert_webhook_url.startswith(("https://", "http://")):
            problems.append("ALERT_WEBHOOK_URL: must start with https:// or http://")
        if self.ssl_cert_file and (problem := authorities.problem(self.ssl_cert_file)):
            problems.append(f"SSL_CERT_FILE: {problem}")
        if self._is_set("metrics_token") and len(self.metrics_token.get_secret_value()) < 16:
            problems.append("METRICS_TOKEN is too short: at least 16 characters")
        if self._is_set("supabase_anon_key") and self._is_set("supabase_service_key"):
            problems.append("SUPABASE_SERVICE_KEY is set beside SUPABASE_ANON_KEY, which suffices: unset it")
        if self._is_set("database_owner_url") and "sqlite" in (self.database[:6], self.database_owner_url[:6]):
            problems.append("DATABASE_OWNER_URL is for Postgres: set DATABASE_URL to the same one's, or unset both")
        problems += self._wrong_other("omni_key_pepper", "say which one new keys get")
        problems += self._wrong_other("omni_secret_key", "say which one seals from now on")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _open_ways(self) -> list[str]:
        """Services on other machines that would be spoken with in the clear, or whoever they are."""
        found = {name: clear_problem(self._said(name), self.plain) for name in ADDRESSES if self._is_set(name)}
        found |= {name: postgres_problem(self._said(name), self.plain) for name in POSTGRES if self._is_set(name)}
        return [f"{name.upper()} {problem}" for name, problem in found.items() if problem]

    def _said(self, name: str) -> str:
        value = getattr(self, name)
        return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

    def _wrong_other(self, name: str, ask: str) -> list[str]:
        """What is wrong with a second secret that is accepted beside `name`."""
        first, other = name.upper(), f"{name.upper()}_OTHER"
        if not self._is_set(other.lower()):
            return []
        if not self._is_set(name):
            return [f"{other} is set but {first} is not: {ask}"]
        return [f"{other} is the same as {first}: unset it"] * (getattr(self, name) == getattr(self, other.lower()))

    def _is_set(self, name: str) -> bool:
        value = getattr(self, name)
        return bool(value.get_secret_value() if isinstance(value, SecretStr) else value)

    @property
    def plain(self) -> frozenset[str]:
        """`PLAIN_HOSTS`, one by one."""
        return frozenset(filter(None, (one.strip().lower() for one in self.plain_hosts.split(","))))

    def may_be_plain(self, host: str) -> bool:
        """Whether a secret may be told to it in the clear."""
        return is_this_machine(host) or host.lower() in self.plain

    @property
    def markup_bp(self) -> int:
        """The markup in basis points: 100 are one percent."""
        return int(self.markup_percent * 100)

    @property
    def otlp_headers(self) -> dict[str, str]:
        """What goes with every batch of spans or lines."""
        pairs = (one.partition("=") for one in self.otel_exporter_otlp_headers.get_secret_value().split(",") if one)
        return {unquote(name).strip(): unquote(value).strip() for name, _, value in pairs}

    def provider_key(self, provider: str) -> str:
        """The provider's API key, or "" when it is not configured."""
        secret: SecretStr = getattr(self, f"{provider}_api_key")
        return secret.get_secret_value()

    def provider_base_url(self, provider: str) -> str:
        """Where the provider is reached, without a trailing slash."""
        url: str = getattr(self, f"{provider}_base_url")
        return url

    @property
    def database(self) -> str:
        """The database URL in use: `DATABASE_URL`, else SQLite in the data directory."""
        if not self.database_url:
            return f"sqlite:///{(self.omni_data_dir / 'omni.db').absolute()}"
        return self._postgres(self.database_url)

    def _postgres(self, url: str) -> str:
        """In production a server on another machine shows a certificate that is checked."""
        url = url.replace("postgres://", "postgresql://", 1)
        checks = self.omni_env == "production" and not url.startswith("sqlite")
        return verified(url, self.plain) if checks else url

    @property
    def database_owner(self) -> str:
        """The database URL for migrations."""
        return self._postgres(self.database_owner_url) if self.database_owner_url else self.database

    @property
    def supabase_key(self) -> str:
        """What Supabase Auth is asked with."""
        secret: SecretStr = getattr(self, self._supabase_key_name)
        return secret.get_secret_value()

    @property
    def _supabase_key_name(self) -> str:
        return "supabase_service_key" if self._is_set("supabase_service_key") else "supabase_anon_key"

    @property
    def origin(self) -> str:
        """The web app's own origin, for cookies, links and origin checks."""
        host = "127.0.0.1" if self.host in ("", "0.0.0.0", "::") else self.host  # noqa: S104 a comparison
        return self.public_url or f"{'https' if self.tls_cert_file else 'http'}://{host}:{self.port}"

    @property
    def takes_sign_ups(self) -> bool:
        """Whether people make accounts by themselves."""
        if self.smtp_url.get_secret_value() or self.supabase_url:
            return True
        return self.sign_up_without_mail == "on" or not (self.sign_up_without_mail or self.omni_env == "production")

    @property
    def secret_key(self) -> str:
        """Signs and encrypts what is ours; generated once into the data directory when not set."""
        return self.omni_secret_key.get_secret_value() or _stored_secret(self.omni_data_dir / "secret_key")

    @property
    def secret_key_other(self) -> str:
        """Opens what `secret_key` does not, while one is exchanged for the other; "" when none is."""
        return self.omni_secret_key_other.get_secret_value()

    @property
    def sealing_key(self) -> str:
        """Seals the orgs' own provider keys."""
        return self.omni_sealing_key.get_secret_value() or self.secret_key

    @property
    def sealing_key_other(self) -> str:
        """The same as `secret_key_other`, for `sealing_key`."""
        other = self.omni_sealing_key_other.get_secret_value()
        return other or ("" if self._is_set("omni_sealing_key") else self.secret_key_other)

    @property
    def key_pepper(self) -> str:
        """Pepper of the API keys' HMAC; generated once into the data directory when not set."""
        return self.omni_key_pepper.get_secret_value() or _stored_secret(self.omni_data_dir / "key_pepper")


def secret_variables() -> frozenset[str]:
    """The variables that hold a secret, addresses with a password in them too: not for programs that we start."""
    secret = {name for name, one in Settings.model_fields.items() if one.annotation is SecretStr}
    return frozenset(name.upper() for name in secret | {"database_url", "database_owner_url", "reflex_redis_url"})


def _is_safe(url: str) -> bool:
    """Whether nobody on the way reads along: TLS, or no way at all."""
    parts = urlsplit(url)
    return parts.scheme == "https" or is_this_machine(parts.hostname or "")


def _stored_secret(path: Path) -> str:
    """Reads a generated secret, making it (mode 0600) the first time; safe when several processes start at once.

    It gets its name when it is written: so nobody reads half of one.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}-") as file:  # of mode 0600
            file.write(secrets.token_urlsafe(48))
            file.flush()
            with suppress(FileExistsError):  # somebody else was faster, and his is the secret
                os.link(file.name, path)
    return path.read_text().strip()


def load_settings() -> Settings:
    """Reads the environment. Raises `SettingsError` with one line per problem."""
    folder = os.environ.get("OMNI_SECRETS_DIR")
    if folder and not Path(folder).is_dir():
        raise SettingsError([f"OMNI_SECRETS_DIR: {folder} is no folder"])
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):  # no file is passed over
            return Settings()
    except UnreadableSource as error:
        raise SettingsError([f"OMNI_SECRETS_DIR: a file cannot be read: {error.__cause__}"]) from None
    except ValidationError as error:
        lines = [_problem(dict(detail)) for detail in error.errors()]
        raise SettingsError([line for text in lines for line in text.splitlines()]) from None


def _problem(detail: Mapping[str, object]) -> str:
    location = detail.get("loc")
    message = str(detail.get("msg", "")).removeprefix("Value error, ")
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    return f"{name}: {message}" if name else message
