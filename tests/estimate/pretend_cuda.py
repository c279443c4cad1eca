"""A CUDA device that is not there: tensors that say they are on it, computed on the CPU, kept apart from the CPU's own.

What would fail on a real device for where its tensors are fails here with the same error: an operation on tensors of both
devices, and numpy of one that was not fetched. Code that asks for the type of device takes the branches of CUDA.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
MAY_MIX = ("aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put_", "aten::_index_put_impl_")
"""Operations that take tensors of both devices on a real one too: copies, and indices on the CPU."""


class Pretended(Tensor):
    """A tensor that says it is on `DEVICE`; its values are in ``inner``."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "Pretended":
        made: Pretended = Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            device=torch.device("meta"), requires_grad=inner.requires_grad,
        )  # fmt: skip
        made.inner = inner
        return made

    device = property(lambda self: DEVICE)  # type: ignore[assignment]

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        return self.inner.tolist()

    def __repr__(self, **_: Any) -> str:
        return f"Pretended({self.inner!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Everywhere(TorchDispatchMode):
    """Takes what is made on the device from nothing too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, Pretended)]
    onto = bool(there)
    if kwargs.get("device") is not None:
        onto = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if there and name not in MAY_MIX and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Pretended)):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")
    outers = {id(tensor.inner): tensor for tensor in there}

    def inner(leaf: Any) -> Any:
        return leaf.inner if isinstance(leaf, Pretended) else leaf

    def outer(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return outers.get(id(leaf), Pretended(leaf) if onto else leaf)

    return tree_map(outer, func(*tree_map(inner, args), **tree_map(inner, kwargs)))


_submit = ThreadPoolExecutor.submit


def _submit_with_the_mode(pool: ThreadPoolExecutor, call: Callable[..., Any], *args: Any, **kwargs: Any) -> "Future[Any]":
    """Modes belong to a thread."""

    def run() -> Any:
        with _Everywhere():
            return call(*args, **kwargs)

    return _submit(pool, run)


@contextmanager
def pretend_cuda() -> Iterator[torch.device]:
    """The device, while the block lasts."""
    with (
        mock.patch.multiple(
            torch.cuda,
            _lazy_init=lambda: None,
            is_available=lambda: True,
            device_count=lambda: 1,
            get_device_name=lambda device: "pretended",
            mem_get_info=lambda device=None: (2**34, 2**34),
            synchronize=lambda device=None: None,
        ),
        mock.patch.object(ThreadPoolExecutor, "submit", _submit_with_the_mode),
        _Everywhere(),
    ):
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) is then made on the CPU and moved
        try:
            yield DEVICE
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
