"""Helpers for commands: error messages, and running asynchronous work."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import typer
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from app.core.errors import DomainError

_Result = TypeVar("_Result")


@contextmanager
def faults_in_one_line() -> Iterator[None]:
    """Print an expected error as a message, without a traceback."""
    try:
        yield
    except DomainError as error:
        fail(str(error))
    except DBAPIError as error:
        fail(str(error.orig))


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Return the result of asynchronous work."""
    return asyncio.run(_finish(work))


async def _finish(work: Coroutine[Any, Any, _Result]) -> _Result:
    try:
        return await work
    finally:
        # The thread of an SQLite connection that could not be opened still needs the event loop.
        for thread in threading.enumerate():
            if thread.name.endswith("(_connection_worker_thread)"):
                await asyncio.to_thread(thread.join, 1)


def faults_of(error: ValidationError) -> str:
    """Return a line for each error, without the values, which may be secrets."""
    faults = error.errors(include_input=False, include_context=False, include_url=False)
    return "\n".join(
        f"{fault['loc'][0]}: {fault['msg'].removeprefix('Value error, ')}" for fault in faults
    )


def fail(message: str) -> NoReturn:
    """End the command with a message."""
    typer.echo(message, err=True)
    raise typer.Exit(1)
