"""PgBouncer in front of the server, in both of its modes."""

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import sqlalchemy as sa
from sqlalchemy import make_url

from app.core.settings import Settings
from app.db.database import Database
from app.db.engine import create_engine

CLIENTS = 40
# Debian installs it where only administrators look for commands.
PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(params=["session", "transaction"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def pooler_url(postgresql_url: str | None, real_database_url: str, mode: str) -> Iterator[str]:
    """The URL of a database through a pooler with fewer connections than there are clients."""
    if postgresql_url is None:
        pytest.skip("needs --database=postgresql")
    if PGBOUNCER is None:
        if os.environ.get("REQUIRE_ALL"):
            pytest.fail("pgbouncer is missing, and REQUIRE_ALL is set")
        pytest.skip("needs pgbouncer")
    url = make_url(real_database_url)
    host = url.query.get("host") or url.host
    with TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o777)
        port = free_port()
        users = directory / "users.txt"
        users.write_text(f'"{url.username}" "{url.password or ""}"\n')
        configuration = directory / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={host} port={url.query.get('port') or url.port or 5432}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\npool_mode = {mode}\n"
            f"default_pool_size = {8 if mode == 'transaction' else CLIENTS + 5}\n"
        )
        # It refuses to run as root, and has to reach the server's socket.
        owner = Path(str(host)).owner() if str(host).startswith("/") else "nobody"
        as_user = ["-u", owner] if os.geteuid() == 0 else []
        process = subprocess.Popen(  # noqa: S603
            [PGBOUNCER, *as_user, str(configuration)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            until_open(port)
            yield f"postgresql://{url.username}@127.0.0.1:{port}/{url.database}"
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def until_open(port: int) -> None:
    for _ in range(200):
        with closing(socket.socket()) as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail("pgbouncer did not start")


async def test_clients_in_parallel_read_and_write(pooler_url: str, mode: str) -> None:
    suffix = "?pgbouncer=true" if mode == "transaction" else ""
    settings = Settings(database_url=pooler_url + suffix, database_pool_size=CLIENTS)
    database = Database(create_engine(settings))
    numbers = sa.table("numbers", sa.column("n", sa.Integer))
    async with database.transaction() as connection:
        await connection.execute(sa.text("CREATE TABLE numbers (n integer)"))

    async def client(number: int) -> None:
        for _ in range(5):
            async with database.transaction() as connection:
                await connection.execute(sa.insert(numbers).values(n=number))
                own = sa.select(sa.func.count()).where(numbers.c.n == number)
                assert await connection.scalar(own)
            async with database.reading() as connection:
                for value in (number, number + 1):
                    found = await connection.scalar(sa.select(sa.literal(value)))
                    assert found == value

    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    async with database.reading() as connection:
        total = await connection.scalar(sa.select(sa.func.count()).select_from(numbers))
        bound = await connection.scalar(sa.text("SHOW statement_timeout"))
    await database.dispose()

    assert total == CLIENTS * 5
    assert bound == ("0" if mode == "transaction" else "5s")
