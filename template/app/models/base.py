"""What every table has."""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import MetaData
from sqlmodel import Field, SQLModel

from app.db.types import Timestamp, server_now

# Without names of their own, constraints could not be changed by a later migration.
SQLModel.metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Table(SQLModel):
    """An id made here; times set by the database server."""

    __mapper_args__ = {"eager_defaults": True}

    id: UUID = Field(default_factory=uuid4, primary_key=True)
    created_at: datetime = Field(
        default=None,
        sa_type=Timestamp,
        sa_column_kwargs={"server_default": server_now(), "nullable": False},
    )
    updated_at: datetime = Field(
        default=None,
        sa_type=Timestamp,
        sa_column_kwargs={
            "server_default": server_now(),
            "onupdate": server_now(),
            "nullable": False,
        },
    )
