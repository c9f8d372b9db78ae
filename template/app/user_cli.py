"""The operator's commands about keys, users and sessions."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.core.errors import DomainError
from app.core.keys import generate_key, load_keys, write_private_key
from app.core.settings import get_settings
from app.core.tokens import Tokens
from app.db.database import Database
from app.db.engine import create_engine
from app.models import Role
from app.schemas.user import UserCreate, UserRead
from app.services import sessions
from app.services.accounts import AccountService
from app.services.email import Mailer

T = TypeVar("T")

keys_cli = typer.Typer(no_args_is_help=True, help="Make the keys that tokens are signed with.")
users_cli = typer.Typer(no_args_is_help=True, help="Make users.")


@keys_cli.callback()
def _keys() -> None:
    """Make the keys that tokens are signed with."""


@keys_cli.command()
def generate(
    directory: Annotated[
        Path | None, typer.Option(help="Write private.pem and public.pem there instead.")
    ] = None,
) -> None:
    """Make a pair of RSA keys, and print the private one as RSA_PRIVATE_KEY_CONTENT."""
    private, public = generate_key()
    if directory is None:
        typer.echo(f"RSA_PRIVATE_KEY_CONTENT={base64.b64encode(private).decode()}")
        return
    try:
        write_private_key(directory / "private.pem", private)
    except OSError as error:
        _fail(f"{directory / 'private.pem'}: {error.strerror}")
    (directory / "public.pem").write_bytes(public)
    typer.echo(f"RSA_PRIVATE_KEY_PATH={directory / 'private.pem'}")


@users_cli.callback()
def _users() -> None:
    """Make users."""


@users_cli.command()
def create_admin(email: str) -> None:
    """Make an administrator. The password is asked for, or read from standard input."""
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        data = UserCreate(email=email, password=password)
    except ValidationError as error:
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        _fail("\n".join(f"{fault['loc'][0]}: {_message(fault['msg'])}" for fault in faults))
    user = _run(_create_admin(data))
    typer.echo(f"{user.email} is an administrator: {user.id}")


def purge() -> None:
    """Delete sessions that have expired. To be run once a day or so."""
    count = _run(_purge())
    typer.echo(f"Deleted {count} expired sessions.")


async def _create_admin(data: UserCreate) -> UserRead:
    settings = get_settings()
    tokens = Tokens(settings, load_keys(settings))
    async with _database() as database:
        accounts = AccountService(database, settings, tokens, Mailer(settings))
        return await accounts.sign_up(data, Role.ADMIN)


async def _purge() -> int:
    async with _database() as database, database.transaction() as connection:
        return await sessions.purge(connection)


@asynccontextmanager
async def _database() -> AsyncIterator[Database]:
    database = Database(create_engine(get_settings()))
    try:
        yield database
    finally:
        await database.dispose()


def _run(work: Coroutine[None, None, T]) -> T:
    """Return what comes of it, or end with one line that tells why nothing does."""
    try:
        return asyncio.run(work)
    except DomainError as error:
        _fail(str(error))
    except DBAPIError as error:
        _fail(str(error.orig))


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
