"""The plan of stage two as data: one list of work that can be printed, counted, split between workers, and resumed.

An item is one estimator on one batch of problems. Executing it needs only the item, the dataset's address and a device
(`execute.execute`); it ends as one record. Which problems meet in an item follows from the plan alone::

    targets -> batches in reading order -> items: each batch once for every estimator that misses something of it
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ie_store.estimate.problems import ProblemBatch, Targets, only, plan_batches
from ie_store.estimators import EstimatorSpec
from ie_store.grid import format_selection
from ie_store.specs import Problem, Slab, StoreLayout


@dataclass(frozen=True, kw_only=True)
class WorkItem:
    """One estimator on one batch of problems."""

    estimator: EstimatorSpec[Any]
    batch: ProblemBatch
    also: tuple[Slab, ...] = ()
    """Read besides the states of the batch."""

    @property
    def slabs(self) -> tuple[Slab, ...]:
        """What has to be read."""
        return tuple(dict.fromkeys((*self.batch.slabs, *self.also)))

    @property
    def key(self) -> str:
        """Its name among the estimator's items: ``macro-position7-blocks0-29``."""
        return f"{self.batch.level}-position{self.batch.position}-blocks{format_selection(self.batch.blocks, '.')}"


@dataclass(frozen=True, kw_only=True)
class EstimatePlan:
    """What is left to do, in order; items of one batch follow each other, so that its slabs are read once."""

    items: tuple[WorkItem, ...]

    @property
    def num_problems(self) -> int:
        """Problems of all items."""
        return sum(len(item.batch.problems) for item in self.items)

    def as_json(self) -> dict[str, Any]:
        """Items and numbers, of JSON types."""
        items = [{"estimator": item.estimator.identity, "item": item.key} for item in self.items]
        return {"num_problems": self.num_problems, "items": items}


def make_plan(
    targets: Targets, layout: StoreLayout, missing: Mapping[EstimatorSpec[Any], frozenset[Problem]], batch_bytes: int
) -> EstimatePlan:
    """The items that are left.

    Args:
        targets: what is wanted in the end; it alone decides which problems meet.
        layout: of the dataset.
        missing: problems that each estimator has no record of, in the order in which estimators take their turns.
        batch_bytes: most bytes of float32 states in one batch.
    """
    batches = plan_batches(targets, layout, batch_bytes)
    lone_tokens = (Slab(level="micro", layer=layout.layers[0], position=None),)
    items = [
        WorkItem(estimator=estimator, batch=left, also=lone_tokens if estimator.row.needs_lone_tokens else ())
        for stack in batches
        for estimator, problems in missing.items()
        for left in only([stack], problems)
    ]
    return EstimatePlan(items=tuple(items))
