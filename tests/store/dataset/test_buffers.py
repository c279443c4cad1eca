"""Kept buffers: used again only when nobody can see them any more."""

import gc

import numpy as np
import pytest
from made_store import make

from ie_store.specs import Slab
from ie_store.store.dataset import buffers
from ie_store.store.dataset.buffers import IDLE_BYTES, LEAST_BYTES, acquire
from ie_store.store.open import open_reader

SHAPE, FLOAT16 = (LEAST_BYTES // 64, 64), np.dtype(np.float16)


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again_only_after_the_last_view():
    first = acquire(SHAPE, FLOAT16)
    where, view = address(first), first[5:9][:, ::2].T
    del first
    second = acquire(SHAPE, FLOAT16)
    assert address(second) != where
    view[...] = 3
    del view
    gc.collect()
    assert address(acquire(SHAPE, FLOAT16)) == where
    assert type(second) is np.ndarray
    assert second.flags.c_contiguous
    assert second.flags.writeable


def test_little_is_kept_while_idle():
    held = [acquire((IDLE_BYTES // 4,), np.dtype(np.uint8)) for _ in range(6)] + [acquire((IDLE_BYTES + 1,), np.dtype(np.uint8))]
    del held
    gc.collect()
    assert sum(size * len(kept) for size, kept in buffers._idle.items()) <= IDLE_BYTES
    buffers._idle.clear()
    assert acquire((3,), FLOAT16).flags.owndata


@pytest.mark.slow
def test_slabs_held_side_by_side_do_not_share_memory(tmp_path):
    made = make(tmp_path / "s", rows=5000, hidden=512, size=512)
    made.write()
    reader = open_reader(made.store, made.name)
    slabs = [Slab(level="macro", layer=layer, position=0) for layer in range(3)]
    for _ in range(2):
        arrays = [reader.slab_array(slab) for slab in slabs]
        found = [array.compute(scheduler="threads") for array in arrays]
        direct = [reader.read_slab(slab) for slab in slabs]
        for layer in range(3):
            assert np.array_equal(found[layer], made.states["macro"][layer, 0])
            assert np.array_equal(direct[layer], made.states["macro"][layer, 0])
