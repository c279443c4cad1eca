"""Computations recorded once and replayed, on a device that is pretended."""

import warnings

import pytest
import torch
from pretend_cuda import Graph, pretend_cuda, rounded_to_tf32

from ie_store.estimate.critics.replay import WARM_UP, Replay
from ie_store.estimate.critics.train import Average, tensor_cores

CALLS = 8


def make_inputs(call, rows=5):
    return tuple(torch.randn(rows, 3, generator=torch.Generator().manual_seed(10 * call + side)) for side in range(2))


def make_compute(weight, average):
    """A loss with a running mean in it, as a training step has, and its gradient."""

    def compute(x, y):
        scores = (x @ weight) @ y.T
        mean = average.after(scores.detach().exp().mean().view(1))
        return torch.autograd.grad((scores.exp().mean() / mean - scores.diagonal().mean()).sum(), weight)

    return compute


def gradients(device, inputs):
    """Of every call, with the parameters moving on."""
    weight = torch.eye(3).to(device).requires_grad_()
    replay, compute, found = Replay(torch.device(device)), make_compute(weight, Average()), []
    for each in inputs:
        (gradient,) = replay(compute, *(side.to(device) for side in each))
        found.append(gradient.cpu().clone())
        with torch.no_grad():
            weight -= 0.1 * gradient
    return found


def test_what_is_replayed_is_what_is_computed():
    inputs = [make_inputs(call) for call in range(CALLS)]
    wanted = gradients("cpu", inputs)
    before = Graph.replays
    with pretend_cuda():
        found = gradients("cuda:0", inputs)
    assert Graph.replays - before == CALLS - WARM_UP
    assert torch.equal(torch.stack(found), torch.stack(wanted))
    assert len({tuple(each.flatten().tolist()) for each in found}) == CALLS


def test_other_shapes_are_recorded_anew():
    inputs = [make_inputs(call, rows=5 if call < 5 else 6) for call in range(10)]
    wanted = gradients("cpu", inputs)
    before = Graph.replays
    with pretend_cuda():
        found = gradients("cuda:0", inputs)
    assert Graph.replays - before == 2 * (5 - WARM_UP)
    assert torch.equal(torch.stack(found), torch.stack(wanted))


def test_shapes_that_never_stay_are_never_recorded():
    inputs = [make_inputs(call, rows=4 + call % 2) for call in range(CALLS)]
    before = Graph.replays
    with pretend_cuda():
        found = gradients("cuda:0", inputs)
    assert Graph.replays == before
    assert torch.equal(torch.stack(found), torch.stack(gradients("cpu", inputs)))


def test_a_recorded_product_takes_its_factors_from_where_they_are():
    replay, inputs = Replay(torch.device("cuda:0")), [make_inputs(call) for call in range(CALLS)]
    with pretend_cuda() as device, tensor_cores():
        found = [replay(lambda x, y: (x @ y.T,), *(each.to(device) for each in pair))[0].cpu().clone() for pair in inputs]
    for product, (x, y) in zip(found, inputs, strict=True):
        assert torch.equal(product, rounded_to_tf32(x) @ rounded_to_tf32(y.T))


@pytest.mark.parametrize("waits", ["item", "from the CPU", "unique"])
def test_what_waits_cannot_be_recorded_and_is_computed_all_the_same(waits):
    def compute(x):
        if waits == "item":
            return (x * float(x.sum()),)
        return (x + torch.ones(3).to(x.device),) if waits == "from the CPU" else (x.unique() + 1,)

    replay, x = Replay(torch.device("cuda:0")), torch.arange(3.0)
    before = Graph.replays
    with pretend_cuda() as device, pytest.warns(RuntimeWarning, match="not permitted when stream is capturing"):
        found = [replay(compute, (x + call).to(device))[0].cpu() for call in range(CALLS)]
    assert Graph.replays == before
    assert all(torch.equal(found[call], compute(x + call)[0]) for call in range(CALLS))


def test_tensor_cores_round_factors_while_training_and_at_no_other_time():
    a, b = torch.randn(2, 40, 40, generator=torch.Generator().manual_seed(0)).unbind()
    with pretend_cuda() as device, warnings.catch_warnings():
        warnings.simplefilter("error")
        there = [each.to(device) for each in (a, b)]
        with tensor_cores():
            trained = (there[0] @ there[1]).cpu()
        tested = (there[0] @ there[1]).cpu()
    assert torch.equal(tested, a @ b)
    assert torch.equal(trained, rounded_to_tf32(a) @ rounded_to_tf32(b))
    assert 0 < (trained - tested).abs().max() < 2**-10 * (a.abs() @ b.abs()).max()
    with tensor_cores():
        assert torch.equal(a @ b, tested), "a CPU's stay as they are"


def test_tf32_keeps_eleven_bits():
    assert rounded_to_tf32(torch.tensor([1 + 2**-10, 1 + 2**-12, 1 + 2**-11 + 2**-13, -3.0])).tolist() == [
        1 + 2**-10,
        1,
        1 + 2**-10,
        -3,
    ]
