"""What an estimator takes on a few rows of the dataset itself: time and memory at rising numbers of distinct rows.

A sample is some outcomes (distinct prefixes or tokens), evenly over the corpus, with all of their sequences; its states are
rows of the real slabs. The same code runs on it as on the whole, and what it comes to is dropped.
"""

from dataclasses import dataclass, replace
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from ie_store.estimate.batch_states import Slabs
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimate.execute import Workplace, execute
from ie_store.estimate.memory import held_bytes, peak_bytes, reset_peak
from ie_store.estimate.plan import WorkItem
from ie_store.estimate.problems import ProblemBatch
from ie_store.estimate.stored_rows import Room

SIZES = (256, 1024, 4096)
"""Distinct rows of the samples."""
LONG_SECONDS = 2.0
"""A sample that takes longer is the last, once there are two."""


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What one problem took on a sample."""

    rows: int
    """Distinct rows."""
    seconds: float
    num_bytes: int
    """Held beside what was there before."""


def calibrate(item: WorkItem, slabs: Slabs, corpus: PrefixIndex, room: Room) -> list[Sampled]:
    """Time and memory of the middle problem of an item, by rising distinct rows; on all of them where they are few."""
    problem = item.batch.problems[len(item.batch.problems) // 2]
    batch = ProblemBatch(level=problem.level, position=problem.position, blocks=(problem.block,))
    one, total, found = replace(item, batch=batch), corpus.num_distinct(problem), []
    for size in SIZES:
        chosen = _choose(one, corpus, min(size, total))
        found.append(_sample(one, slabs, corpus, chosen, room, min(size, total)))
        if size >= total or (len(found) > 1 and found[-1].seconds > LONG_SECONDS):
            break
    return found


def _choose(item: WorkItem, corpus: PrefixIndex, size: int) -> NDArray[np.int64]:
    """Sequences of ``size`` outcomes that lie evenly over the corpus."""
    position = item.batch.position
    outcomes = corpus.prefixes(position) if item.batch.level == "macro" else corpus.lone_tokens(position)
    wanted = np.zeros(len(outcomes.counts), dtype=bool)
    wanted[np.linspace(0, len(outcomes.counts) - 1, size).astype(np.int64)] = True
    return np.flatnonzero(wanted[outcomes.of_sequence])


def _sample(item: WorkItem, slabs: Slabs, corpus: PrefixIndex, chosen: NDArray[np.int64], room: Room, rows: int) -> Sampled:
    mine = {slab: slabs[slab].at(chosen) if slab.level == "macro" else slabs[slab] for slab in item.slabs}
    reset_peak()
    before, started = held_bytes() or 0, perf_counter()
    execute(item, mine, Workplace(corpus=corpus.part(chosen), room=room, session={}))
    seconds = perf_counter() - started
    return Sampled(rows=rows, seconds=seconds, num_bytes=max(0, (peak_bytes() or before) - before))
