"""Routes for the current user's sessions."""

from uuid import UUID

from fastapi import APIRouter, status

from app.api.auth.dependencies import CurrentUser
from app.api.database import Connection
from app.api.problems import problem_responses
from app.schemas.auth import SessionRead
from app.services.auth import sessions
from app.services.auth.errors import SessionNotFoundError

router = APIRouter(prefix="/api/v1/users/me/sessions", tags=["users"])


@router.get("")
async def list_my_sessions(user: CurrentUser, connection: Connection) -> list[SessionRead]:
    """List your sessions, at most 100, the most recently used first."""
    return await sessions.list_active(connection, user)


@router.delete("", status_code=status.HTTP_204_NO_CONTENT)
async def end_my_other_sessions(user: CurrentUser, connection: Connection) -> None:
    """End all your sessions except this one; their tokens are invalid at once."""
    await sessions.end_others(connection, user)


@router.delete(
    "/{session_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(SessionNotFoundError),
)
async def end_my_session(session_id: UUID, user: CurrentUser, connection: Connection) -> None:
    """End one of your sessions; its tokens are invalid at once."""
    await sessions.end_one(connection, session_id, user)
