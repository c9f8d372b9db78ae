"""Commands to create, list and revoke API keys."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

import typer
from pydantic import ValidationError

from app.cli.common import faults_in_one_line, faults_of, run
from app.core.settings import get_settings
from app.db.database import open_database
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyQuery
from app.services.api_keys.stored import ApiKeyService

api_keys_cli = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@api_keys_cli.command()
def create(
    name: Annotated[str, typer.Option(help="Who or what uses the key.")] = "unnamed",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A scope of the key; by default, items:read and items:write."),
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(help="By default, the key does not expire.")
    ] = None,
) -> None:
    """Create a key and print it. It is shown only once."""
    scopes = scope or ["items:read", "items:write"]
    try:
        data = ApiKeyCreate.model_validate(
            {"name": name, "scopes": scopes, "expires_in_days": expires_in_days}
        )
    except ValidationError as error:
        raise typer.BadParameter(faults_of(error)) from None
    with faults_in_one_line():
        created = run(_create(data))
    typer.echo(f"Key, shown only now: {created.key}")
    typer.echo(f"Id: {created.id}")


@api_keys_cli.command("list")
def list_keys(
    skip: Annotated[int, typer.Option(min=0)] = 0,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 100,
) -> None:
    """Print the keys, the newest first."""
    with faults_in_one_line():
        page = run(_page(ApiKeyQuery(skip=skip, limit=limit)))
    for key in page.items:
        state = "active" if key.is_active else "revoked"
        expiry = f"expires {key.expires_at:%Y-%m-%d}" if key.expires_at else "does not expire"
        maker = f"made by {key.created_by}" if key.created_by else "made by the operator"
        scopes = ",".join(key.scopes)
        typer.echo(f"{key.id}  {key.prefix}  {state}  {expiry}  {maker}  {scopes}  {key.name}")


@api_keys_cli.command()
def revoke(key: Annotated[str, typer.Argument(help="Its id or its prefix.")]) -> None:
    """Revoke a key, and all keys that were created with it, directly or indirectly."""
    with faults_in_one_line():
        run(_revoke(_id_or_prefix(key)))
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
    settings = get_settings()
    async with open_database(settings) as database, database.transaction() as connection:
        yield ApiKeyService(connection, settings)
