"""Commands to create and list API keys, and to remove them from API_KEYS."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from app.core.security.api_keys import digest_of, new_key
from app.core.settings import get_settings
from app.core.settings.api_keys_from_settings import SCOPES, ConfiguredKey

api_keys_cli = typer.Typer(no_args_is_help=True, help="Create, list and revoke API keys.")


@api_keys_cli.command()
def create(
    scope: Annotated[
        list[str] | None, typer.Option(help="What the key may do; by default, everything.")
    ] = None,
    expires_in_days: Annotated[
        int | None, typer.Option(min=1, max=3650, help="By default, the key does not expire.")
    ] = None,
) -> None:
    """Create a key, and print it, its digest and its entry for API_KEYS."""
    if unknown := set(scope or ()) - set(SCOPES):
        raise typer.BadParameter(f"{', '.join(unknown)}: there are {', '.join(SCOPES)}")
    key = new_key()
    digest = digest_of(key, get_settings().api_key_pepper.get_secret_value())
    expires_at = None
    if expires_in_days is not None:
        expires_at = datetime.now(UTC) + timedelta(days=expires_in_days)
    entry = ConfiguredKey(digest, frozenset(scope or SCOPES), expires_at)
    typer.echo(f"Key, shown only now: {key}")
    typer.echo(f"Digest: {digest}")
    typer.echo(f"Entry of API_KEYS: {entry}")


@api_keys_cli.command("list")
def list_keys() -> None:
    """Print the entries of API_KEYS."""
    for key in get_settings().api_keys:
        typer.echo(str(key))


@api_keys_cli.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Its digest, the start of its digest, or the key.")],
) -> None:
    """Print API_KEYS without the key. The service refuses it once started with that value."""
    settings = get_settings()
    keys = settings.api_keys
    digests = (key, digest_of(key, settings.api_key_pepper.get_secret_value()))
    found = [configured for configured in keys if configured.digest.startswith(digests)]
    if len(found) != 1:
        # Without the argument, which may be a secret.
        typer.echo(f"{len(found)} keys of API_KEYS are named so.", err=True)
        raise typer.Exit(1)
    typer.echo(f"API_KEYS={','.join(str(each) for each in keys if each not in found)}")
