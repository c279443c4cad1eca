"""Exact values in the store: made by whoever comes first, read by all, and held only while they are written.

The values follow from the corpus alone. What a run sees in the states beside them (states that collide) it adds as it goes;
whoever writes first reads what others have written, so that several estimators may run on one dataset at once.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from time import monotonic

from ie_store.errors import BusyError
from ie_store.estimate.emergence import grid_emergences
from ie_store.estimate.measure import corrections, known_value
from ie_store.estimate.outcomes import CorpusRows
from ie_store.specs import CorpusSpec, Emergence, MIEstimate, Problem, StoreLayout
from ie_store.store.results import FLUSH_SECONDS, ResultsWriter

WAIT_SECONDS = 120.0
"""For another process that writes exact values: a moment, or until the claim of one that was killed expires."""


def exact_values(corpus: CorpusRows, layout: StoreLayout, spec: CorpusSpec) -> dict[Problem, MIEstimate]:
    """The ceilings of every block and position, whatever states are stored; for a sample also corrected entropies."""
    values: dict[Problem, MIEstimate] = {}
    for position in range(layout.num_positions):
        of_prefix = {} if spec.complete else corrections(corpus.prefixes(position))
        of_token = {} if spec.complete else corrections(corpus.last_tokens(position))
        for block in range(layout.num_layers - 1):
            macro = Problem(level="macro", block=block, position=position)
            micro = Problem(level="micro", block=block, position=position)
            for problem, extra in ((macro, of_prefix if block else of_token), (micro, of_token)):
                values[problem] = replace(known_value("exact", corpus, problem), diagnostics=extra)
    return values


class ExactResults:
    """The exact values of one dataset and what a run adds to them. Flush it at the end."""

    def __init__(
        self, open_writer: Callable[[float], AbstractContextManager[ResultsWriter]], values: Mapping[Problem, MIEstimate]
    ) -> None:
        """Writes ``values`` where they are not there yet; ``open_writer(seconds)`` opens their results, waiting so long."""
        self.estimates = values
        self._open_writer, self._examined = open_writer, dict[Problem, MIEstimate]()
        self.emergences: dict[tuple[int, int], Emergence] = {}
        self._write(WAIT_SECONDS)

    def commit(self, examined: Mapping[Problem, MIEstimate]) -> None:
        """Keep values whose states were looked at; they reach the disk as those of other estimators do."""
        self._examined.update(examined)
        if monotonic() - self._flushed > FLUSH_SECONDS:
            with suppress(BusyError):  # somebody writes just now: then later
                self._write(0.0)

    def flush(self) -> None:
        """Write what is left.

        Raises:
            BusyError: another process holds the exact values for longer than writing them takes.
        """
        if self._examined:
            self._write(WAIT_SECONDS)

    def _write(self, wait_seconds: float) -> None:
        """Add what is new to what stands in the store, whoever wrote that, and read it back."""
        with self._open_writer(wait_seconds) as writer:
            lacking = {problem: value for problem, value in self.estimates.items() if problem not in writer.estimates}
            writer.commit(lacking | self._examined)
            self.emergences = grid_emergences(writer.estimates)
            writer.set_emergences(self.emergences.values())
        self._examined.clear()
        self._flushed = monotonic()
