"""Work on single threads: order, errors, and what is left behind."""

import threading
import time

import pytest
import torch

from ie_store.estimate.device import each_on_one_thread

CPU = torch.device("cpu")


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_of_one_thread_each(threads):
    found = list(each_on_one_thread(lambda item: (item, torch.get_num_threads()), range(50), CPU))
    assert found == [(item, 1) for item in range(50)]
    assert torch.get_num_threads() == threads


def test_no_more_are_computed_at_once_than_asked():
    running, most = [], []

    def compute(item):
        running.append(item)
        most.append(len(running))
        time.sleep(0.002)
        running.remove(item)
        return torch.get_num_threads()

    before = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        for at_once in (1, 2, 9):
            most.clear()
            assert list(each_on_one_thread(compute, range(20), CPU, at_once)) == 20 * [1]
            assert max(most) == min(at_once, 4)
    finally:
        torch.set_num_threads(before)


def test_items_are_taken_as_they_are_needed(threads):
    taken = []
    results = each_on_one_thread(lambda item: item, (taken.append(item) or item for item in range(1000)), CPU)
    assert next(results) == 0
    assert len(taken) <= 2 * threads + 1
    results.close()


def test_an_error_ends_the_work_and_leaves_no_thread(threads):
    done = []

    def compute(item):
        done.append(item)
        if item == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        list(each_on_one_thread(compute, range(1000), CPU))
    assert len(done) < 100
    assert torch.get_num_threads() == threads
    assert not any(thread.name.startswith("compute") for thread in threading.enumerate())
