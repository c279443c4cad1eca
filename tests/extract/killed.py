"""What the processes run that `test_kill` kills: an extraction into many small shards."""

from dataclasses import replace
from typing import Any

import torch

import ie_store.extract.prepare
from ie_store.extract.layout import choose_layout
from ie_store.extract.run import extract
from ie_store.options import ExtractSpec
from ie_store.specs import StoreLayout


def many_shards(*arguments: Any) -> StoreLayout:
    """Shards of 8 rows, three to a group, batches that reach over a shard's edge."""
    layout = choose_layout(*arguments)
    return replace(layout, rows_per_shard=8, tokens_per_shard=16, shards_per_group=3, rows_per_batch=5)


def run(options: dict[str, Any]) -> None:
    """Extract as ``options`` say."""
    torch.set_num_threads(1)
    ie_store.extract.prepare.choose_layout = many_shards
    extract(ExtractSpec(**options))
