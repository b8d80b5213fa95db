"""Start the service and end it gracefully."""

import logging

import uvicorn

from aurora.errors import AuroraError, DeviceError
from aurora.runtime.cli import graceful_shutdown
from inference.serve.app import make_app
from inference.serve.connection import TimedProtocol
from inference.serve.service import ServeSettings, Service

logger = logging.getLogger("aurora.inference")

#: The connections that may be open at once; more get 503.
CONNECTIONS = 512
#: The seconds that requests have to finish after SIGTERM.
GRACE_SECONDS = 60


def serve(settings: ServeSettings) -> None:
    """Serve until SIGTERM or SIGINT; requests that were accepted are answered first.

    Raises:
        AuroraError: the weights, the device or the port can't be used.
    """
    failures: list[AuroraError] = []

    def failed(error: AuroraError) -> None:
        failures.append(error)
        server.should_exit = True

    app = make_app(Service(settings), failed)
    config = uvicorn.Config(
        app,
        settings.host,
        settings.port,
        http=TimedProtocol,
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    logger.info("http://%s:%d (research use only); end it with Ctrl-C", settings.host, settings.port)
    try:
        with graceful_shutdown():  # uvicorn raises the signal again once it has ended
            server.run()
    except SystemExit:  # uvicorn has logged why it couldn't start
        place = f"port {settings.port} on {settings.host}"
        raise DeviceError(f"expected a free port, found {place} taken or forbidden; name another with --port") from None
    if failures:
        raise failures[0]
