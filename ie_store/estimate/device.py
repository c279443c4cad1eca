"""Where the work is done, and what is remembered about it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from importlib.metadata import version
from platform import python_version
from typing import Any, TypeVar

import torch

from ie_store.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")


def choose_device(text: str) -> torch.device:
    """The device named by ``text``; ``auto`` takes CUDA where there is any.

    Raises:
        InputError: not a device, or not there.
    """
    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise InputError(f"device {text!r} is not known; choose auto, cpu, cuda or cuda:1") from None
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {text!r} is not supported; choose auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {text!r} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices; try cpu")
    return device


def host_rows(num_rows: int, width: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """(row, dimension) memory of the processor for rows on their way to ``device``; pinned for CUDA, which fetches them."""
    return torch.empty((num_rows, width), dtype=dtype, pin_memory=device.type == "cuda")


def each_on_one_thread(
    compute: Callable[[Item], Result], items: Iterable[Item], device: torch.device, at_once: int | None = None
) -> Iterator[Result]:
    """``compute`` of every item, in order; on a CPU as many at a time as PyTorch has threads, each with one of them.

    Threads that share every operation on a small tile spend as long waiting for each other as computing. Items are taken
    shortly before they are computed. Where memory allows fewer ``at_once``, the other threads rest: an item's result depends
    on how many threads compute it.
    """
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1:
        yield from map(compute, items)
        return
    pool = ThreadPoolExecutor(
        min(threads, at_once or threads), thread_name_prefix="compute", initializer=torch.set_num_threads, initargs=(1,)
    )
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(compute, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # the pool's threads have changed what new threads get


def describe_session(device: torch.device) -> dict[str, Any]:
    """What may change the last bits of a result: versions, device and threads, with the time."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "python": python_version(),
        **{package: version(package) for package in ("ie-store", "torch", "numpy")},
    }
