"""One piece of work done by several threads, this one among them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor


def in_threads(work: Callable[[], None], num_threads: int) -> None:
    """Call ``work`` in this thread and in ``num_threads - 1`` others; an error is raised once all have ended."""
    if num_threads == 1:
        work()
        return
    with ThreadPoolExecutor(num_threads - 1, thread_name_prefix="read") as pool:
        others = [pool.submit(work) for _ in range(num_threads - 1)]
        work()
        for other in others:
            other.result()
