"""The operator's commands about API keys."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from app.core.errors import DomainError
from app.core.settings import get_settings
from app.db.database import Database
from app.db.engine import create_engine
from app.schemas.api_key import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyQuery
from app.services.api_keys import ApiKeyService

api_keys_cli = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


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
    created = asyncio.run(_create(data))
    typer.echo(f"Key, shown only now: {created.key}")
    typer.echo(f"Id: {created.id}")


@api_keys_cli.command("list")
def list_keys(
    skip: Annotated[int, typer.Option(min=0)] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 100,
) -> None:
    """Print the keys, the newest first."""
    page = asyncio.run(_page(ApiKeyQuery(skip=skip, limit=limit)))
    for key in page.items:
        state = "active" if key.is_active else "revoked"
        expiry = f"expires {key.expires_at:%Y-%m-%d}" if key.expires_at else "does not expire"
        typer.echo(f"{key.id}  {key.prefix}  {state}  {expiry}  {','.join(key.scopes)}  {key.name}")


@api_keys_cli.command()
def revoke(key: Annotated[str, typer.Argument(help="Its id or its prefix.")]) -> None:
    """Refuse a key from now on."""
    asyncio.run(_revoke(_id_or_prefix(key)))
    typer.echo("Revoked.")


def _id_or_prefix(text: str) -> UUID | str:
    try:
        return UUID(text)
    except ValueError:
        return text.partition("_")[0]


async def _create(data: ApiKeyCreate) -> ApiKeyCreated:
    async with _api_keys() as keys:
        return await keys.create(data)


async def _page(query: ApiKeyQuery) -> ApiKeyPage:
    async with _api_keys() as keys:
        return await keys.page(query)


async def _revoke(key: UUID | str) -> None:
    async with _api_keys() as keys:
        await keys.revoke(key)


@asynccontextmanager
async def _api_keys() -> AsyncIterator[ApiKeyService]:
    """Open the keys in a transaction; end the process with a line where it cannot be done."""
    settings = get_settings()
    database = Database(create_engine(settings))
    try:
        async with database.transaction() as connection:
            yield ApiKeyService(connection, settings)
    except DomainError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    finally:
        await database.dispose()
