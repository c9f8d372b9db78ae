"""Values for rows that exist, in migrations that add a column which needs one."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op
from alembic.util import CommandError

# The owner of rows from before there were users. It has no password, and mail cannot reach it, so
# nobody can use it. Admins see its rows.
DEFAULT_OWNER = "default-owner@example.invalid"


def require_values(table: str, column: str) -> None:
    """Stop, before anything is changed, if rows would have no value in the column.

    Raises:
        CommandError: with the number of rows, and what to do.
    """
    connection = op.get_bind()
    rows = sa.select(sa.func.count()).select_from(sa.table(table))
    if column in {each["name"] for each in sa.inspect(connection).get_columns(table)}:
        rows = rows.where(sa.column(column).is_(None))
    if count := connection.scalar(rows):
        raise CommandError(
            f"{table}.{column} needs a value, and {count} rows have none. In the migration: add the"
            " column with nullable=True, fill it with op.execute, then set nullable=False."
            " Or give the field a server_default."
        )


def give_to_default_owner(table: str, column: str) -> None:
    """Assign rows without an owner to the account `DEFAULT_OWNER`, which is created if missing."""
    connection = op.get_bind()
    rows = sa.table(table, sa.column(column, sa.Uuid()))
    users = sa.table("users", sa.column("id", sa.Uuid()), sa.column("email", sa.String()))
    is_ownerless = rows.c[column].is_(None)
    if not connection.scalar(sa.select(sa.func.count()).select_from(rows).where(is_ownerless)):
        return
    owner = connection.scalar(sa.select(users.c.id).where(users.c.email == DEFAULT_OWNER))
    if owner is None:
        owner = uuid4()
        connection.execute(sa.insert(users).values(id=owner, email=DEFAULT_OWNER))
    connection.execute(sa.update(rows).where(is_ownerless).values({column: owner}))
