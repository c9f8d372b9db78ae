"""The migrations lead to the tables that the models describe, and back."""

from alembic import command
from alembic.script import ScriptDirectory

from tests.support.migrations import CONFIG, run_alembic


def test_models_and_migrations_agree(real_database_url: str) -> None:
    run_alembic(real_database_url, command.check)


def test_there_is_one_way_forward() -> None:
    assert len(ScriptDirectory.from_config(CONFIG).get_heads()) == 1


def test_migrations_go_up_down_and_up_again(real_database_url: str) -> None:
    run_alembic(real_database_url, lambda config: command.downgrade(config, "base"))
    run_alembic(real_database_url, lambda config: command.upgrade(config, "head"))
    run_alembic(real_database_url, command.check)
