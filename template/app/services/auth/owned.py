"""Rows that belong to users."""

from typing import TypeVar

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlmodel import SQLModel

from app.db.repository import Repository
from app.services.auth.sessions import Caller

TableT = TypeVar("TableT", bound=SQLModel)
ReadT = TypeVar("ReadT", bound=BaseModel)


class OwnedRepository(Repository[TableT, ReadT]):
    """The rows of a table with the column `owner_id`.

    Callers can read and change their own rows; other rows look missing. Administrators can read
    and change all rows. A new row belongs to the caller.
    """

    def __init__(self, connection: AsyncConnection, caller: Caller) -> None:
        super().__init__(connection, within={} if caller.is_admin else {"owner_id": caller.id})
        self._new_values = {"owner_id": caller.id}
