"""Error messages of the operator's commands."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.core.errors import DomainError


@contextmanager
def faults_in_one_line() -> Iterator[None]:
    """Tell the operator why it cannot be done, not where in the code."""
    try:
        yield
    except DomainError as error:
        fail(str(error))
    except DBAPIError as error:
        fail(str(error.orig))


def faults_of(error: ValidationError) -> str:
    """Return a line for each fault, without the values, which may be secrets."""
    faults = error.errors(include_input=False, include_context=False, include_url=False)
    return "\n".join(
        f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults
    )


def fail(message: str) -> NoReturn:
    """End the command with a message."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
