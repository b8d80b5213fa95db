"""A loaded model that predicts images, with the code of `inference run`."""

import difflib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from aurora.api.cine import Frame
from aurora.api.images import ImageLike, name_of, read_any, scale_of
from aurora.api.measure import PixelSize
from aurora.api.results import Result, result_of
from aurora.api.scale import Scale
from aurora.engine.base import Engine, EngineName
from aurora.engine.hub import find_weights
from aurora.engine.select import open_engine
from aurora.errors import ImageError, UsageError
from aurora.images.reader import model_input
from aurora.predict.batch import LoadedJob
from aurora.predict.pipeline import predictions
from aurora.predict.predictions import PredictedRow
from aurora.predict.request import Job, request_of
from aurora.predict.shared_queue import SharedQueue
from aurora.rows import Row
from aurora.tasks import Registry, Task

Value = TypeVar("Value")


def load(
    weights: Path | str | None = None,
    *,
    revision: str | None = None,
    engine: EngineName | None = None,
    device: str = "auto",
) -> "Model":
    """Load a model.

    Args:
        weights: a `.safetensors` or `.onnx` file, or hf:ORG/NAME for a repository on the Hugging Face hub that
            `training push` has written; by default the shipped weights, or those in the folder that
            AURORA_MODEL_FOLDER names.
        revision: the commit on the hub, or a branch or tag; by default the latest commit, which a warning names.
        engine: `onnx`, `onnx-int8` or `torch`; by default ONNX Runtime on a CPU, and PyTorch on an NVIDIA GPU.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.

    Example:
        >>> model = load()
        >>> result = model.predict("head.png", "fetal_head")
        >>> result.mask.shape, result.measurements[0].name
        ((562, 799), 'area')

    Raises:
        UsageError: the engine, or for the hub the library huggingface_hub, isn't installed, or an argument is wrong.
        WeightsError: the weights can't be used, or can't be fetched.
        DeviceError: the device is absent.
    """
    path, commit = find_weights(weights, revision, engine, device)
    return Model(open_engine(path, engine, device), commit)


@dataclass(frozen=True, slots=True)
class _ImageJob(Job):
    """A job with its image."""

    image: ImageLike


class Model:
    """A loaded model. Several threads may use one model, and one process may hold several models.

    Args:
        engine: the engine that computes; see `load`.
        revision: the commit of weights from the hub.

    Attributes:
        engine: the engine, for code that shares it, such as a run.
        revision: the commit of weights from the hub; None for a file.
    """

    def __init__(self, engine: Engine, revision: str | None = None) -> None:
        self.engine, self.revision = engine, revision

    @property
    def tasks(self) -> Registry:
        """The tasks that the weights know, by id; `trained_on` says what they learnt from."""
        return self.engine.spec.tasks

    @property
    def stage_seconds(self) -> dict[str, float]:
        """The seconds of work of each stage of `submit` so far, summed over its threads."""
        return dict(self._queue.stages.seconds)

    def __repr__(self) -> str:
        return f"Model({len(self.tasks)} tasks, {self.engine.name})"

    def predict(self, image: ImageLike, task: str, *, pixel_size: float | PixelSize | None = None) -> Result:
        """Predict one image for one task.

        Args:
            image: a path, the content of a file, an array (H, W) or (H, W, 3) of grey or RGB values, a Pillow image, or
                one of `frames`. Values of more than 8 bits are scaled from their 1st and 99th percentile.
            task: the id of a task that the weights know; see `tasks`.
            pixel_size: the side of a pixel in mm, or its height and width; by default what the file says, see
                `aurora.api.scale.read_scale`.

        Returns:
            A `MaskResult`, `ClassResult`, `BoxResult` or `PointsResult`, by the task's type.

        Raises:
            UsageError: the weights don't know the task, or the image is no image.
            ImageError: the image can't be read.
        """
        ((result,),) = self.predict_many([image], [task], pixel_size=pixel_size)
        if result.fallback is not None:
            raise ImageError(result.fallback, result.source)
        return result

    def predict_many(
        self,
        images: Iterable[ImageLike],
        tasks: str | Sequence[str],
        *,
        pixel_size: float | PixelSize | None = None,
        batch_size: int | None = None,
    ) -> Iterator[list[Result]]:
        """Predict any number of images, each for the same tasks; images are read and predicted ahead.

        An image that can't be read gets fallbacks: results whose `fallback` says why.

        Args:
            images: see `predict`; read one after another, so it may be a generator.
            tasks: the ids of the tasks.
            pixel_size: see `predict`.
            batch_size: images per batch; by default what is fast on the device.

        Yields:
            For each image, in order, its results in the order of `tasks`.

        Raises:
            UsageError: the weights don't know a task.

        Example:
            >>> for head, view in model.predict_many(paths, ["fetal_head", "cls_heart_camus_view"]):
            ...     print(head.source, head.expected, view.label)
        """
        return self._results(images, self._chosen(tasks), _pair(pixel_size), batch_size or self.engine.batch_size)

    def _results(
        self, images: Iterable[ImageLike], tasks: Sequence[Task], pixel_size: PixelSize | None, batch_size: int
    ) -> Iterator[list[Result]]:
        waiting: deque[ImageLike] = deque()

        def jobs() -> Iterator[Job]:
            for number, image in enumerate(images, start=1):
                waiting.append(image)
                yield self._job(image, tasks, number)

        found = predictions(self.engine, jobs(), self._read, batch_size, use=lambda predicted: predicted)
        while group := list(islice(found, len(tasks))):
            yield list(_finished(group, waiting.popleft(), tasks, pixel_size))

    def submit(
        self, image: ImageLike, tasks: str | Sequence[str], *, pixel_size: float | PixelSize | None = None
    ) -> Future[list[Result]]:
        """Predict one image in the background; images from many threads share batches.

        Args:
            image: see `predict`.
            tasks: the ids of the tasks.
            pixel_size: see `predict`.

        Returns:
            The future of what `predict_many` yields for the image.

        Raises:
            UsageError: the weights don't know a task.

        Example:
            >>> futures = [model.submit(path, "fetal_head") for path in paths]
            >>> heads = [future.result()[0] for future in futures]
        """
        return self.submit_for(list, image, tasks, pixel_size=pixel_size)

    def submit_for(
        self,
        use: Callable[[Iterator[Result]], Value],
        image: ImageLike,
        tasks: str | Sequence[str],
        *,
        pixel_size: float | PixelSize | None = None,
    ) -> Future[Value]:
        """Predict one image in the background, as `submit` does, and do something with the results there.

        Args:
            use: called with the results in the order of `tasks`. Each is decoded when its turn comes, so that the masks
                of a large image need not all be in memory.
            image: see `predict`.
            tasks: the ids of the tasks.
            pixel_size: see `predict`.

        Returns:
            The future of what `use` returns or raises.

        Raises:
            UsageError: the weights don't know a task.

        Example:
            >>> model.submit_for(lambda results: [result.answer for result in results], "a.png", tasks).result()
        """
        chosen, size = self._chosen(tasks), _pair(pixel_size)

        def finish(rows: Iterator[PredictedRow]) -> Value:
            return use(_finished(rows, image, chosen, size))

        return self._queue.submit(self._job(image, chosen, 1), self._read, finish)

    @cached_property
    def _queue(self) -> SharedQueue:
        return SharedQueue(self.engine, self.engine.batch_size)

    def _job(self, image: ImageLike, tasks: Sequence[Task], number: int) -> _ImageJob:
        return _ImageJob([request_of(_row(task, image, number), self.tasks) for task in tasks], image)

    def _read(self, job: Job) -> LoadedJob:
        assert isinstance(job, _ImageJob)
        return LoadedJob(job, model_input(partial(read_any, job.image), self.engine.spec.config.image_size))

    def _chosen(self, names: str | Sequence[str]) -> list[Task]:
        chosen = [self._task(name) for name in ([names] if isinstance(names, str) else names)]
        if not chosen:
            raise UsageError("expected at least one task, found none; see Model.tasks")
        return chosen

    def _task(self, name: str) -> Task:
        if name not in self.tasks:
            near = difflib.get_close_matches(name, self.tasks, cutoff=0.5)
            advice = f"did you mean {' or '.join(near)}?" if near else "see Model.tasks, or 'python -m inference tasks'"
            raise UsageError(f"expected a task that the weights know, found {name!r}; {advice}")
        return self.tasks[name]


def _pair(pixel_size: float | PixelSize | None) -> PixelSize | None:
    if pixel_size is None:
        return None
    height, width = pixel_size if isinstance(pixel_size, tuple) else (pixel_size, pixel_size)
    if not (0 < height < float("inf") and 0 < width < float("inf")):
        raise UsageError(f"expected a pixel size above 0 mm, found {pixel_size}")
    return height, width


def _row(task: Task, image: ImageLike, number: int) -> Row:
    name = name_of(image, number)
    return Row(task.id, task.type, task.num_classes, name, None, name, {})


def _finished(
    rows: Iterable[PredictedRow], image: ImageLike, tasks: Sequence[Task], pixel_size: PixelSize | None
) -> Iterator[Result]:
    scale = Scale(whole=pixel_size) if pixel_size else scale_of(image)
    frame = image.number if isinstance(image, Frame) else None
    again = partial(read_any, image)
    return (result_of(row, task, again, scale, frame) for row, task in zip(rows, tasks, strict=True))
