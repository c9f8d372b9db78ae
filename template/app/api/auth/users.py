"""Routes for the current user, and for administrators to manage all users."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, BackgroundTasks, Query, status

from app.api.auth.dependencies import (
    Accounts,
    ConfirmedUser,
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
from app.services.auth.errors import (
    EmailTakenError,
    LastAdminError,
    ReauthenticationRequiredError,
    UserNotFoundError,
    WrongPasswordError,
)

router = APIRouter(prefix="/api/v1/users", tags=["users"])


@router.get("/me")
async def read_me(user: CurrentUser, users: Users) -> UserRead:
    """Read your account."""
    return await users.get(user.id)


@router.patch("/me")
async def update_me(change: ProfileUpdate, user: CurrentUser, users: Users) -> UserRead:
    """Change your profile."""
    return await users.update(user.id, change.model_dump(exclude_unset=True), user)


@router.delete(
    "/me",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(LastAdminError),
)
async def delete_me(
    user: ConfirmedUser, users: Users, accounts: Accounts, later: BackgroundTasks
) -> None:
    """Close your account, and log out everywhere."""
    closed = await users.deactivate(user.id, user)
    later.add_task(accounts.notify, closed.email, "account_closed")


@router.post(
    "/me/password",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(WrongPasswordError),
)
async def change_my_password(
    change: PasswordChange,
    user: DetachedUser,
    accounts: Accounts,
    limits: CurrentLimits,
    later: BackgroundTasks,
) -> None:
    """Change your password; all other sessions end."""
    account = str(user.id)
    await limits.hit(account)
    await limits.hit_password(account)
    email = await limits.while_connected(accounts.change_password(user, change))
    await limits.clear_password(account)
    later.add_task(accounts.notify, email, "password_changed")


@router.get("")
async def list_users(
    query: Annotated[UserQuery, Query()], _admin: CurrentAdmin, users: Users
) -> UserPage:
    """List users, a page at a time, the newest first."""
    return await users.page(query)


@router.get("/{user_id}", responses=problem_responses(UserNotFoundError))
async def read_user(user_id: UUID, _admin: CurrentAdmin, users: Users) -> UserRead:
    """Read one user."""
    return await users.get(user_id)


@router.patch(
    "/{user_id}",
    responses=problem_responses(
        UserNotFoundError, EmailTakenError, LastAdminError, ReauthenticationRequiredError
    ),
)
async def update_user(  # noqa: PLR0913, PLR0917, each is injected
    user_id: UUID,
    change: UserUpdate,
    admin: CurrentAdmin,
    users: Users,
    accounts: Accounts,
    later: BackgroundTasks,
) -> UserRead:
    """Change the fields given; leave the rest. Users who are no longer active are logged out.

    A new e-mail address or role takes a login of the last ten minutes.
    """
    before = await users.get(user_id)
    user = await users.update(user_id, change.model_dump(exclude_unset=True), admin)
    if user.email != before.email:
        later.add_task(accounts.notify, before.email, "email_changed")
        if not user.is_verified:
            later.add_task(accounts.send_verification, user)
    return user


@router.delete(
    "/{user_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=problem_responses(UserNotFoundError, LastAdminError),
)
async def delete_user(
    user_id: UUID, admin: CurrentAdmin, users: Users, accounts: Accounts, later: BackgroundTasks
) -> None:
    """Close an account; its row stays, inactive."""
    closed = await users.deactivate(user_id, admin)
    later.add_task(accounts.notify, closed.email, "account_closed")
