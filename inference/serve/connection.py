"""Connections whose clients must send and take in time."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

#: The seconds in which a client must send the head of a request, and in which it must take what was written.
HEAD_SECONDS, TAKE_SECONDS = 15.0, 60.0


class TimedProtocol(H11Protocol):
    """HTTP/1.1 for uvicorn, which itself waits for ever for the head of a request and for a client that doesn't read.

    Enough clients that do nothing would otherwise keep everybody else out.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base class
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._end_after(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Wait no longer once a request is served; what follows a response is the head of the next, or for nothing."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            if not self.flow.write_paused:
                self._go_on()
        elif self._timer is None:
            self._end_after(HEAD_SECONDS)

    def pause_writing(self) -> None:
        """Begin to wait until the client takes what was written."""
        super().pause_writing()
        self._end_after(TAKE_SECONDS)

    def resume_writing(self) -> None:
        """Wait no longer: the client has taken enough."""
        super().resume_writing()
        self._go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing."""
        super().connection_lost(exc)
        self._go_on()

    def _end_after(self, seconds: float) -> None:
        self._go_on()
        self._timer = self.loop.call_later(seconds, self.transport.abort)

    def _go_on(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
