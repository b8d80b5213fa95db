"""The HTTP interface of the service."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.staticfiles import StaticFiles

from aurora import __version__
from aurora.errors import AuroraError, ImageError, UsageError
from aurora.runtime.text import dump_json
from aurora.tasks import to_records
from inference.serve.guard import Guard
from inference.serve.service import BusyError, LoadingError, Service

logger = logging.getLogger("aurora.inference")

PAGE = Path(__file__).parent / "page"
#: The seconds after which a client that was refused may try again.
RETRY_AFTER = "1"


class Problem(BaseModel):
    """Why a request has no answer, in one sentence."""

    error: str


def _problems(reasons: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Return the part of the OpenAPI description that says when a request gets which status."""
    return {status: {"model": Problem, "description": text} for status, text in reasons.items()}


_LOADING = _problems({503: "The weights are still being loaded."})
_REFUSED = _problems(
    {
        400: "The request is malformed.",
        413: "The body is larger than 64 MiB.",
        415: "The request isn't multipart.",
        422: "The image can't be read, the weights don't know a task, or a field is missing or wrong.",
        429: "Too much waits already; Retry-After says when to try again.",
    }
)
_FAILED = _problems({429: "Another invocation is running.", 500: "The run failed, with its reason."})


def make_app(service: Service, failed: Callable[[AuroraError], None]) -> FastAPI:
    """Return the application.

    Args:
        service: what answers.
        failed: called if the weights can't be loaded.

    Example:
        >>> app = make_app(Service(ServeSettings(Path("/input"), Path("/output"))), failed=print)
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async def load() -> None:
            try:
                await asyncio.to_thread(service.load)
                logger.info("ready: %s", service.model)
            except AuroraError as error:
                failed(error)

        loading = asyncio.create_task(load())
        yield
        await loading

    app = FastAPI(
        title="AURORA",
        version=__version__,
        description="Ultrasound images in, predictions out. Research use only.",
        lifespan=lifespan,
        docs_url=None,  # FastAPI's own pages load code from elsewhere
        redoc_url=None,
        # It describes the token and refuses nothing; the guard does, before a body is read.
        dependencies=[Depends(HTTPBearer(auto_error=False))] if service.settings.token else [],
    )
    app.add_middleware(Guard, host=service.settings.host, token=service.settings.token, count=service.metrics.count)
    _add_errors(app)
    _add_routes(app, service)
    app.mount("/page/swagger", StaticFiles(packages=[("fastapi_swagger", "resources")]), name="swagger")
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/api", include_in_schema=False)
    async def api() -> FileResponse:
        return FileResponse(PAGE / "api.html")

    @app.get("/health", summary="Whether the weights are loaded and verified: 200, before that 503")
    async def health() -> Response:
        ready = service.model is not None
        return JSONResponse({"status": "ready" if ready else "loading"}, 200 if ready else 503)

    @app.get("/tasks", summary="The tasks that the weights know", responses=_LOADING)
    async def tasks() -> list[dict[str, Any]]:
        return to_records(service.loaded().tasks)

    @app.post("/predict", summary="Predict one image for one or more tasks", responses=_LOADING | _REFUSED)
    async def predict(
        image: Annotated[UploadFile, File(description="A file of any format that `inference run` reads.")],
        task: Annotated[list[str], Form(description="Ids of tasks, as /tasks lists them.")],
        pixel_size: Annotated[
            float | None,
            Form(gt=0, allow_inf_nan=False, description="The side of a pixel in mm, if the file doesn't state it."),
        ] = None,
        picture: Annotated[
            bool, Form(description="Whether to add the image as JPEG in base64, `picture_jpeg`.")
        ] = False,
        frames: Annotated[
            str | None,
            Form(description="Frames of a cine: all, middle, every:N or A:B. The response is then a line per frame."),
        ] = None,
    ) -> Response:
        """Return `{"results": [...]}`: a record for each task, with `mask_png` in base64 where the answer is a mask."""
        service.loaded()
        content = await image.read()
        if frames:
            found = service.predict_frames(content, task, frames, pixel_size, picture=picture)
            # Whatever is wrong with the request shows before the first frame, while the status is still open.
            first = await asyncio.to_thread(next, found)
            lines = (dump_json(item) + "\n" for item in chain([first], found))
            return StreamingResponse(lines, media_type="application/x-ndjson")
        records = await service.predict(content, task, pixel_size, picture=picture)
        return JSONResponse({"results": records})  # as it is: converting it again takes longer than predicting

    @app.post(
        "/invoke",
        status_code=201,
        summary="Predict the whole input folder, as inference run does",
        responses=_LOADING | _FAILED,
    )
    async def invoke() -> dict[str, str]:
        return {"message": await asyncio.to_thread(service.invoke)}

    @app.get("/metrics", summary="Counters in the text format of Prometheus", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text())


def _add_errors(app: FastAPI) -> None:
    """Answer every error with one sentence: {"error": TEXT}."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        method, path, headers = request.method, request.url.path, error.headers or {}
        texts = {
            400: f"expected a whole multipart body, found one that is malformed: {error.detail}",
            404: f"expected a path of this service, found {path}; see /api",
            405: f"expected {headers.get('Allow', 'another method')} {path}, found {method}; see /api",
        }
        return JSONResponse({"error": texts.get(error.status_code, error.detail)}, error.status_code, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        kind = request.headers.get("content-type", "nothing").partition(";")[0]
        if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            text = f"expected multipart/form-data with the fields image and task, found {kind}; see /api"
            return JSONResponse({"error": text}, 415)
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"][1:]) or "body"
        # Its own words for text in place of a file name Python's types.
        text = "expected a file, found text" if first["type"] == "value_error" else first["msg"].lower()
        return JSONResponse({"error": f"the field {field}: {text}; see /api"}, 422)

    @app.exception_handler(LoadingError)
    async def loading(request: Request, error: LoadingError) -> Response:
        return JSONResponse({"error": str(error)}, 503, {"Retry-After": RETRY_AFTER})

    @app.exception_handler(BusyError)
    async def busy(request: Request, error: BusyError) -> Response:
        return JSONResponse({"error": str(error)}, 429, {"Retry-After": RETRY_AFTER})

    @app.exception_handler(UsageError)
    async def unusable(request: Request, error: UsageError) -> Response:
        return JSONResponse({"error": str(error)}, 422)

    @app.exception_handler(ImageError)
    async def unreadable(request: Request, error: ImageError) -> Response:
        return JSONResponse({"error": f"no prediction: the image {error.reason}"}, 422)

    @app.exception_handler(AuroraError)
    async def failed(request: Request, error: AuroraError) -> Response:
        logger.info("error: %s", error)
        return JSONResponse({"error": str(error)}, 500)

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        logger.info("internal error: %s: %s", type(error).__name__, error)
        return JSONResponse({"error": f"internal error: {type(error).__name__}; see the log of the service"}, 500)
