"""A way to a PostgreSQL server that can be cut, held up and mended."""

import asyncio
from types import TracebackType
from typing import Self

from sqlalchemy import URL, make_url


class Link:
    """Forwards connections from a local port to the server of `url`."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._port = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()

    @property
    def url(self) -> str:
        """The URL of the database by way of this link."""
        url = self._target.set(host="127.0.0.1", port=self._port, query={})
        return url.render_as_string(hide_password=False)

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.cut()

    async def mend(self) -> None:
        """Take connections, on the same port as before."""
        self._server = await asyncio.start_server(self._forward, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break off all connections and take no more: what a server that stops looks like."""
        self.release()
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()

    def hold(self) -> None:
        """Let nothing through and say nothing: what a server that hangs looks like."""
        self._flows.clear()

    def release(self) -> None:
        """Let everything through again, what was held first."""
        self._flows.set()

    async def _forward(
        self, client_reader: asyncio.StreamReader, client_writer: asyncio.StreamWriter
    ) -> None:
        await self._flows.wait()
        server_reader, server_writer = await _connect(self._target)
        await asyncio.gather(
            self._pump(client_reader, server_writer), self._pump(server_reader, client_writer)
        )

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()


async def _connect(url: URL) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    port = url.port or 5432
    host = url.host or str(url.query.get("host", "127.0.0.1"))
    if host.startswith("/"):
        return await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{port}")
    return await asyncio.open_connection(host, port)
