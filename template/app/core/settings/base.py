"""Base class and validators for all groups of settings."""

import errno
import json
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NoReturn, Self

from pydantic import (
    BeforeValidator,
    Field,
    ModelWrapValidatorHandler,
    NonNegativeInt,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

LogLevel = Literal["debug", "info", "warning", "error", "critical"]
LogFormat = Literal["console", "json"]

# Of this file as it was imported, so that the working directory does not matter.
PROJECT: Final = Path(__file__).parents[3]
# The exit code that tells uvicorn's supervisor to stop. After any other code it would restart its
# workers again and again.
START_FAILED: Final = 3
# Errors of the JSON parser: the text is not JSON, or is nested too deep.
NOT_JSON: Final = (ValueError, RecursionError)


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _split(value: object) -> object:
    """Accept a list as JSON or as comma-separated text."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except NOT_JSON:
            raise ValueError("is neither a JSON list nor comma-separated text") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def check_env_file(path: Path) -> None:
    """Check that the file can be read, if there is one.

    pydantic-settings ignores a directory, and its error does not name a file in another encoding.

    Raises:
        OSError: the file cannot be read, or is not UTF-8 text.
    """
    if not path.exists() or path.is_fifo():
        return
    try:
        # UTF-16 without a byte order mark is UTF-8, too, but with NULs.
        is_text = "\0" not in path.read_text(encoding="utf-8")
    except UnicodeError:
        is_text = False
    if not is_text:
        raise OSError(errno.EILSEQ, "not UTF-8 text", str(path))


def stop(*faults: str) -> NoReturn:
    """Exit with one line per error, because the process cannot start."""
    # Logging is not set up without settings.
    print(*faults, sep="\n", file=sys.stderr)  # noqa: T201
    raise SystemExit(START_FAILED)


def _split_levels(value: object) -> object:
    """Accept levels as JSON or as comma-separated text."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except NOT_JSON:
            raise ValueError("is neither a JSON object nor text as in name=level") from None
    pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
    return {name.strip(): level.strip().lower() for name, _, level in pairs}


IGNORE_CASE: Final = BeforeValidator(_lower)
TextList = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class Environment(StrEnum):
    """Where the process runs. Staging follows the rules of production."""

    DEVELOPMENT = "development"
    TEST = "test"
    STAGING = "staging"
    PRODUCTION = "production"

    @property
    def is_deployed(self) -> bool:
        """Whether others depend on the process, so that every setting must be explicit."""
        return self in {Environment.STAGING, Environment.PRODUCTION}


def _default_log_format(data: dict[str, Any]) -> LogFormat:
    return "console" if data["environment"] is Environment.DEVELOPMENT else "json"


class SettingsGroup(BaseSettings):
    """A group of settings, read from the environment, then from the project's `.env`.

    Groups are mixed into one flat class, `Settings`. A command that needs one group alone loads
    that one, and needs no other variable.
    """

    model_config = SettingsConfigDict(
        env_file=PROJECT / ".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    environment: Annotated[Environment, IGNORE_CASE] = Environment.DEVELOPMENT
    # The rows of a list are counted up to this number; 0 is no limit.
    list_total_limit: NonNegativeInt = 10_000
    log_level: Annotated[LogLevel, IGNORE_CASE] = "info"
    # Levels of libraries' loggers, as in asyncio=info; the default is warning or above.
    log_levels: Annotated[dict[str, LogLevel], NoDecode, BeforeValidator(_split_levels)] = Field({})
    # Readable lines in development, JSON for a log collector elsewhere.
    log_format: Annotated[LogFormat, IGNORE_CASE] = Field(default_factory=_default_log_format)

    def faults(self) -> Iterator[tuple[str, str]]:
        """Yield (setting, message) for each error that depends on several settings.

        A group with such rules overrides this, and yields from `super().faults()` too. Messages
        must not repeat values, which may be secrets.
        """
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _report_all_faults(
        cls, values: dict[str, Any], validate: ModelWrapValidatorHandler[Self]
    ) -> Self:
        """Report the errors of single fields and those between fields together."""
        found: dict[str, str] = {}
        try:
            settings = validate(values)
        except ValidationError as error:
            found = {
                str(fault["loc"][0]): fault["msg"].removeprefix("Value error, ")
                for fault in error.errors(include_input=False, include_url=False)
                # The default depends on another field, which is the invalid one.
                if fault["type"] != "default_factory_not_called"
            }
            rest = {name: value for name, value in values.items() if name not in found}
            if "environment" in found:
                rest["environment"] = Environment.PRODUCTION
            settings = validate(rest)
        faults = dict(settings.faults()) | found
        if not faults:
            return settings
        raise ValidationError.from_exception_data(
            cls.__name__,
            [
                InitErrorDetails(
                    type=PydanticCustomError("setting", "{message}", {"message": message}),
                    loc=(name,),
                    input=None,
                )
                for name, message in faults.items()
            ],
            hide_input=True,
        )
