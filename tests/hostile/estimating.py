"""A process that estimates beside a test, and waits where it is told to."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

from forked import CONTEXT, started
from known_store import NAME

from ie_store.estimators import EstimatorSpec
from ie_store.options import EstimateSpec

LONGEST = 120.0
"""Seconds until an answer."""


class Estimating:
    """The other process; it lives as long as the block."""

    def __init__(self) -> None:
        self._pipe, self._theirs = CONTEXT.Pipe()

    def __enter__(self) -> "Estimating":
        self._process = started(_serve, self._theirs)
        assert self.hears() == "ready"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()

    def begin(self, store: Any, *estimators: EstimatorSpec, pause: bool = False, **options: Any) -> None:
        """Begin to estimate; with ``pause`` the first stack waits, once ``measuring`` was heard, for `go`."""
        self._pipe.send((EstimateSpec(store=str(store), name=NAME, estimators=estimators, **options), pause))

    def go(self) -> None:
        """Let it go on."""
        self._pipe.send("go")

    def hears(self) -> Any:
        """What it says next; a call that ended says ``ok`` or the error's class, and its message."""
        assert self._pipe.poll(LONGEST), "no answer"
        return self._pipe.recv()

    def works_for(self, seconds: float) -> None:
        """Wait so long, or until it says something."""
        self._pipe.poll(max(0.0, seconds))


def _serve(pipe: Connection) -> None:
    import torch

    import ie_store.estimate.execute as module
    from ie_store.errors import IeStoreError
    from ie_store.estimate.run import estimate

    torch.set_num_threads(1)
    measure, examine = module.measure_batch, module.examine
    pipe.send("ready")
    while True:
        spec, pause = pipe.recv()
        waiting = [pause]
        module.measure_batch, module.examine = _paused(measure, pipe, waiting), _paused(examine, pipe, waiting)
        try:
            estimate(spec)
            told = ("ok", "")
        except IeStoreError as error:
            told = (type(error).__name__, str(error))
        pipe.send(told)


def _paused(call: Callable[..., Any], pipe: Connection, waiting: list[bool]) -> Callable[..., Any]:
    def paused(*arguments: Any) -> Any:
        if waiting[0]:
            waiting[0] = False
            pipe.send("measuring")
            pipe.recv()
        return call(*arguments)

    return paused
