"""The operator's command line: `python -m omni_app COMMAND`.

serve                         migrate, build the web app when needed, serve everything
migrate                       bring the database to this version's schema
backup FILE                   copy an SQLite database, beside a running server too
certificates                  make a certificate for a service of your own
build                         build the web app when its sources changed
keys create|list|revoke       API keys, for scripts and operators
users create EMAIL            an account, where nobody signs up by themselves
users reset-password EMAIL    a new password, when there is no mail
users end-sessions EMAIL      log somebody out everywhere
users reset-second-factor EMAIL    a link for who lost phone and recovery codes
users reseal                  seal the second factors with the current OMNI_SECRET_KEY
ledger verify                 hold the ledger against itself; reads only, beside a running server too
providers check [--call]      which providers are configured; with --call, ask each one
providers reseal              seal the orgs' own provider keys with the current OMNI_SEALING_KEY
catalog sync|accept|history   follow the public catalogues of models and prices; what changed, and when
evaluate                      measure task detection and routing on files of examples
"""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from omni_app.errors import OmniError
from omni_app.evaluate.report import add_options, evaluate
from omni_app.providers.catalog import build_providers
from omni_app.providers.check import check_providers
from omni_app.providers.transport import Transport
from omni_app.registry import commands as catalogue
from omni_app.registry.refresh import Catalogues
from omni_app.serve import StartError, build_web_app, migrate, serve
from omni_app.settings import Settings, SettingsError, load_settings
from omni_app.storage import accounts, keys, provider_keys, second_factors, sessions
from omni_app.storage.database import NO_SCHEMA, Database, DatabaseError, copy_sqlite, current_schema, sqlite_path
from omni_app.storage.scopes import Scope, checked_scopes, in_words
from omni_app.storage.sealing import CannotOpen, Sealer
from omni_app.storage.server_role import upgrade_for
from omni_app.storage.tables import utc_now
from omni_app.verify import as_json, as_text, verify_ledger
from omni_app.version import VERSION

DRAINED_WITHIN = timedelta(minutes=5)
"""From a request's end to its row, with time to spare: a worker drains its spool within tenths of a second."""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; the exit status is 0, or 2 for a wrong environment, 1 for everything else."""
    options = parser().parse_args(arguments)
    try:
        settings = load_settings()
        return int(options.run(settings, options) or 0)
    except SettingsError as error:
        for problem in error.problems:
            print(f"omni_app: {problem}", file=sys.stderr)
        return 2
    except (StartError, DatabaseError, OmniError) as error:
        print(f"omni_app: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    root = argparse.ArgumentParser(prog="python -m omni_app", description="Omni-Model Router, the operator's side")
    root.add_argument("--version", action="version", version=VERSION)
    commands = root.add_subparsers(required=True, metavar="COMMAND")

    serving = commands.add_parser("serve", help="migrate, build the web app when needed, serve everything")
    serving.add_argument("--dev", action="store_true", help="hot reload")
    serving.add_argument(
        "--api-workers", type=int, default=0, metavar="N", help="the API alone, with N workers that SIGHUP replaces"
    )
    serving.set_defaults(
        run=lambda settings, options: serve(settings, dev=options.dev, api_workers=options.api_workers)
    )

    migrating = commands.add_parser("migrate", help="bring the database to this version's schema")
    migrating.set_defaults(run=lambda settings, _options: migrate(settings))

    backing_up = commands.add_parser("backup", help="copy an SQLite database, beside a running server too")
    backing_up.add_argument("file", type=Path, help="the copy; nothing that exists is overwritten")
    backing_up.set_defaults(run=lambda settings, options: back_up(settings, options.file))

    building = commands.add_parser("build", help="build the web app when its sources changed")
    building.set_defaults(run=lambda settings, _options: build_web_app(settings))

    certifying = commands.add_parser("certificates", help="make a certificate for a service of your own, once")
    certifying.add_argument(
        "--host",
        dest="hosts",
        action="append",
        required=True,
        metavar="NAME",
        help="that it is asked by; may be repeated",
    )
    certifying.add_argument(
        "--into", type=Path, required=True, metavar="FOLDER",
        help="for authority.pem, server.crt and server.key, which its owner and group can read",
    )  # fmt: skip
    certifying.set_defaults(run=lambda _settings, options: make_certificates(options.hosts, options.into))

    key_commands = commands.add_parser("keys", help="API keys").add_subparsers(required=True, metavar="ACTION")
    create = key_commands.add_parser("create", help="make a key and print it once")
    create.add_argument("--org", required=True, metavar="NAME", help="the org's name; made when there is none")
    create.add_argument("--name", default="command line", help="what the key is for")
    kind = create.add_mutually_exclusive_group()
    kind.add_argument("--live", dest="kind", action="store_const", const="live", help="reaches configured providers")
    kind.add_argument(
        "--test", dest="kind", action="store_const", const="test", help="sandbox and local model (default)"
    )
    create.add_argument(
        "--scope", dest="scopes", action="append", choices=list(map(str, Scope)),
        help="what it may be used for, once for each; without one, everything",
    )  # fmt: skip
    create.set_defaults(kind="test", run=in_session(create_key))
    listing = key_commands.add_parser("list", help="all keys, by prefix and last four characters")
    listing.set_defaults(run=in_session(list_keys))
    revoking = key_commands.add_parser("revoke", help="refuse a key from now on")
    revoking.add_argument("id", type=UUID, help="the id that `keys list` shows")
    revoking.set_defaults(run=in_session(revoke_key))

    _add_users(commands.add_parser("users", help="accounts").add_subparsers(required=True, metavar="ACTION"))

    ledger_commands = commands.add_parser("ledger", help="the ledger").add_subparsers(required=True, metavar="ACTION")
    verifying = ledger_commands.add_parser("verify", help="check every invariant; exit status 1 when one is violated")
    verifying.add_argument("--json", action="store_true", help="for machines")
    verifying.add_argument(
        "--settled", action="store_true", help="no server runs and every spool is read: nothing can be on its way"
    )
    verifying.set_defaults(run=lambda settings, options: asyncio.run(check_ledger(settings, options)))

    provider_commands = commands.add_parser("providers", help="providers").add_subparsers(
        required=True, metavar="ACTION"
    )
    check = provider_commands.add_parser("check", help="which providers are configured")
    check.add_argument("--call", action="store_true", help="ask each configured provider whether it takes the key")
    check.set_defaults(run=lambda settings, options: asyncio.run(show_providers(settings, call=options.call)))

    resealing = provider_commands.add_parser("reseal", help="seal the orgs' own keys with OMNI_SEALING_KEY")
    resealing.set_defaults(run=in_session(reseal_provider_keys))

    add_catalog_commands(commands.add_parser("catalog", help="models and prices"))

    evaluating = commands.add_parser("evaluate", help="measure task detection and routing on files of examples")
    add_options(evaluating)
    evaluating.set_defaults(run=lambda _settings, options: show_evaluation(options))
    return root


def add_catalog_commands(parser: argparse.ArgumentParser) -> None:
    """The commands of `catalog`."""
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    syncing = actions.add_parser("sync", help="bring models and prices up to OpenRouter's list and LiteLLM's price map")
    syncing.add_argument(
        "--offline", action="store_true", help="the catalogues that come with this version; no network"
    )
    syncing.add_argument("--dry-run", action="store_true", help="say what would change, change nothing")
    syncing.add_argument("--accept", action="store_true", help="changes of more than a tenth too")
    syncing.set_defaults(run=lambda settings, options: asyncio.run(sync_catalog(settings, options)))
    accepting = actions.add_parser("accept", help="let a held change hold")
    accepting.add_argument("models", nargs="+", metavar="MODEL")
    accepting.set_defaults(run=in_session(accept_changes))
    history = actions.add_parser("history", help="every change of a model, and its prices with their times")
    history.add_argument("model", metavar="MODEL")
    history.set_defaults(run=in_session(show_history))


def _add_users(user_commands: Any) -> None:
    making = user_commands.add_parser("create", help="make an account, the owner of a team of its own")
    making.add_argument("email")
    making.add_argument("--team", default="", metavar="NAME", help="the team's name; else made from the address")
    making.set_defaults(run=in_session(create_user))
    reset = user_commands.add_parser("reset-password", help="set a new password")
    reset.add_argument("email")
    reset.set_defaults(run=in_session(reset_password))
    ending = user_commands.add_parser("end-sessions", help="log somebody out everywhere")
    ending.add_argument("email")
    ending.set_defaults(run=in_session(end_sessions))
    factor = user_commands.add_parser("reset-second-factor", help="a link for who lost phone and recovery codes")
    factor.add_argument("email")
    factor.set_defaults(run=in_session(reset_second_factor))
    resealing = user_commands.add_parser("reseal", help="seal the second factors with OMNI_SECRET_KEY")
    resealing.set_defaults(run=in_session(reseal_second_factors))


def make_certificates(hosts: list[str], folder: Path) -> None:
    """Raises `StartError`."""
    from omni_app import certificates

    try:
        made = certificates.make(hosts, folder)
    except (OSError, ValueError) as error:
        raise StartError(f"no certificate could be made in {folder}: {error}") from None
    print(f"{folder}: {'made for ' + ', '.join(hosts) if made else 'there already'}")


Command = Callable[[AsyncSession, Settings, argparse.Namespace], Awaitable[int]]


def in_session(command: Command) -> Callable[[Settings, argparse.Namespace], int]:
    """A command that needs the database: it gets a session, and its work is committed."""

    async def work(settings: Settings, options: argparse.Namespace) -> int:
        database = Database(settings.database)
        try:
            if problem := await database.ping() or await database.schema_problem():
                raise StartError(problem)
            async with database.session() as session:
                status = await command(session, settings, options)
                await session.commit()
                return status
        finally:
            await database.close()

    def run(settings: Settings, options: argparse.Namespace) -> int:
        if settings.omni_env != "production":
            prepare_schema(settings)
        return asyncio.run(work(settings, options))

    return run


def prepare_schema(settings: Settings) -> None:
    """On a fresh checkout a command may come before the first `serve`. A schema that is there is left to `serve` and
    `migrate`: they copy the file first, and no server of the version before runs on it.
    """
    settings.omni_data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if current_schema(settings.database) == NO_SCHEMA:
        upgrade_for(settings.database, owner=settings.database_owner)


def back_up(settings: Settings, target: Path) -> None:
    """Copies the SQLite database. Raises `StartError` where there is none, or where there is something already."""
    path = sqlite_path(settings.database)
    if path is None:
        raise StartError("the database is Postgres: back it up with pg_dump (docs/OPERATIONS.md)")
    if not path.exists():
        raise StartError(f"there is no database at {path}: check OMNI_DATA_DIR and DATABASE_URL")
    if target.exists():
        raise StartError(f"{target} exists already; nothing is overwritten")
    copy_sqlite(path, target)
    print(f"copied {path} to {target}")


async def create_key(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Makes a key in the named org and prints it: the only time it is seen."""
    org_id = await accounts.org_named(session, options.org)
    hasher = keys.KeyHasher(settings.key_pepper)
    scopes = checked_scopes(options.scopes) if options.scopes else None
    key, secret = await keys.create_key(
        session, org_id=org_id, name=options.name, kind=options.kind, hasher=hasher, scopes=scopes
    )
    print(secret)
    print(f"{key.kind} key {key.id} of {options.org}; it is not shown again", file=sys.stderr)
    return 0


async def list_keys(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """One line a key; its last use to the minute, UTC."""
    for org_name, key in await keys.all_keys(session):
        state = "revoked" if key.revoked_at else "active"
        used = f"{key.last_used_at:%Y-%m-%dT%H:%MZ}" if key.last_used_at else "never used"
        shown = f"{key.prefix}…{key.last4}"
        print(f"{key.id}  {key.kind:4}  {shown}  {state:7}  {used:17}  {in_words(key.scopes)}  {org_name}  {key.name}")
    return 0


async def revoke_key(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Refuses the key; running servers notice within a second."""
    if not await keys.revoke_key(session, org_id=None, key_id=options.id):
        print(f"no active key {options.id}", file=sys.stderr)
        return 1
    print(f"revoked {options.id}")
    return 0


async def create_user(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Asks for the password twice and makes the account, with a team of its own."""
    if settings.supabase_url:
        print("accounts are kept at Supabase Auth (SUPABASE_URL): make it there", file=sys.stderr)
        return 1
    password = new_password()
    if password is None:
        return 1
    team = accounts.team_name(options.team, email=options.email)
    who = await accounts.sign_up(session, email=options.email, password=password, org_name=team)
    print(f"there is an account for {who.email}; it owns {who.org_name}")
    return 0


def new_password() -> str | None:
    """Asked for twice; None when the two differ, which is said."""
    password = getpass.getpass("New password: ")
    if password == getpass.getpass("Again: "):
        return password
    print("the two passwords differ", file=sys.stderr)
    return None


async def reset_password(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Asks for the new password twice, sets it, and ends the user's sessions."""
    if settings.supabase_url:
        print("passwords are kept at Supabase Auth (SUPABASE_URL): set it there", file=sys.stderr)
        return 1
    password = new_password()
    if password is None:
        return 1
    if not await accounts.reset_password(session, email=options.email, password=password):
        print(f"no user {options.email}", file=sys.stderr)
        return 1
    print("password set; all sessions of this user are ended")
    return 0


async def end_sessions(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Logs somebody out everywhere; open pages notice with their next event."""
    ended = await sessions.end_all_of(session, email=options.email)
    if ended is None:
        print(f"no user {options.email}", file=sys.stderr)
        return 1
    print(f"{ended} sessions of this user are ended")
    return 0


async def reset_second_factor(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Lets somebody take their second factor off, with their password; it stays on until then."""
    from omni_app.api import lost_factor, mails

    link = await lost_factor.allow(session, settings, email=options.email)
    if not link:
        print(f"no user {options.email}" if link is None else "there is no second factor", file=sys.stderr)
        return 1
    how = "With this account's password it takes the second factor off, once, within a day; until then it stays on."
    if not mails.sends_mail(settings):
        print(link)
        print(f"Hand this link to {options.email} and to nobody else. {how}", file=sys.stderr)
        return 0
    to, text = accounts.normalised_email(options.email), lost_factor.ALLOWED.format(origin=settings.origin, link=link)
    if not await mails.deliver(settings, to, lost_factor.SUBJECT, text):
        print("the mail server of SMTP_URL did not take the mail; nothing is changed", file=sys.stderr)
        return 1
    print(f"A link is on its way to {options.email}. {how}")
    return 0


async def check_ledger(settings: Settings, options: argparse.Namespace) -> int:
    """Prints what each invariant came to. Unlike `in_session`, writes nothing and migrates nothing."""
    path = sqlite_path(settings.database)
    if path is not None and not path.exists():
        raise StartError(f"there is no database at {path}: check OMNI_DATA_DIR and DATABASE_URL")
    database = Database(settings.database, patience_s=None)
    on_its_way = timedelta(0) if options.settled else timedelta(seconds=settings.provider_timeout_sec) + DRAINED_WITHIN
    try:
        if problem := await database.ping() or await database.schema_problem():
            raise StartError(problem)
        async with database.consistent_reading() as session:
            findings = await verify_ledger(session, now=utc_now(), on_its_way=on_its_way)
    finally:
        await database.close()
    print(as_json(findings) if options.json else as_text(findings))
    return int(any(one.violations for one in findings))


async def reseal_provider_keys(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """After this `OMNI_SEALING_KEY_OTHER` opens nothing any more that is needed."""
    sealer = Sealer(settings.sealing_key, purpose=provider_keys.PURPOSE, other_key=settings.sealing_key_other)
    return await resealed(provider_keys.reseal(session, sealer), what="keys", key="OMNI_SEALING_KEY")


async def reseal_second_factors(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """After this nobody's log-in needs `OMNI_SECRET_KEY_OTHER`."""
    sealer = Sealer(settings.secret_key, purpose=second_factors.PURPOSE, other_key=settings.secret_key_other)
    return await resealed(second_factors.reseal(session, sealer), what="second factors", key="OMNI_SECRET_KEY")


async def resealed(resealing: Awaitable[int], *, what: str, key: str) -> int:
    """Says how many, or that one could not be opened and nothing is changed."""
    try:
        print(f"{await resealing} {what} sealed anew")
    except CannotOpen:
        print(f"one of the {what} was sealed with neither {key} nor {key}_OTHER; nothing is changed", file=sys.stderr)
        return 1
    return 0


async def sync_catalog(settings: Settings, options: argparse.Namespace) -> int:
    """Reads the network before it opens the database: no session waits for somebody else's server."""
    if settings.omni_env != "production":
        prepare_schema(settings)
    database = Database(settings.database)
    online = Catalogues(settings.catalog_openrouter_url, settings.catalog_litellm_url)
    try:
        if problem := await database.ping() or await database.schema_problem():
            raise StartError(problem)
        told = await catalogue.sync(
            database, None if options.offline else online, accept=options.accept, dry_run=options.dry_run
        )
    finally:
        await database.close()
    return say(*told)


async def accept_changes(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """Running servers follow within seconds."""
    return say(*await catalogue.accept(session, models=options.models))


async def show_history(session: AsyncSession, settings: Settings, options: argparse.Namespace) -> int:
    """On standard output."""
    return say(*await catalogue.history(session, model=options.model))


def say(lines: Sequence[str], status: int) -> int:
    """On standard error what went wrong."""
    print("\n".join(lines), file=sys.stderr if status else sys.stdout)
    return status


async def show_providers(settings: Settings, *, call: bool) -> int:
    """One line a provider: ready, or what to set."""
    providers = build_providers(settings, Transport())
    for name, state in await check_providers(settings, providers, call=call):
        print(f"{name:11} {state}")
    return 0


def show_evaluation(options: argparse.Namespace) -> int:
    """The report on standard output, or what is wrong with the files."""
    text, status = evaluate(options)
    print(text, file=sys.stderr if status else sys.stdout)
    return status


if __name__ == "__main__":
    sys.exit(main())
