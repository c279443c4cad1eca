"""Rows in memory, on disk, and chosen from either: the same rows, whoever asks, and no file that anyone sees."""

import errno
import gc
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pretend_cuda import Sent, pretend_cuda

from ie_store.errors import DiskSpaceError
from ie_store.estimate.disk_rows import DiskRows
from ie_store.estimate.exact.row_hashes import classes_of, row_hashes
from ie_store.estimate.stored_rows import ChosenRows, HeldRows, Room

CPU = torch.device("cpu")
DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def values(dtype, rows=50, width=7):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(1)).to(dtype)


def kept(room, tensor, size=16):
    rows = room.make(len(tensor), tensor.shape[1], tensor.dtype)
    for start in range(0, len(tensor), size):
        part = tensor[start : start + size]
        memory = rows.memory(start, start + len(part))
        memory.copy_(part)
        rows.write(start, memory)
    return rows


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_bytes", [None, 0])
def test_rows_come_back_as_they_were(dtype, num_bytes, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tensor = values(dtype)
    rows = kept(Room(CPU, num_bytes), tensor)
    assert isinstance(rows, HeldRows if num_bytes is None else DiskRows)
    assert (len(rows), rows.width, rows.device) == (50, 7, CPU)
    for index in ([3], [49, 0, 1, 2, 17], [5, 5, 4, 5], list(range(50)), []):
        asked = torch.tensor(index, dtype=torch.int64)
        assert rows.take(asked).equal(tensor[asked])
        assert ChosenRows(rows, torch.arange(49, -1, -1)).take(asked).equal(tensor.flip(0)[asked])
    for here in (slice(0, 1), slice(10, 30), slice(45, 60), slice(None), slice(50, 50)):
        assert rows.tile(here).equal(tensor[here])
        assert ChosenRows(rows, torch.arange(0, 50, 2)).tile(here).equal(tensor[::2][here])
        assert rows.tile(here).dtype == dtype
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_to_disk_is_put_together_in_one_place():
    """With new memory for every part, a whole slab stayed where small results lay between the parts."""
    rows = Room(CPU, 0).make(50, 7, torch.float16)
    first = rows.memory(0, 16)
    assert rows.memory(16, 32).data_ptr() == rows.memory(32, 36).data_ptr() == first.data_ptr()
    assert rows.memory(32, 36).shape == (4, 7)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(rows.memory, 0, 16).result().data_ptr() != first.data_ptr()


@pytest.mark.parametrize("num_bytes", [None, 0])
def test_rows_go_to_a_gpu_from_pinned_memory(num_bytes, monkeypatch):
    monkeypatch.setattr(Sent, "from_pinned", 0)
    monkeypatch.setattr(Sent, "from_other", 0)
    tensor, index = values(torch.float16), torch.tensor([5, 3, 5, 49])
    with pretend_cuda() as device:
        rows = kept(Room(device, num_bytes), tensor)
        assert isinstance(rows, HeldRows if num_bytes is None else DiskRows)
        assert rows.tile(slice(None)).cpu().equal(tensor)
        assert rows.take(index.to(device)).cpu().equal(tensor[index])
    assert Sent.from_pinned == (tensor.nbytes if num_bytes is None else tensor.nbytes + tensor[:3].nbytes)
    assert Sent.from_other <= 2 * index.nbytes  # numbers of rows alone


def test_a_room_keeps_to_its_bytes_and_gets_them_back():
    room = Room(CPU, 1000)
    first, second = (room.make(10, 10, torch.float32) for _ in range(2))
    assert isinstance(first, HeldRows)
    assert isinstance(second, HeldRows)
    assert isinstance(room.make(10, 10, torch.float32), DiskRows)
    del first
    gc.collect()
    assert isinstance(room.make(10, 10, torch.float32), HeldRows)


def test_rows_leave_free_what_is_only_lent():
    room = Room(CPU, 1000, lent_bytes=400)
    rows = room.make(10, 15, torch.float32)
    assert isinstance(rows, HeldRows)
    assert isinstance(room.make(1, 1, torch.float32), DiskRows)
    with room.lend(200, 9) as lent:
        assert lent == 2
        del rows
        gc.collect()
        assert isinstance(room.make(10, 15, torch.float32), HeldRows)  # nothing more is to be left free
    assert isinstance(room.make(10, 15, torch.float32), HeldRows)
    assert isinstance(Room(CPU, 300, lent_bytes=400).make(1, 1, torch.float32), DiskRows)


def test_memory_that_is_lent_is_not_there_for_rows_meanwhile():
    room = Room(CPU, 1000)
    with room.lend(300, 9) as lent, room.lend(50, 1) as small:
        assert (lent, small) == (3, 1)
        assert isinstance(room.make(10, 10, torch.float32), DiskRows)
    assert isinstance(room.make(10, 25, torch.float32), HeldRows)
    with room.lend(300, 2) as lent:
        assert lent == 2
    with room.lend(1001, 2) as lent:
        assert lent == 0
    with Room(CPU).lend(10**15, 7) as lent:
        assert lent == 7


def test_a_full_disk_is_told_before_anything_is_written(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DiskSpaceError, match=r"400 bytes of states.*No space.*TMPDIR.*--memory"):
        DiskRows(10, 10, torch.float32, CPU)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.uint16, np.uint8])
@pytest.mark.parametrize("width", [1, 3, 8, 577])
def test_hashes_are_equal_where_rows_are(dtype, width):
    rng = np.random.default_rng(width)
    rows = rng.integers(0, 2, (2000, width)).astype(dtype) if width < 10 else rng.standard_normal((2000, width)).astype(dtype)
    rows[1000:1500] = rows[:500]
    classes = classes_of(row_hashes(rows))
    numbers = np.unique(rows, axis=0, return_inverse=True)[1].ravel()
    assert len(np.unique(np.stack([classes, numbers]), axis=1).T) == len(np.unique(numbers)) == len(np.unique(classes))


def test_hashes_tell_single_bits_apart():
    rows = np.zeros((8 * 64 + 1, 64), np.uint8)
    for bit in range(8 * 64):
        rows[bit, bit // 8] = 1 << bit % 8
    assert classes_of(row_hashes(rows)) is None
    assert len(np.unique(classes_of(row_hashes(np.concatenate([rows, rows[7:8]]))))) == len(rows)


def test_hashes_that_share_a_half_are_not_equal():
    hashes = np.array([[5, 1], [7, 1], [5, 2], [9, 3]], np.uint64)
    assert classes_of(hashes) is None
    twice = classes_of(np.concatenate([hashes, hashes[2:3]]))
    assert twice is not None
    assert len(np.unique(twice)) == 4
    assert twice[2] == twice[4]
