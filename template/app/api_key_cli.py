"""The operator's commands about API keys."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar
from uuid import UUID

import typer
from pydantic import ValidationError

from app.core.errors import DomainError
from app.core.settings import get_settings
from app.db.database import Database
from app.db.engine import create_engine
from app.schemas.api_key import ApiKeyCreate, ApiKeyQuery
from app.services.api_keys import ApiKeyService

api_keys_cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")
Result = TypeVar("Result")


@api_keys_cli.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what it is for.")] = "unnamed",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="What it may do; by default, items:read and items:write."),
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(help="By default, it does not expire.")
    ] = None,
) -> None:
    """Make a key, and print it: it is not shown again."""
    scopes = scope or ["items:read", "items:write"]
    try:
        data = ApiKeyCreate.model_validate(
            {"name": name, "scopes": scopes, "expires_in_days": expires_in_days}
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise typer.BadParameter(f"{fault['loc'][0]}: {fault['msg']}") from None
    created = _run(lambda keys: keys.create(data))
    typer.echo(f"Key, shown only now: {created.key}")
    typer.echo(f"Id: {created.id}")


@api_keys_cli.command("list")
def list_keys(
    skip: Annotated[int, typer.Option(min=0)] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 100,
) -> None:
    """Print the keys, the newest first."""
    page = _run(lambda keys: keys.page(ApiKeyQuery(skip=skip, limit=limit)))
    for key in page.items:
        state = "active" if key.is_active else "revoked"
        expiry = f"expires {key.expires_at:%Y-%m-%d}" if key.expires_at else "does not expire"
        typer.echo(f"{key.id}  {key.prefix}  {state}  {expiry}  {','.join(key.scopes)}  {key.name}")


@api_keys_cli.command()
def revoke(key: Annotated[str, typer.Argument(help="Its id or its prefix.")]) -> None:
    """Refuse a key from now on."""
    _run(lambda keys: keys.revoke(_id_or_prefix(key)))
    typer.echo("Revoked.")


def _id_or_prefix(text: str) -> UUID | str:
    try:
        return UUID(text)
    except ValueError:
        return text.partition("_")[0]


def _run(action: Callable[[ApiKeyService], Awaitable[Result]]) -> Result:
    """Do it in a transaction; end the process with a line where it cannot be done."""

    async def run() -> Result:
        settings = get_settings()
        database = Database(create_engine(settings))
        try:
            async with database.transaction() as connection:
                return await action(ApiKeyService(connection, settings))
        finally:
            await database.dispose()

    try:
        return asyncio.run(run())
    except DomainError as error:
        typer.echo(str(error), err=True)
    raise typer.Exit(1)
