"""A model whose weights are yet to be read."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.overrides import TorchFunctionMode

from aurora.model.aurora import Aurora
from aurora.model.config import ModelConfig
from aurora.tasks import Registry


class _Uninitialised(TorchFunctionMode):
    """Inside this context what `torch.nn.init` is asked to fill stays as it is."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__module__", None) == "torch.nn.init":
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def empty_model(config: ModelConfig, tasks: Registry) -> Aurora:
    """A model on the CPU, in evaluation mode, whose weights are whatever the memory holds.

    Random ones would be replaced at once. PyTorch's device "meta" would draw none either, but takes a second to start.
    """
    with _Uninitialised():
        return Aurora(config, tasks).eval()
