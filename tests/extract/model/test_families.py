"""Every family: states are found at the blocks, and sharing prefixes changes none of them."""

import numpy as np
import pytest
import torch
from tiny_models import PLAIN, REFUSED, SHARED, prefix_rows, tiny_config, tiny_model

from ie_store.errors import InputError
from ie_store.extract.forward.batches import tile_batches
from ie_store.extract.forward.prefix_forward import TileForward
from ie_store.extract.forward.sharing import check_sharing, states_of_rows
from ie_store.extract.forward.tiles import plan_tile
from ie_store.extract.model.decoder import Decoder, find_decoder, relative_error
from ie_store.extract.model.quiet import silence
from ie_store.prefixes import lexicographic_order

CPU = torch.device("cpu")


def sorted_rows(**sizes: int) -> np.ndarray:
    rows = prefix_rows(**sizes)
    return rows[lexicographic_order(rows)]


def found(family: str) -> Decoder:
    with silence():
        return find_decoder(tiny_model(tiny_config(family)), CPU)


@pytest.mark.parametrize("family", SHARED)
def test_shared_states_are_the_plain_ones(family: str) -> None:
    decoder, rows = found(family), sorted_rows()
    assert check_sharing(decoder, rows, CPU).shared
    tile = plan_tile(rows, 2, sharing=True)
    plan = tile_batches(rows, tile)
    assert len(tile.segments) > 1
    assert plan.num_tokens < rows.size
    with silence():
        shared = states_of_rows(TileForward(decoder, plan, CPU), plan, rows.shape, decoder.num_layers)
        plain = decoder.plain_states(torch.from_numpy(rows.astype(np.int64)))
    for layer, (mine, theirs) in enumerate(zip(shared, plain, strict=True)):
        assert relative_error(mine, theirs) <= 1e-5, layer


@pytest.mark.parametrize("family", PLAIN)
def test_models_without_the_standard_cache_are_run_plainly(family: str) -> None:
    with silence():
        sharing = check_sharing(found(family), sorted_rows(), CPU)
    assert not sharing.shared
    assert "cache" in sharing.reason


@pytest.mark.parametrize("family", REFUSED)
def test_models_whose_states_are_not_at_their_blocks_are_refused(family: str) -> None:
    with pytest.raises(InputError, match=REFUSED[family][1]):
        found(family)


@pytest.mark.parametrize("family", ["gemma3_text", "mistral", "gpt_neo"])
def test_a_window_that_is_ignored_would_be_seen(family: str) -> None:
    """The families above are tested with windows shorter than the rows; this shows that the windows bite."""
    windowed, tokens = tiny_config(family), torch.from_numpy(sorted_rows()[:2].astype(np.int64))
    name = "window_size" if family == "gpt_neo" else "sliding_window"
    states = [
        find_decoder(tiny_model(tiny_config(family, **{name: size})), CPU).plain_states(tokens)
        for size in (getattr(windowed, name), 64)
    ]
    assert relative_error(states[0][-1][:, -1], states[1][-1][:, -1]) > 1e-3
    assert relative_error(states[0][-1][:, 0], states[1][-1][:, 0]) < 1e-6


def test_the_head_is_not_run() -> None:
    for family in ("gpt2", "llama", "opt", "gemma3_text"):
        decoder = found(family)
        assert not any("head" in name for name, _ in decoder.module.named_parameters())


def test_low_precision_shares_only_where_every_block_uses_the_cache() -> None:
    model = tiny_model(tiny_config("recurrent_gemma")).to(torch.bfloat16)
    with silence():
        assert not check_sharing(find_decoder(model, CPU), sorted_rows(), CPU).shared
        llama = find_decoder(tiny_model(tiny_config("llama")).to(torch.bfloat16), CPU)
        assert check_sharing(llama, sorted_rows(), CPU).shared
