"""The operator's commands."""

import json
from typing import Annotated

import typer
from uvicorn.main import main as uvicorn

from app.core.logging import configure_logging
from app.core.settings import get_settings

cli = typer.Typer(name="app", no_args_is_help=True, pretty_exceptions_enable=False)


@cli.callback()
def main() -> None:
    """Operate the service."""


@cli.command()
def settings() -> None:
    """Check the settings and print them; secrets are masked."""
    for name, value in get_settings().model_dump(mode="json").items():
        typer.echo(f"{name.upper()}={value if isinstance(value, str) else json.dumps(value)}")


@cli.command(
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def serve(context: typer.Context) -> None:
    """Serve the application with uvicorn, whose options it takes, as in --workers 2."""
    # Here too, since uvicorn's supervisor ends with 0 when its workers fail to start.
    configure_logging(get_settings())
    uvicorn(["app.main:app", "--no-access-log", "--no-server-header", *context.args])


@cli.command()
def openapi(
    indent: Annotated[int, typer.Option(help="Spaces for each level.", min=0)] = 2,
) -> None:
    """Print the OpenAPI document."""
    # Imported here, since the application is built when its module is.
    from app.main import app  # noqa: PLC0415

    typer.echo(json.dumps(app.openapi(), indent=indent))
