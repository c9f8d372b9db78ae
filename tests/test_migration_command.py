"""`make migration`, after a change of the models, as the developers of a project run it."""

from pathlib import Path

import pytest

from tests.projects import generate, run

MODEL = '''\
"""Tags."""

from datetime import datetime

from sqlmodel import Field

from app.db.types import Timestamp
from app.models.base import Table


class Tag(Table, table=True):
    """A word for things that belong together."""

    __tablename__ = "tags"

    name: str = Field(max_length=50, unique=True)
    used_at: datetime | None = Field(default=None, sa_type=Timestamp)
'''

TEST = '''\
"""Tags."""

from sqlalchemy import insert
from sqlmodel import col, select

from app.core.settings import Settings
from app.db.engine import create_engine
from app.models import Tag


async def test_database_sets_the_time(real_database_url: str) -> None:
    engine = create_engine(Settings(database_url=real_database_url))
    async with engine.begin() as connection:
        await connection.execute(insert(Tag).values(name="dairy"))
        created_at = await connection.scalar(select(col(Tag.created_at)))
    await engine.dispose()

    assert created_at is not None
    assert created_at.tzinfo is not None
'''


def add_model(project: Path) -> None:
    (project / "app/models/tag.py").write_text(MODEL, encoding="utf-8")
    (project / "tests/test_tags.py").write_text(TEST, encoding="utf-8")
    models = project / "app/models/__init__.py"
    text = models.read_text(encoding="utf-8")
    text = text.replace("\n\n__all__ = [", "\nfrom app.models.tag import Tag\n\n__all__ = [")
    models.write_text(text.replace(",\n]\n", ',\n    "Tag",\n]\n'), encoding="utf-8")
    mend = ["ruff", "check", "--fix", "--quiet", "app/models"]
    assert run(["uv", "run", *mend], project).returncode == 0


@pytest.mark.parametrize(
    ("preset", "databases"),
    [("standard", [[]]), ("production", [["--database=sqlite"], ["--database=postgresql"]])],
    ids=["sqlite", "postgresql"],
)
def test_migration_is_clean_and_runs_on_every_database(
    template: Path, outside: Path, preset: str, databases: list[list[str]]
) -> None:
    project = generate(template, outside / f"migration-{preset}", {"preset": preset})
    shipped = set(project.files)
    add_model(project.path)

    result = run(["make", "migration", "m=add tags"], project.path)

    assert result.returncode == 0, result.stdout
    assert "autogenerate plugin" not in result.stdout
    assert "E501" not in result.stdout, "of lines that are about to be wrapped"
    (revision,) = (file for file in set(project.files) - shipped if "_add_tags" in file)
    written = project.read(revision)
    assert '"created_at", Timestamp, server_default=server_now(), nullable=False' in written
    assert '"used_at", Timestamp, nullable=True' in written
    tests = ["tests/database/test_migrations.py", "tests/test_tags.py"]
    for command in (
        ["make", "lint"],
        ["make", "migrate"],
        *(["uv", "run", "pytest", *tests, *database] for database in databases),
    ):
        result = run(command, project.path)
        assert result.returncode == 0, f"{written}\n{result.stdout}"
