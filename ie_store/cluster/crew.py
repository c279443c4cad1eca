"""Workers of a run: processes of this machine that end with it, or those of somebody's Dask scheduler.

Needs ``distributed``. Dask moves nothing and remembers nothing here: errands are handed out one by one, to a worker each.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack, suppress
from threading import Event
from traceback import format_exception
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import dask

from ie_store.errors import ClusterError, IeStoreError, InputError

if TYPE_CHECKING:
    from distributed import Future

CONNECT_SECONDS = 20.0
CLOSE_SECONDS = 10.0
CONFIG = {
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.allowed-failures": 1_000_000,  # a task whose worker was killed is no task that kills workers
}
_LEAVE_INTERRUPTS = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
"""What local workers begin with: Ctrl-C reaches them too, and the command ends them itself."""
_ASIDE = "ie-store-aside"
"""Topic under which workers tell that an errand stepped aside."""
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Errand(Protocol):
    """An item of work as a worker is told it: an address and specs, and nothing that is large."""

    def run(self, step_aside: Callable[[], None]) -> IeStoreError | None:
        """Carry it out; what stood against it is returned, since Dask would print a traceback of what is raised.

        What is left of it after it calls ``step_aside``, at most once, may go on beside the worker's next errand.
        """
        ...


def open_crew(num_workers: int, scheduler: str | None) -> "Crew | None":
    """The workers that are asked for, not started yet; None where none are.

    Raises:
        InputError: ``distributed`` is not installed.
    """
    if not num_workers and not scheduler:
        return None
    try:
        import distributed  # noqa: F401
    except ImportError:
        raise InputError("--workers and --scheduler need Dask's scheduler: pip install 'ie-store[cluster]'") from None
    return Crew(num_workers, scheduler)


def threads_of_each(num_workers: int) -> int:
    """Threads of each of so many processes that share this machine's cores."""
    return max(1, (os.cpu_count() or 1) // num_workers)


class Crew:
    """The workers, while the block lasts."""

    def __init__(self, num_workers: int, scheduler: str | None) -> None:
        """``num_workers`` processes of this machine that share its cores, or those of the scheduler at an address."""
        self._num_workers, self._scheduler = num_workers, scheduler
        self._open, self._news = ExitStack(), Event()
        self._aside: set[str] = set()
        self._client: Any = None
        self._cluster: Any = None

    @property
    def is_local(self) -> bool:
        """True where the workers are processes of our own."""
        return not self._scheduler

    def __enter__(self) -> "Crew":
        with ExitStack() as begun:
            begun.enter_context(dask.config.set(CONFIG))
            begun.callback(self._stop)
            self._start()
            self._open = begun.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def _start(self) -> None:
        from distributed import Client, LocalCluster

        if self.is_local:
            threads = threads_of_each(self._num_workers)
            self._cluster = LocalCluster(
                n_workers=self._num_workers,
                threads_per_worker=threads,
                processes=True,
                memory_limit=0,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                env=dict.fromkeys(_THREADS, str(threads)),
                preload=[_LEAVE_INTERRUPTS],
            )
        try:
            self._client = Client(self._cluster or self._scheduler, set_as_default=False, timeout=CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {self._scheduler!r} ({error}); start one, or use --workers"
            ) from error
        self._client.subscribe_topic(_ASIDE, self._step_aside)

    def _step_aside(self, event: tuple[float, str]) -> None:
        self._aside.add(event[1])
        self._news.set()

    def _stop(self) -> None:
        for one in (self._client, self._cluster):
            with suppress(Exception):  # of a cluster that is gone there is nothing to close
                if one is not None:
                    one.close(timeout=CLOSE_SECONDS)
        self._client = self._cluster = None

    def restart(self) -> None:
        """Local workers anew: those that were there are gone."""
        self._stop()
        self._start()

    def threads(self) -> dict[str, int]:
        """Threads of every living worker, by address.

        Raises:
            ClusterError: the scheduler is gone.
        """
        try:
            found: dict[str, int] = self._client.nthreads()
        except (OSError, ValueError, RuntimeError) as error:
            raise self._gone() from error
        if self._client.status != "running":
            raise self._gone()
        return found

    def _gone(self) -> ClusterError:
        return ClusterError(
            f"the Dask scheduler {self._scheduler or 'of this run'} is gone; what was finished is kept: the same command goes on"
        )

    def send(self, errand: Errand, worker: str, name: str) -> "Future[IeStoreError | None]":
        """Hand an errand to one worker and to no other; no two are called the same."""
        future: Future[IeStoreError | None] = self._client.submit(
            _run, errand, name, key=name, workers=[worker], allow_other_workers=False, pure=False
        )
        future.add_done_callback(lambda _: self._news.set())
        return future

    def is_aside(self, name: str) -> bool:
        """True for an errand that stepped aside: its worker can begin another."""
        return name in self._aside

    def wait(self, seconds: float) -> None:
        """Until an errand has ended or stepped aside since the last time, or so long."""
        self._news.wait(seconds)
        self._news.clear()

    def forget(self, future: "Future[IeStoreError | None]") -> None:
        """Let go of an errand that nobody will finish."""
        with suppress(Exception):
            self._client.cancel([future], force=True)


def _run(errand: Errand, name: str) -> IeStoreError | None:
    from distributed import get_worker, secede

    def step_aside() -> None:
        worker = get_worker()
        secede()
        worker.log_event(_ASIDE, name)

    try:
        return errand.run(step_aside)
    except Exception as error:  # not every exception travels; its text does
        raise RuntimeError("".join(format_exception(error))) from None
