"""A CUDA device that is not there: tensors that say they are on it, computed on the CPU, kept apart from the CPU's own.

What would fail on a real device for where its tensors are fails here with the same error: an operation on tensors of both
devices, and numpy of one that was not fetched. Code that asks for the type of device takes the branches of CUDA.

A graph is the list of operations that came to the device while it was captured; what they changed is changed back, since
capturing carries out nothing. Replaying carries them out on the same memory; what waits for a result or takes something from the
CPU cannot be captured. Matrix products round their factors as tensor cores do, where TF32 is asked for.
"""

import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, ClassVar
from unittest import mock

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("cuda:0")
MAY_MIX = ("aten::copy_", "aten::_to_copy", "aten::index", "aten::index_put_", "aten::_index_put_impl_")
"""Operations that take tensors of both devices on a real one too: copies, and indices on the CPU."""


WAITS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::_unique2", "aten::equal", "aten::is_nonzero", "aten::masked_select")
"""Operations whose result, or its shape, is waited for."""
FIRST_FACTOR = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "addmv": 1, "baddbmm": 1}
"""Of the arguments of matrix products, which factor comes first."""


def rounded_to_tf32(values: Tensor) -> Tensor:
    """To the nearest of 11 significant bits, as tensor cores take float32 factors."""
    whole = values.contiguous().view(torch.int32)
    return ((whole + 0xFFF + ((whole >> 13) & 1)) & ~0x1FFF).view(torch.float32)


class Graph:
    """What came to the device while it was captured."""

    being_captured: "Graph | None" = None
    replays = 0

    def __init__(self) -> None:
        self.steps: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}

    @classmethod
    @contextmanager
    def capture(cls, graph: "Graph", stream: Any = None, capture_error_mode: str = "global") -> Iterator[None]:
        assert capture_error_mode == "thread_local", "other threads use the device meanwhile"
        cls.being_captured = graph
        try:
            yield
        finally:
            cls.being_captured = None
            for there, before in graph._before.values():
                there.copy_(before)

    def keep(self, func: Any, leaves: Any) -> None:
        """Remember what an operation is about to change."""
        if func._schema.is_mutable:
            for each in leaves:
                if isinstance(each, Tensor) and each.data_ptr() not in self._before:
                    self._before[each.data_ptr()] = (each, each.clone())

    def replay(self) -> None:
        Graph.replays += 1
        for func, args, kwargs, found in self.steps:
            for there, new in zip(tree_leaves(found), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(there, Tensor) and there.data_ptr() != new.data_ptr():
                    there.copy_(new)


class Sent:
    """What went to the device, from memory that was asked for as pinned and from other."""

    from_pinned = from_other = 0
    _pinned: ClassVar[set[int]] = set()

    @classmethod
    def pinned(cls, made: Tensor) -> Tensor:
        """Remember where it is, until it is gone."""
        place = made.untyped_storage().data_ptr()
        cls._pinned.add(place)
        weakref.finalize(made.untyped_storage(), cls._pinned.discard, place)
        return made

    @classmethod
    def count(cls, *sources: Tensor) -> None:
        """The bytes of ``sources``."""
        for source in sources:
            if source.untyped_storage().data_ptr() in cls._pinned:
                cls.from_pinned += source.nbytes
            else:
                cls.from_other += source.nbytes


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
        _refuse_to_capture("aten::tolist", Graph.being_captured is not None)
        return self.inner.tolist()

    def __getitem__(self, index: Any) -> Any:  # else C++ makes a tensor of a list, on the device that it takes this to be on
        parts = index if isinstance(index, tuple) else (index,)
        return super().__getitem__(tuple(torch.tensor(part) if isinstance(part, list) else part for part in parts))

    def record_stream(self, stream: Any) -> None:
        """The memory of what is here is not used again before it is free."""

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
    devices = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.device)]
    if devices:
        onto = devices[0].type in ("cuda", "meta")  # as C++ knows the device of what is pretended
        args, kwargs = tree_map(lambda leaf: torch.device("cpu") if isinstance(leaf, torch.device) else leaf, (args, kwargs))
    is_pinned = kwargs.get("pin_memory", False)
    if "pin_memory" in kwargs:
        kwargs = {**kwargs, "pin_memory": False}
    if onto and name in ("aten::copy_", "aten::_to_copy"):
        Sent.count(*(tensor for tensor in tensors if not isinstance(tensor, Pretended)))
    if there and name not in MAY_MIX and any(tensor.dim() for tensor in tensors if not isinstance(tensor, Pretended)):
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, but found cuda:0 and cpu")
    outers = {id(tensor.inner): tensor for tensor in there}

    def inner(leaf: Any) -> Any:
        return leaf.inner if isinstance(leaf, Pretended) else leaf

    def outer(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not onto:
            return leaf
        return outers[id(leaf)] if id(leaf) in outers else Pretended(leaf)

    args, kwargs = tree_map(inner, args), tree_map(inner, kwargs)
    carry_out = func
    if (
        onto
        and (first := FIRST_FACTOR.get(name.removeprefix("aten::"))) is not None
        and torch.backends.cuda.matmul.fp32_precision == "tf32"
    ):
        carry_out = partial(_on_tensor_cores, func, first)
    if is_pinned:
        return Sent.pinned(carry_out(*args, **kwargs))
    if there or onto:
        _refuse_to_capture(name, name in WAITS or len(there) < len(tensors) or not onto)
    if Graph.being_captured is None or not (there or onto):
        return tree_map(outer, carry_out(*args, **kwargs))
    Graph.being_captured.keep(func, tree_leaves((args, kwargs)))
    found = carry_out(*args, **kwargs)
    Graph.being_captured.steps.append((carry_out, args, kwargs, found))
    return tree_map(outer, found)


def _on_tensor_cores(func: Any, first: int, *args: Any, **kwargs: Any) -> Any:
    factors = (rounded_to_tf32(each) if each.dtype == torch.float32 else each for each in args[first : first + 2])
    return func(*args[:first], *factors, *args[first + 2 :], **kwargs)


def _refuse_to_capture(name: str, waits: bool) -> None:
    if Graph.being_captured is not None and waits:
        raise RuntimeError(f"{name}: operation not permitted when stream is capturing")


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
            device=lambda device: nullcontext(),
            Stream=lambda *_: mock.MagicMock(),
            current_stream=lambda *_: mock.MagicMock(),
            stream=lambda stream: nullcontext(),
            set_stream=lambda stream: None,
            CUDAGraph=Graph,
            graph=Graph.capture,
        ),
        mock.patch.object(ThreadPoolExecutor, "submit", _submit_with_the_mode),
        _Everywhere(),
    ):
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(..., device=...) is then made on the CPU and moved
        try:
            yield DEVICE
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
