"""Migrations that `make migration` writes: for every database, in an order that works."""

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator
from sqlmodel import SQLModel
from sqlmodel.sql.sqltypes import AutoString

from app.core.settings import Settings
from app.db import sqlite
from app.db.autogenerate import PLUGINS, arrange, render_item
from app.db.backfill import DEFAULT_OWNER
from app.db.engine import create_engine
from app.db.types import Choice, Json, Timestamp, fixed_point, server_now
from tests.support.migrations import run_alembic


class Status(StrEnum):
    DRAFT = "draft"
    SOLD = "sold"


class Shout(TypeDecorator[str]):
    impl = sa.String
    cache_ok = True


class Scratch:
    """A database without tables, and migrations that are written for it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, work: Callable[[sa.Connection], Any]) -> Any:
        """Call `work` in a transaction of its own."""

        async def connect() -> Any:
            engine = create_engine(Settings(database_url=self.url), for_migrations=True)
            try:
                async with engine.begin() as connection:
                    return await connection.run_sync(work)
            finally:
                await engine.dispose()

        return asyncio.run(connect())

    def write(self, metadata: sa.MetaData) -> tuple[str, str]:
        """Write the migration to these tables, up and down."""

        def produce(connection: sa.Connection) -> tuple[str, str]:
            opts = {"target_metadata": metadata, "autogenerate_plugins": PLUGINS}
            context = MigrationContext.configure(connection, opts=opts)
            script = produce_migrations(context, metadata)
            arrange(context, None, [script])
            up, down = (
                render_python_code(
                    operations,  # type: ignore[arg-type]
                    render_as_batch=True,
                    render_item=render_item,
                    migration_context=context,
                )
                for operations in (script.upgrade_ops, script.downgrade_ops)
            )
            return up, down

        up, down = self.run(produce)
        return up, down

    def execute(self, code: str) -> None:
        """Run what was written, as `make migrate` does."""

        def migrate(connection: sa.Connection) -> None:
            with Operations.context(MigrationContext.configure(connection)) as op:
                imports = "from app.db.types import *\nfrom app.db.backfill import *\nif True:\n"
                exec(imports + code, {"sa": sa, "op": op})  # noqa: S102, it is what is tested
            if connection.dialect.name == "sqlite":
                sqlite.check_foreign_keys(connection)

        self.run(migrate)

    def migrate(self, *tables: Callable[[sa.MetaData], object]) -> tuple[str, str]:
        """Write and run the migration to these tables; nothing is left to change after it."""
        up, down = self.write(metadata_of(*tables))
        self.execute(up)
        again, _ = self.write(metadata_of(*tables))
        assert is_empty(again), again
        return up, down

    def scalar(self, statement: str) -> Any:
        return self.run(lambda connection: connection.scalar(sa.text(statement)))

    def sql(self, statement: str) -> None:
        self.run(lambda connection: connection.execute(sa.text(statement)))


def is_empty(code: str) -> bool:
    return "op." not in code


def metadata_of(*tables: Callable[[sa.MetaData], object]) -> sa.MetaData:
    metadata = sa.MetaData(naming_convention=SQLModel.metadata.naming_convention)
    for table in tables:
        table(metadata)
    return metadata


@pytest.fixture
def scratch(real_database_url: str) -> Scratch:
    run_alembic(real_database_url, lambda config: command.downgrade(config, "base"))
    return Scratch(real_database_url)


def users(metadata: sa.MetaData) -> None:
    sa.Table(
        "users",
        metadata,
        sa.Column("id", sa.Uuid, primary_key=True),
        sa.Column("email", sa.String(254), nullable=False),
        sa.Column("is_active", sa.Boolean, server_default=sa.true(), nullable=False),
    )


def things(*columns: Callable[[], sa.schema.SchemaItem]) -> Callable[[sa.MetaData], object]:
    """Describe a table of things with these columns."""

    def table(metadata: sa.MetaData) -> object:
        key = sa.Column("id", sa.Integer, primary_key=True)
        return sa.Table("things", metadata, key, *(column() for column in columns))

    return table


def status(values: list[str]) -> list[Callable[[], sa.schema.SchemaItem]]:
    check = ", ".join(f"'{value}'" for value in values)
    return [
        lambda: sa.Column("status", Choice(Status), server_default=values[0], nullable=False),
        lambda: sa.CheckConstraint(f"status IN ({check})", name="status"),
    ]


# ── Types and defaults ───────────────────────────────────────────────────────────────────────────

COLUMNS: list[tuple[Callable[[], sa.Column[Any]], str]] = [
    (
        lambda: sa.Column("c", sa.Boolean, server_default=sa.true(), nullable=False),
        "sa.Boolean(), server_default=sa.true(), nullable=False",
    ),
    (
        lambda: sa.Column("c", sa.Boolean, server_default=sa.text("0"), nullable=False),
        "sa.Boolean(), server_default=sa.false(), nullable=False",
    ),
    (
        lambda: sa.Column("c", Timestamp, server_default=server_now(), nullable=False),
        "Timestamp, server_default=server_now(), nullable=False",
    ),
    (
        lambda: sa.Column("c", Timestamp, server_default=sa.func.now(), nullable=False),
        "Timestamp, server_default=server_now(), nullable=False",
    ),
    (
        lambda: sa.Column("c", Timestamp, server_default=sa.text("now()"), nullable=False),
        "Timestamp, server_default=server_now(), nullable=False",
    ),
    (
        lambda: sa.Column("c", sa.Integer, server_default=sa.text("0"), nullable=False),
        "sa.Integer(), server_default=sa.text('0'), nullable=False",
    ),
    (
        lambda: sa.Column("c", fixed_point(9, 2), server_default="1.50", nullable=False),
        "sa.Numeric(precision=9, scale=2), server_default='1.50', nullable=False",
    ),
    (
        lambda: sa.Column("c", Json, server_default="{}", nullable=False),
        "Json, server_default='{}', nullable=False",
    ),
    (
        lambda: sa.Column("c", Choice(Status), server_default=Status.DRAFT, nullable=False),
        "sa.String(length=32), server_default='draft', nullable=False",
    ),
    (
        lambda: sa.Column("c", AutoString(length=9), server_default="it''s", nullable=False),
        "sa.String(length=9), server_default=\"it''s\", nullable=False",
    ),
    (lambda: sa.Column("c", Shout(7)), "sa.String(length=7), nullable=True"),
    (lambda: sa.Column("c", sa.Uuid), "sa.Uuid(), nullable=True"),
    (lambda: sa.Column("c", sa.Date), "sa.Date(), nullable=True"),
    (lambda: sa.Column("c", sa.Float), "sa.Float(), nullable=True"),
    (lambda: sa.Column("c", sa.LargeBinary), "sa.LargeBinary(), nullable=True"),
]


@pytest.mark.parametrize(("column", "written"), COLUMNS, ids=[written for _, written in COLUMNS])
def test_column_is_written_for_every_database(
    scratch: Scratch, column: Callable[[], sa.Column[Any]], written: str
) -> None:
    up, _ = scratch.migrate(things(column))

    assert f"sa.Column('c', {written})" in up
    scratch.sql("INSERT INTO things (id) VALUES (1)")


@pytest.mark.parametrize("column", [column for column, _ in COLUMNS])
def test_dropped_column_comes_back_on_every_database(
    scratch: Scratch, column: Callable[[], sa.Column[Any]]
) -> None:
    scratch.migrate(things(column))

    _, down = scratch.migrate(things())

    assert "postgresql." not in down
    assert "sqlite." not in down
    assert "sa.DATETIME" not in down
    scratch.execute(down)
    again, _ = scratch.write(metadata_of(things(column)))
    assert is_empty(again), again


def test_expressions_are_written_for_every_database(scratch: Scratch) -> None:
    def table(metadata: sa.MetaData) -> None:
        active = sa.Column("is_active", sa.Boolean, nullable=False)
        name = sa.Column("name", sa.String(9), sa.CheckConstraint("name <> ''", name="name"))
        sa.Table(
            "things",
            metadata,
            sa.Column("id", sa.Integer, primary_key=True),
            active,
            name,
            sa.CheckConstraint(sa.or_(active == sa.false(), name != "x"), name="active"),
            sa.Index(
                "ix_things_active",
                name,
                unique=True,
                sqlite_where=active == sa.true(),
                postgresql_where=active == sa.true(),
            ),
        )

    up, _ = scratch.write(metadata_of(table))

    assert "is_active = false OR name != 'x'" in up
    assert "sqlite_where=sa.text('is_active = true')" in up
    assert "postgresql_where=sa.text('is_active = true')" in up
    scratch.execute(up)
    scratch.sql("INSERT INTO things VALUES (1, false, 'x'), (2, false, 'x')")


# ── Choices ──────────────────────────────────────────────────────────────────────────────────────


def test_changed_choices_change_the_check_and_back(scratch: Scratch) -> None:
    scratch.migrate(things(*status(["draft", "sold"])))
    scratch.sql("INSERT INTO things (id) VALUES (1)")

    _, down = scratch.migrate(things(*status(["draft", "it''s new"])))

    scratch.sql("INSERT INTO things VALUES (2, 'it''s new')")
    with pytest.raises(DBAPIError, match="ck_things_status"):
        scratch.sql("INSERT INTO things VALUES (3, 'sold')")
    scratch.sql("DELETE FROM things WHERE id = 2")
    scratch.execute(down)
    scratch.sql("INSERT INTO things VALUES (3, 'sold')")


def test_check_survives_other_changes(scratch: Scratch) -> None:
    scratch.migrate(things(*status(["draft", "sold"])))

    scratch.migrate(things(*status(["draft", "sold"]), lambda: sa.Column("n", sa.Integer)))

    with pytest.raises(DBAPIError, match="ck_things_status"):
        scratch.sql("INSERT INTO things VALUES (1, 'lost', 1)")


# ── Order ────────────────────────────────────────────────────────────────────────────────────────


def reference(name: str, table: str, **options: Any) -> Callable[[], sa.Column[Any]]:
    return lambda: sa.Column(
        name, sa.ForeignKey(f"{table}.id", ondelete="CASCADE"), index=True, **options
    )


def parts(metadata: sa.MetaData) -> None:
    sa.Table(
        "a_parts",
        metadata,
        sa.Column("id", sa.Integer, primary_key=True),
        reference("thing_id", "things")(),
        reference("user_id", "users")(),
    )


def test_tables_are_dropped_after_those_that_refer_to_them(scratch: Scratch) -> None:
    scratch.migrate(users, things(reference("user_id", "users")), parts)

    up, down = scratch.migrate(things())

    order = ["batch_op.drop_column('user_id')", "drop_table('a_parts')", "drop_table('users')"]
    assert sorted(order, key=up.index) == order
    scratch.execute(down)
    scratch.migrate()


# ── Columns that need a value ────────────────────────────────────────────────────────────────────

DUE_ON: Callable[[], sa.Column[Any]] = lambda: sa.Column("due_on", sa.Date, nullable=False)  # noqa: E731


def test_column_that_needs_a_value_is_refused_before_anything_changes(scratch: Scratch) -> None:
    scratch.migrate(things())
    scratch.sql("INSERT INTO things VALUES (1), (2)")
    up, _ = scratch.write(metadata_of(things(DUE_ON), users))

    with pytest.raises(CommandError, match=r"things\.due_on needs a value, and 2 rows have none"):
        scratch.execute(up)

    assert is_empty(scratch.write(metadata_of(things()))[0])
    scratch.sql("DELETE FROM things")
    scratch.execute(up)


def test_column_that_becomes_required_is_refused_while_values_are_missing(
    scratch: Scratch,
) -> None:
    scratch.migrate(things(lambda: sa.Column("due_on", sa.Date)))
    scratch.sql("INSERT INTO things VALUES (1, '2026-01-31'), (2, NULL)")
    up, _ = scratch.write(metadata_of(things(DUE_ON)))

    with pytest.raises(CommandError, match="1 rows have none"):
        scratch.execute(up)

    scratch.sql("UPDATE things SET due_on = '2026-02-28'")
    scratch.execute(up)


def test_rows_from_before_there_were_users_get_an_owner(scratch: Scratch) -> None:
    scratch.migrate(things())
    scratch.sql("INSERT INTO things VALUES (1), (2)")

    _, down = scratch.migrate(users, things(reference("owner_id", "users", nullable=False)))

    owners = "SELECT count(*) FROM things JOIN users ON users.id = owner_id WHERE email = '{}'"
    assert scratch.scalar(owners.format(DEFAULT_OWNER)) == 2
    scratch.execute(down)
    assert scratch.scalar("SELECT count(*) FROM things") == 2


# ── All or nothing ───────────────────────────────────────────────────────────────────────────────


def test_migration_that_fails_changes_nothing_and_can_be_run_again(scratch: Scratch) -> None:
    scratch.migrate(things(lambda: sa.Column("name", sa.String(9))))
    scratch.sql("INSERT INTO things VALUES (1, 'same'), (2, 'same')")
    unique = things(lambda: sa.Column("name", sa.String(9), unique=True))
    up, _ = scratch.write(metadata_of(users, unique))

    for _ in range(2):
        with pytest.raises(DBAPIError, match=r"(?i)unique"):
            scratch.execute(up)
        assert "users" not in tables_of(scratch)
        assert scratch.scalar("SELECT count(*) FROM things") == 2

    scratch.sql("UPDATE things SET name = 'other' WHERE id = 2")
    scratch.execute(up)
    assert "users" in tables_of(scratch)


def tables_of(scratch: Scratch) -> list[str]:
    found: list[str] = scratch.run(lambda connection: sa.inspect(connection).get_table_names())
    return found


def test_migration_may_not_leave_rows_that_refer_to_nothing(scratch: Scratch) -> None:
    scratch.migrate(users, things(reference("owner_id", "users")))
    scratch.sql("INSERT INTO users (id, email) VALUES ('" + "0" * 31 + "1', 'a@example.com')")
    scratch.sql("INSERT INTO things VALUES (1, '" + "0" * 31 + "1')")

    with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
        scratch.execute("    op.execute(\"UPDATE things SET owner_id = '" + "0" * 31 + "2'\")")
