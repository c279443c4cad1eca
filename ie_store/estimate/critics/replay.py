"""The same computation many times over on a CUDA device: recorded once as a graph, then replayed.

A training step of few rows is hundreds of small operations, each of which takes longer to launch than to carry out::

    calls 1 to 3      as they come, on a stream of their own: libraries get ready
    call 4            recorded, of inputs that stay where they are, then replayed
    calls 5 ...       inputs copied to there, replayed: one launch

Whenever inputs change their shapes, it begins again. On a CPU nothing is recorded.
"""

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from warnings import warn

import torch
from torch import Tensor

Compute = Callable[..., tuple[Tensor, ...]]
WARM_UP = 3
"""Calls that are not recorded, as PyTorch's manual has it."""
_RECORDING = Lock()
"""A process may record one graph at a time."""


@dataclass(frozen=True, kw_only=True)
class _Recorded:
    """A graph, and where its inputs and outputs are."""

    graph: torch.cuda.CUDAGraph
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    def replay(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for there, new in zip(self.inputs, inputs, strict=True):
            there.copy_(new)
        self.graph.replay()
        return self.outputs


class Replay:
    """Carries out computations that differ in nothing but their inputs."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._shapes: list[torch.Size] = []
        self._calls = 0
        self._recorded: _Recorded | None = None
        self._aside: torch.cuda.Stream | None = None
        self._is_refused = device.type != "cuda"

    def __call__(self, compute: Compute, *inputs: Tensor) -> tuple[Tensor, ...]:
        """What ``compute`` gives of ``inputs``, until the next call.

        Args:
            compute: may depend on nothing else that changes from call to call while shapes are the same, wait for no result, and
                take nothing from the CPU.
            inputs: any tensors on the device.
        """
        if self._is_refused:
            return compute(*inputs)
        shapes = [each.shape for each in inputs]
        if shapes != self._shapes:
            self._shapes, self._calls, self._recorded = shapes, 0, None
        self._calls += 1
        with torch.cuda.device(self._device):
            self._aside = self._aside or torch.cuda.Stream()
            if self._calls <= WARM_UP:
                return self._warm_up(compute, inputs, self._aside)
            if self._recorded is None:
                self._recorded = self._record(compute, inputs, self._aside)
            return compute(*inputs) if self._recorded is None else self._recorded.replay(inputs)

    def _warm_up(self, compute: Compute, inputs: tuple[Tensor, ...], aside: torch.cuda.Stream) -> tuple[Tensor, ...]:
        here = torch.cuda.current_stream()
        aside.wait_stream(here)
        with torch.cuda.stream(aside):
            found = compute(*inputs)
        here.wait_stream(aside)
        for each in found:
            each.record_stream(here)
        return found

    def _record(self, compute: Compute, inputs: tuple[Tensor, ...], aside: torch.cuda.Stream) -> _Recorded | None:
        here, graph = torch.cuda.current_stream(), torch.cuda.CUDAGraph()
        stay = tuple(each.clone() for each in inputs)
        with _RECORDING:
            try:
                # Other threads go on meanwhile: the next slab is on its way to the device.
                with torch.cuda.graph(graph, stream=aside, capture_error_mode="thread_local"):
                    outputs = compute(*stay)
            except RuntimeError as error:
                torch.cuda.set_stream(here)
                torch.cuda.synchronize()
                self._is_refused = True
                message = f"CUDA recorded no training step, each operation is launched by itself, which takes longer: {error}"
                warn(message, RuntimeWarning, stacklevel=2)
                return None
        return _Recorded(graph=graph, inputs=stay, outputs=outputs)
