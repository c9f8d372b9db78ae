"""The public keys, with which other services can verify access tokens."""

from fastapi import APIRouter

from app.api.dependencies.users import CurrentTokens
from app.schemas.auth import PublicKeySet

router = APIRouter(tags=["auth"])


@router.get("/.well-known/jwks.json")
async def read_public_keys(tokens: CurrentTokens) -> PublicKeySet:
    """Read the public keys."""
    return PublicKeySet.model_validate(tokens.key_set)
