"""What every request passes: the token, the limits of its body, and the headers of its response."""

import asyncio
import hmac
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The largest body in bytes, and the seconds in which it must arrive.
MAX_BODY, BODY_SECONDS = 64 << 20, 60.0
#: The most bytes of bodies that are held at once, until their requests are answered.
MAX_HELD = 1 << 30
#: The paths that need no token: the platform asks for the health, and the pages ask the user for the token.
OPEN_PATHS, OPEN_FOLDER = ("/health", "/", "/api", "/openapi.json"), "/page/"

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}


class Guard:
    """ASGI middleware: refuse requests from elsewhere or without the token, and bodies too large, too slow or too many.

    Args:
        app: the application.
        host: where the service listens.
        token: what clients send as `Authorization: Bearer TOKEN`; None to let everyone in.
        count: called with the path, the status and the seconds of each request.
    """

    def __init__(self, app: ASGIApp, host: str, token: str | None, count: Callable[[str, int, float], None]) -> None:
        self.app, self.token, self.count = app, token, count
        self.held = 0
        # A page from elsewhere can give its own name this machine's address, but it can't know the token.
        self._only_local = is_loopback(host) and not token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, path = time.perf_counter(), scope["path"]

        async def respond(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
                self.count(path, message["status"], time.perf_counter() - begun)
            await send(message)

        refusal = self._refusal(scope["method"], path, Headers(scope=scope))
        body = _Body(receive, self)
        try:
            await (refusal or self.app)(scope, body.receive, respond)
        finally:
            self.held -= body.received

    def _refusal(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        if self._only_local and not is_loopback(_name(host := headers.get("host", "localhost"))):
            text = f"expected this service to be called localhost or 127.0.0.1, found {host}; set AURORA_TOKEN"
            return JSONResponse({"error": text}, 403)
        # Browsers say where a request comes from, and send it from any page, even though that can't read the response.
        if method == "POST" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return JSONResponse({"error": "expected a request of this service's page, found one of another page"}, 403)
        if self.token and path not in OPEN_PATHS and not path.startswith(OPEN_FOLDER):
            given = headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
                text = "expected the token of this service in the header Authorization: Bearer TOKEN"
                return JSONResponse({"error": text}, 401, {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > MAX_BODY:
            return JSONResponse({"error": too_large(int(length))}, 413)
        return None


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is that of this machine for itself."""
    with suppress(ValueError):
        return host == "localhost" or ip_address(host).is_loopback
    return False


def _name(host: str) -> str:
    """Return the name or address in a header Host; empty if there is none."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


def too_large(length: int) -> str:
    """Return the sentence about a body of at least `length` bytes."""
    return f"expected at most {MAX_BODY >> 20} MiB, found {length / (1 << 20):.0f} MiB or more; send a smaller file"


class _Body:
    """The body of a request, which ends with an error if it is too large, too slow, or one too many."""

    def __init__(self, receive: Receive, guard: Guard) -> None:
        self._receive, self._guard = receive, guard
        self._end = asyncio.get_running_loop().time() + BODY_SECONDS
        self._complete = False
        self.received = 0

    async def receive(self) -> Message:
        """Return the next message."""
        if self._complete:  # a request then only waits to learn that the client has gone
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._end - asyncio.get_running_loop().time())
        except TimeoutError:
            raise HTTPException(408, f"expected the whole request within {BODY_SECONDS:.0f} s; send it again") from None
        if message["type"] == "http.request":
            self._take(len(message.get("body", b"")))
            self._complete = not message.get("more_body")
        return message

    def _take(self, length: int) -> None:
        self.received += length
        self._guard.held += length
        if self.received > MAX_BODY:
            raise HTTPException(413, too_large(self.received))
        if self._guard.held > MAX_HELD:
            raise HTTPException(429, "too many large files are waiting already; try again", {"Retry-After": "5"})
