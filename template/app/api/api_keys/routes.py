"""API keys: create, list, revoke."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response, status

from app.api.api_keys.dependencies import ApiKeys, KeyAdministrator
from app.api.problems import problem_responses
from app.schemas.api_keys import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyQuery
from app.services.api_keys.stored import ApiKeyNotFoundError, BroaderKeyError

router = APIRouter(prefix="/api/v1/api-keys", tags=["API keys"])


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    responses=problem_responses(BroaderKeyError),
)
async def create_api_key(
    data: ApiKeyCreate, keys: ApiKeys, administrator: KeyAdministrator, response: Response
) -> ApiKeyCreated:
    """Create a key with at most the scopes of the calling key; the secret is shown only once."""
    response.headers["Cache-Control"] = "no-store"
    return await keys.create(data, administrator)


@router.get("")
async def list_api_keys(
    query: Annotated[ApiKeyQuery, Query()], keys: ApiKeys, _: KeyAdministrator
) -> ApiKeyPage:
    """List keys, revoked ones too, a page at a time."""
    return await keys.page(query)


@router.delete(
    "/{key_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(ApiKeyNotFoundError),
)
async def revoke_api_key(key_id: UUID, keys: ApiKeys, administrator: KeyAdministrator) -> None:
    """Revoke a key, and all keys that were created with it, directly or indirectly."""
    await keys.revoke(key_id, administrator)
