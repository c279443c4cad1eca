"""Exact values in the store: they follow from the corpus alone, so whoever comes first writes them and all read them."""

from dataclasses import replace
from typing import Any

from ie_store.estimate.batch_states import corrections, known_value
from ie_store.estimate.exact.prefix_index import PrefixIndex
from ie_store.estimators import EXACT
from ie_store.specs import CorpusSpec, MIEstimate, Problem, StoreLayout
from ie_store.store.results.estimate_variables import estimate_pieces
from ie_store.store.results.records import Record

VALUES = "values"
"""The item that holds every exact value."""


def exact_values(corpus: PrefixIndex, layout: StoreLayout, spec: CorpusSpec) -> dict[Problem, MIEstimate]:
    """The ceilings of every block and position, whatever states are stored; for a sample also corrected entropies."""
    values: dict[Problem, MIEstimate] = {}
    for position in range(layout.num_positions):
        of_prefix = {} if spec.complete else corrections(corpus.prefixes(position))
        of_token = {} if spec.complete else corrections(corpus.last_tokens(position))
        for block in range(layout.num_layers - 1):
            macro = Problem(level="macro", block=block, position=position)
            micro = Problem(level="micro", block=block, position=position)
            for problem, extra in ((macro, of_prefix if block else of_token), (micro, of_token)):
                values[problem] = replace(known_value(EXACT, corpus, problem), diagnostics=extra | _correlation(corpus, problem))
    return values


def _correlation(corpus: PrefixIndex, problem: Problem) -> dict[str, float]:
    """Total correlation of a prefix and Psi (Rosas et al. 2020), which is minus that while layers tell all prefixes apart.

    Nothing for lone tokens, nor for block 0, whose input knows no prefix.
    """
    if problem.level == "micro" or problem.block == 0:
        return {}
    listed, at = corpus.listed, (problem.block, problem.position)
    correlation = float(listed.micro[problem.block, : problem.position + 1].sum() - listed.macro[at])
    return {"total_correlation_nats": correlation, "psi_nats": -correlation}


def exact_record(corpus: PrefixIndex, layout: StoreLayout, spec: CorpusSpec, session: dict[str, Any]) -> Record:
    """All exact values as one record."""
    pieces = estimate_pieces(exact_values(corpus, layout, spec))
    return Record(item=VALUES, session=session, flags={}, pieces=tuple(pieces))
