"""One model over all processes of a group: copies (DDP), or pieces (FSDP2) for encoders too large for one device."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from aurora.model.aurora import Aurora
from training.fit.group import Group


class Spread:
    """What trains `model` in a group: called as the model is, and its gradients are the means over the processes.

    Args:
        model: this process's copy, the same in all; cut into pieces in place where `pieces` is true.
        group: the processes.
        pieces: whether each process holds only a piece of the weights.
    """

    def __init__(self, model: Aurora, group: Group, *, pieces: bool) -> None:
        self.group, self.module = group, model
        self.call: nn.Module = model
        if group.count > 1 and pieces:
            cut(model, group)
        elif group.count > 1:
            # A type that no row of a batch wants computes nothing.
            self.call = DistributedDataParallel(model, find_unused_parameters=True)

    def __call__(self, *inputs: Any) -> Any:
        return self.call(*inputs)

    @contextmanager
    def summing(self, together: bool) -> Iterator[None]:
        """Within it, gradients are exchanged only if `together` is true, and otherwise kept for a later exchange."""
        if isinstance(self.call, DistributedDataParallel) and not together:
            with self.call.no_sync():
                yield
            return
        if isinstance(self.call, FSDPModule):
            self.call.set_requires_gradient_sync(together)
        yield

    def exchange(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make the gradients of parameters that aren't the model's the means over the processes."""
        for parameter in parameters:
            if self.group.count > 1 and parameter.grad is not None:
                self.group.sum(parameter.grad).div_(self.group.count)


def cut(model: Aurora, group: Group) -> None:
    """Leave each process its piece of the weights: block by block of the encoder, and all the rest together."""
    mesh = init_device_mesh(group.device.type, (group.count,))
    for block in model.encoder.blocks:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)


def whole(tensor: Tensor) -> Tensor:
    """A tensor, put together where it is in pieces; all processes must call this."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """This process's piece of a whole tensor, if `model` is in pieces."""
    if not isinstance(model, DTensor) or isinstance(tensor, DTensor):
        return tensor
    return distribute_tensor(tensor.to(model.device), model.device_mesh, model.placements, src_data_rank=None)


def load_whole(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Load whole tensors into a module that may be in pieces."""
    own = module.state_dict()
    module.load_state_dict({name: like(tensor, own[name]) for name, tensor in tensors.items()})


def put_together(module: Aurora, plain: Aurora) -> Aurora:
    """`plain`, a model on one device, with the weights of one that may be in pieces; all processes must call this."""
    plain.load_state_dict({name: whole(tensor) for name, tensor in module.state_dict().items()})
    return plain
