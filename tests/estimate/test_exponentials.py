"""Sums of exponentials without denormal numbers, against torch's own in float64."""

import pytest
import torch

from ie_store.estimate.exponentials import log_sum_exp, log_sum_exp_, softmax_


@pytest.mark.parametrize("spread", [1.0, 30.0, 300.0])  # the last has exponentials far below the least float32
@pytest.mark.parametrize("dim", [0, 1])
def test_softmax_and_its_logarithm(spread, dim):
    values = spread * torch.randn(40, 60, generator=torch.Generator().manual_seed(0))
    truth, shares = values.double().logsumexp(dim), values.double().softmax(dim)
    log_sums, found = softmax_(values.clone(), dim)
    for one in (log_sums, log_sum_exp_(values.clone(), dim)):
        torch.testing.assert_close(one.double(), truth, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(found.double(), shares, rtol=1e-5, atol=1e-30)
    asked = values.clone().requires_grad_()
    log_sum_exp(asked, dim).sum().backward()
    torch.testing.assert_close(asked.grad.double(), shares, rtol=1e-5, atol=1e-30)
