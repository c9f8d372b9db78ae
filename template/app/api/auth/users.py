"""Users: oneself, and for administrators everybody."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Query, status

from app.api.auth.dependencies import (
    Accounts,
    CurrentAdmin,
    CurrentLimits,
    CurrentUser,
    DetachedUser,
    Users,
)
from app.api.problems import problem_responses
from app.schemas.auth import (
    PasswordChange,
    ProfileUpdate,
    UserPage,
    UserQuery,
    UserRead,
    UserUpdate,
)

router = APIRouter(
    prefix="/api/v1/users",
    tags=["users"],
    responses=problem_responses(status.HTTP_401_UNAUTHORIZED),
)
_CONFLICT = problem_responses(status.HTTP_409_CONFLICT)
_ADMIN = problem_responses(status.HTTP_403_FORBIDDEN)
_ADMIN_ONE = problem_responses(status.HTTP_403_FORBIDDEN, status.HTTP_404_NOT_FOUND)


@router.get("/me")
async def read_me(user: CurrentUser, users: Users) -> UserRead:
    """Read one's own account."""
    return await users.get(user.id)


@router.patch("/me")
async def update_me(change: ProfileUpdate, user: CurrentUser, users: Users) -> UserRead:
    """Change one's own profile."""
    return await users.update(user.id, change.model_dump(exclude_unset=True), user)


@router.delete("/me", status_code=status.HTTP_204_NO_CONTENT, responses=_CONFLICT)
async def delete_me(user: CurrentUser, users: Users) -> None:
    """Close one's own account, and log out everywhere."""
    await users.deactivate(user.id, user)


@router.post(
    "/me/password",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(status.HTTP_400_BAD_REQUEST, status.HTTP_429_TOO_MANY_REQUESTS),
)
async def change_my_password(
    change: PasswordChange,
    user: DetachedUser,
    accounts: Accounts,
    limits: CurrentLimits,
    later: BackgroundTasks,
) -> None:
    """Change one's own password; all other sessions end."""
    await limits.hit(str(user.id))
    email = await accounts.change_password(user, change)
    later.add_task(accounts.tell_password_changed, email)


@router.get("", responses=_ADMIN)
async def list_users(
    query: Annotated[UserQuery, Query()], _admin: CurrentAdmin, users: Users
) -> UserPage:
    """List users, a page at a time, the newest first."""
    return await users.page(query)


@router.get("/{user_id}", responses=_ADMIN_ONE)
async def read_user(user_id: UUID, _admin: CurrentAdmin, users: Users) -> UserRead:
    """Read one user."""
    return await users.get(user_id)


@router.patch("/{user_id}", responses=_ADMIN_ONE | _CONFLICT)
async def update_user(
    user_id: UUID, change: UserUpdate, admin: CurrentAdmin, users: Users
) -> UserRead:
    """Change the fields given; leave the rest. Users who are no longer active are logged out."""
    return await users.update(user_id, change.model_dump(exclude_unset=True), admin)


@router.delete(
    "/{user_id}", status_code=status.HTTP_204_NO_CONTENT, responses=_ADMIN_ONE | _CONFLICT
)
async def delete_user(user_id: UUID, admin: CurrentAdmin, users: Users) -> None:
    """Close an account; its row stays, inactive."""
    await users.deactivate(user_id, admin)
