"""Who may call: holders of a key of `API_KEYS`, as far as its scopes go."""

import sys
from typing import Annotated, Literal

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, SecurityScopes
from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from starlette.exceptions import HTTPException

from app.core.api_keys import choose_pepper, digest_of, well_formed
from app.core.configured_keys import ConfiguredKeys, find


class Settings(BaseSettings):
    """Read from the environment, then from `.env`."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", validate_default=True
    )

    environment: Literal["development", "test", "staging", "production"] = "development"
    docs_enabled: bool = Field(default_factory=lambda data: data["environment"] != "production")
    api_keys: ConfiguredKeys = ()
    api_key_pepper: SecretStr = SecretStr("")

    @field_validator("api_key_pepper")
    @classmethod
    def _choose_pepper(cls, value: SecretStr, info: ValidationInfo) -> SecretStr:
        environment = info.data.get("environment", "production")
        return SecretStr(choose_pepper(value.get_secret_value(), environment))


def get_settings() -> Settings:
    """Return the settings, or end the process with a line for each fault."""
    try:
        return Settings()
    except ValidationError as error:
        faults = [
            f"{str(fault['loc'][0]).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_input=False, include_context=False, include_url=False)
        ]
    print("\n".join(faults), file=sys.stderr)  # noqa: T201, it is for whoever starts the service
    # By this exit code uvicorn's supervisor knows to stop, rather than start its workers again.
    raise SystemExit(3)


async def check_key(
    request: Request,
    required: SecurityScopes,
    _: Annotated[
        str | None, Security(APIKeyHeader(name="X-API-Key", scheme_name="ApiKey", auto_error=False))
    ],
) -> None:
    """Let in who presents a key that allows what the route requires."""
    settings: Settings = request.app.state.settings
    presented = well_formed(request.headers.getlist("X-API-Key"))
    key = find(settings.api_keys, digest_of(presented, settings.api_key_pepper.get_secret_value()))
    if key is None:
        raise HTTPException(401, "Unauthenticated", {"WWW-Authenticate": "APIKey"})
    if not key.scopes.issuperset(required.scopes):
        raise HTTPException(403, "Insufficient scope")
