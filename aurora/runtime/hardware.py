"""Processors, memory and compute devices that are available to this process."""

import ctypes
import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import Event, Thread
from typing import TYPE_CHECKING

from aurora.errors import DeviceError, UsageError

if TYPE_CHECKING:
    import torch

_FILE_SYSTEM = Path("/")
#: The message of the error that Python raises where a limit forbids another thread, and what to do about it.
NO_THREAD = "can't start new thread"
MORE_THREADS = "let this process have more threads (ulimit -u, or the pids limit of its container) or more memory"
#: The memory that `fitting_batch` allows for each image, in bytes.
BYTES_PER_IMAGE = 64 << 20


def processors(file_system: Path = _FILE_SYSTEM) -> int:
    """Return the number of processors that this process may use, at least 1.

    Counts the scheduler's affinity and the CPU quota of the control groups (containers, Slurm, systemd), which are
    read below `file_system`. More threads than that would only wait for each other.
    """
    allowed = _allowed_processors()
    quota = _smallest_limit(_cpu_quota, "cpu", file_system)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def memory(file_system: Path = _FILE_SYSTEM) -> int | None:
    """Return the memory limit of the control groups in bytes; None if there is none."""
    limit = _smallest_limit(_memory_limit, "memory", file_system)
    return None if limit is None else int(limit)


def library_threads(file_system: Path = _FILE_SYSTEM) -> int:
    """Return the number of threads that numpy's BLAS and an engine start."""
    stated = [os.environ.get(name, "") for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")]
    blas = next((int(number) for number in stated if number.isdecimal()), _allowed_processors())
    return blas + processors(file_system)


def require_threads(number: int) -> None:
    """Raise `DeviceError` unless so many threads can be started now.

    Where a limit forbids them, BLAS and OpenMP would end the process, BLAS as if it were stopped by a signal.
    """
    begin = Event()
    threads = [Thread(target=begin.wait) for _ in range(number)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError as error:
        raise DeviceError(f"expected to start {number} threads, but {error}; {MORE_THREADS}") from error
    finally:
        begin.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()


def _allowed_processors() -> int:
    # macOS has no affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def fitting_batch(images: int, file_system: Path = _FILE_SYSTEM) -> int:
    """Return `images`, halved until that many fit into the memory limit; at least 1."""
    limit = memory(file_system)
    while limit is not None and images > 1 and images * BYTES_PER_IMAGE > limit:
        images //= 2
    return images


def _smallest_limit(read: Callable[[Path], float], controller: str, file_system: Path) -> float | None:
    """Return the smallest limit of this process's control groups; a group is also bound by its parents' limits."""
    limits = []
    for group in _control_groups(controller, file_system):
        with suppress(OSError, ValueError, ZeroDivisionError):  # another system or version, or no limit ("max")
            limits.append(read(group))
    return min(limits, default=None)


def _control_groups(controller: str, file_system: Path) -> Iterator[Path]:
    """Yield the folders of this process's control groups, in versions 1 and 2, and those of all their parents."""
    mounts = {"": file_system / "sys/fs/cgroup", controller: file_system / "sys/fs/cgroup" / controller}
    yield from mounts.values()  # a container sees only these, regardless of its group's name on the host
    with suppress(OSError, ValueError):
        for line in (file_system / "proc/self/cgroup").read_text().splitlines():
            _, controllers, name = line.split(":", 2)  # version 2 names no controllers
            mount = next((mounts[key] for key in controllers.split(",") if key in mounts), None)
            if mount:
                group = PurePosixPath(name.lstrip("/"))
                yield from (mount / parent for parent in (group, *group.parents))


def _cpu_quota(group: Path) -> float:
    """Read the processors that a control group allows; raise `ValueError` if it sets no quota."""
    if (group / "cpu.max").is_file():
        quota, period = (group / "cpu.max").read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    if int(quota) <= 0:
        raise ValueError("no quota")
    return int(quota) / int(period)


def _memory_limit(group: Path) -> float:
    """Read the bytes that a control group allows; raise `ValueError` if it sets no limit."""
    version_2 = group / "memory.max"
    # Version 1 says "no limit" with a number larger than any machine.
    return int((version_2 if version_2.is_file() else group / "memory.limit_in_bytes").read_text())


# One of these exists where a container or host has an NVIDIA driver; asking PyTorch would mean importing it.
_NVIDIA_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


def nvidia_driver() -> bool:
    """Return whether this container or host has an NVIDIA driver."""
    return any(device.exists() for device in _NVIDIA_DEVICES)


def has_exact_int8(file_system: Path = _FILE_SYSTEM) -> bool:
    """Return whether the processor adds products of 8-bit numbers in 32 bits.

    x86 processors without VNNI add two of them in 16 bits, which may overflow. Others, and systems that don't say, are
    taken to be exact.
    """
    flags = _x86_flags(file_system)
    return flags is None or bool({"avx512_vnni", "avx_vnni", "amx_int8"} & flags)


def _x86_flags(file_system: Path) -> set[str] | None:
    """Return what an x86 processor has, as Linux names it; None on others, and on systems that don't say."""
    with suppress(OSError):
        for line in (file_system / "proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("flags"):
                return set(line.split())
    return None


def parse_device(name: str) -> tuple[str, int]:
    """Split a device name into its type and index, without looking for the device.

    Example:
        >>> parse_device("cuda:1"), parse_device("auto")
        (('cuda', 1), ('auto', 0))

    Raises:
        UsageError: the name isn't `auto`, `cpu`, `cuda` or `cuda:N`.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name):
        raise UsageError(f"expected the device auto, cpu, cuda or cuda:N, found {name!r}")
    device_type, _, index = name.partition(":")
    return device_type, int(index or 0)


def open_device(name: str) -> "torch.device":
    """Return PyTorch's device for a name; `auto` is a CUDA device if there is one, otherwise the CPU.

    Raises:
        UsageError: the name isn't `auto`, `cpu`, `cuda` or `cuda:N`.
        DeviceError: PyTorch doesn't find the device.
    """
    device_type, index = parse_device(name)
    import torch  # importing it takes seconds, which `--help` and `check` should not need

    if device_type == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    count = torch.cuda.device_count()
    if device_type == "cuda" and index >= count:
        raise DeviceError(f"device {name!r} was asked for, but PyTorch finds {count} CUDA devices; use cpu or auto")
    return torch.device(name)


def uses_bfloat16(precision: str, device: "torch.device", file_system: Path = _FILE_SYSTEM) -> bool:
    """Return whether to train in bfloat16.

    Args:
        precision: "bf16" or "fp32"; "auto" is bfloat16 where the device has instructions for it. Without them, a step
            took seven times as long as in float32 (an AMD EPYC with AVX2).
        device: where the model is.
        file_system: the folder below which the processor is described.
    """
    if precision != "auto":
        return precision == "bf16"
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = _x86_flags(file_system)
    if flags is not None:
        return bool({"avx512_bf16", "amx_bf16"} & flags)
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


# Options of glibc's `mallopt`.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_NEVER, _GROWTH = -1, 256 << 20


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next arrays; without effect where it isn't glibc.

    By default glibc returns every freed array of 32 MiB or more to the system. The system then sets every page of the
    next array to zero, which took about 8 % of a training step on two cores of an Intel Xeon.
    """
    with suppress(OSError, AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _GROWTH)):
            mallopt(option, value)


def peak_memory(device: "torch.device") -> int:
    """Return the peak memory so far in bytes: PyTorch's on a CUDA device, the whole process's on a CPU."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device)
    return peak_resident(resource.getrusage(resource.RUSAGE_SELF))


def peak_resident(usage: resource.struct_rusage) -> int:
    """Return a process's peak resident memory in bytes."""
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)  # Linux counts in kilobytes


LIBRARIES = (
    "numpy",
    "opencv-python-headless",
    "SimpleITK",
    "pillow",
    "pydantic",
    "onnxruntime",
    "torch",
    "scikit-learn",
)


def library_versions() -> dict[str, str]:
    """Return the version of each of `LIBRARIES`, or "absent"; onnxruntime-gpu counts as onnxruntime."""
    from importlib.metadata import PackageNotFoundError, version

    versions = dict.fromkeys(LIBRARIES, "absent")
    for name in (*LIBRARIES, "onnxruntime-gpu"):
        with suppress(PackageNotFoundError):
            versions[name.removesuffix("-gpu")] = version(name)
    return versions
