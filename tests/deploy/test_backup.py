"""A backup made by the commands of `docs/deployment.md` brings the database back."""

import re
import sqlite3
import subprocess
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from tests.conftest import Render
from tests.deploy.running import Installed, install, postgresql, postgresql_programs
from tests.projects import environment

pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("deploy-backup")]

TABLES = ("users", "items", "alembic_version")

# Runs in this place what Docker would run in a container, whose /data is a directory here.
DOCKER = """#!/bin/bash
set -eu
arguments=("${@//\\/data/${DATA:-/data}}")
case "$*" in
  "compose stop app" | "compose up --detach --wait") ;;
  "compose exec -T "*) exec "${arguments[@]:4}" ;;
  "compose run --rm --no-deps -T app "*) exec "${arguments[@]:6}" ;;
  "compose cp app:"*) cp "${arguments[2]#app:}" "${arguments[3]}" ;;
  *) exit 99 ;;
esac
"""


ROWS = """
    INSERT INTO users (id, email) VALUES ('{owner}', 'a@example.com');
    INSERT INTO items (id, title, owner_id) VALUES
        ('{first}', 'kept', '{owner}'), ('{second}', 'kept too', '{owner}');
"""


def rows() -> str:
    names = {name: uuid4().hex for name in ("owner", "first", "second")}
    return ROWS.format(**names)


def commands(project: Installed) -> tuple[str, str]:
    """The commands that make a backup, and those that restore it."""
    document = (project.path / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = document.partition("### Backup and restore")[2]
    backup, restore = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[:2]
    return backup, restore


class Place:
    """Where an operator types commands: the server, with a program that stands for Docker."""

    def __init__(self, directory: Path, variables: Mapping[str, str]) -> None:
        self.directory = directory
        docker = directory / "docker"
        docker.write_text(DOCKER)
        docker.chmod(0o755)
        self._variables = environment() | dict(variables)
        self._variables["PATH"] = f"{directory}:{self._variables['PATH']}"

    def run(self, script: str) -> str:
        result = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.directory,
            env=self._variables,
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout


def migrated(render: Render, directory: Path, preset: str, url: str) -> Installed:
    project = install(render(preset=preset), directory)
    project.run(["alembic", "upgrade", "head"], {"ENVIRONMENT": "test", "DATABASE_URL": url})
    return project


def test_postgresql_is_restored(render: Render, tmp_path: Path) -> None:
    with postgresql() as url:
        server = urlsplit(url)
        host = {"PGHOST": str(server.hostname), "PGPORT": str(server.port)}
        place = Place(tmp_path, host | {"PATH": f"{postgresql_programs()}:{environment()['PATH']}"})
        administrate = f"psql --quiet --username={server.username} --dbname=postgres"
        place.run(f"{administrate} --command='CREATE ROLE app SUPERUSER LOGIN'")
        place.run("createdb --username=app app")
        app = f"postgresql://app@{server.hostname}:{server.port}/app"
        project = migrated(render, tmp_path / "project", "production", app)
        execute = "psql --username=app --dbname=app --quiet --tuples-only --no-align --command"
        count = " ; ".join(f"{execute} 'TABLE {name}' | wc --lines" for name in TABLES)
        place.run(f'{execute} "{rows()}"')
        before = place.run(count)
        backup, restore = commands(project)

        place.run(backup)
        place.run(f"{execute} 'DROP TABLE items; TRUNCATE users CASCADE; CREATE TABLE newer ()'")
        place.run(restore)

        assert before == "1\n2\n1\n"
        assert place.run(count) == before
        assert place.run(f"{execute} \"SELECT to_regclass('newer')\"") == "\n"


def test_sqlite_is_restored(render: Render, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    url = f"sqlite+aiosqlite:///{data}/app.db"
    project = migrated(render, tmp_path / "project", "standard", url)
    place = Place(tmp_path, {"DATA": str(data)})
    backup, restore = commands(project)

    def count() -> tuple[int, ...]:
        with closing(sqlite3.connect(data / "app.db")) as database:
            queries = (f"SELECT count(*) FROM {name}" for name in TABLES)  # noqa: S608, ours
            return tuple(database.execute(query).fetchone()[0] for query in queries)

    # Open, as the server has it while the backup is made, with rows in its log only.
    with closing(sqlite3.connect(data / "app.db", isolation_level=None)) as server:
        server.executescript(rows())
        before = count()
        place.run(backup)
        server.execute("DELETE FROM users")
    place.run(restore)

    assert before == (1, 2, 1)
    assert count() == before
    assert {path.name for path in data.iterdir()} == {"app.db"}
