"""Connections of clients that do nothing are closed."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvicorn

from inference.serve import connection
from inference.serve.connection import TimedProtocol

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
LARGE = bytes(1 << 24)  # more than the buffers of a connection hold


async def answer(scope: dict, receive: Callable, send: Callable) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"whole" if scope["path"] == "/" else LARGE})


async def serving(use: Callable[[int], Awaitable[None]]) -> None:
    """Serve `answer` while `use` runs, which gets the port."""
    config = uvicorn.Config(answer, http=TimedProtocol, lifespan="off", log_level="critical", timeout_keep_alive=60)
    server = uvicorn.Server(config)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        task = asyncio.create_task(server.serve([listening]))
        await use(listening.getsockname()[1])
        server.should_exit = server.force_exit = True
        await task


async def ends(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the service closes the connection."""
    content = b""
    try:
        async with asyncio.timeout(10):
            while part := await reader.read(1 << 20):
                content += part
    except ConnectionResetError:
        pass
    return content


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.2)
    monkeypatch.setattr(connection, "TAKE_SECONDS", 0.2)


@pytest.mark.parametrize(
    "begin", [b"", HEAD[:5], HEAD, HEAD + b"\r\n" + HEAD, HEAD + b"Content-Length: 99\r\n\r\nbody"]
)
def test_a_client_that_does_not_finish_a_request_is_disconnected(begin: bytes) -> None:
    async def use(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        content = asyncio.create_task(ends(reader))
        while not content.done():  # each byte that drips in gets no further time
            await asyncio.sleep(0.05)
            writer.write(b"x")
        assert content.result().count(b"whole") == (b"\r\n\r\n" in begin)
        writer.close()

    asyncio.run(serving(use))


def test_a_client_that_does_not_take_its_response_is_disconnected() -> None:
    async def use(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
        writer.write(HEAD.replace(b"/ ", b"/large ") + b"\r\n")
        await asyncio.sleep(1)
        assert 0 < len(await ends(reader)) < len(LARGE)
        writer.close()

    asyncio.run(serving(use))


def test_a_client_that_is_only_slow_gets_its_responses() -> None:
    async def use(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for part in (HEAD[:9], HEAD[9:], b"\r\n", HEAD, b"\r\n"):
            writer.write(part)
            await asyncio.sleep(0.05)
        writer.write(HEAD.replace(b"/ ", b"/large ") + b"Connection: close\r\n\r\n")
        content = await ends(reader)
        assert content.count(b"whole") == 2
        assert len(content) > len(LARGE)
        writer.close()

    asyncio.run(serving(use))
