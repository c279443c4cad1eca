"""Every estimator and profile on a pretended CUDA device: the branches of CUDA run, nothing is mixed, values are the CPU's."""

import warnings
from contextlib import nullcontext
from dataclasses import fields

import numpy as np
import pytest
import torch
from known_store import NAME, random_tokens, write_store
from pretend_cuda import Graph, Pretended, pretend_cuda

from ie_store.estimate.critics import train
from ie_store.estimate.critics.replay import WARM_UP
from ie_store.estimate.critics.residual import STEPS_SHARE
from ie_store.estimate.critics.rows import PairedSlabs
from ie_store.estimate.estimators.cross_fit import cross_fit
from ie_store.estimate.profile import profile
from ie_store.estimate.run import estimate
from ie_store.estimators import ESTIMATORS, estimator_spec
from ie_store.options import EstimateSpec, ProfileSpec

NAMES = [
    pytest.param(row.name, marks=pytest.mark.slow if row.trained and row.name != "cca" else ())
    for row in ESTIMATORS
    if row.needs_states and row.require_consent is None
]
SHORT = {"steps": 20, "folds": 2, "max_draws": 64}
"""Where an estimator has such an option: every operation passes through Python."""


def test_tensors_of_both_devices_do_not_meet():
    with pretend_cuda() as device:
        there = torch.ones(3, device=device)
        assert there.device == device
        assert (there + 1).tolist() == [2, 2, 2]
        assert (there.cpu() + torch.ones(3)).numpy().tolist() == [2, 2, 2]
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.ones(3)
        with pytest.raises((TypeError, RuntimeError)):
            there.numpy()
        weight = torch.zeros(3, device=device).requires_grad_()
        ((weight - there) ** 2).sum().backward()
        assert isinstance(weight.grad, Pretended)


@pytest.mark.parametrize("name", NAMES)
def test_an_estimator_gives_on_the_device_what_it_gives_on_the_cpu(tmp_path, name):
    tokens = random_tokens(80)
    here, there = (write_store(tmp_path / device, tokens) for device in ("cpu", "cuda"))
    known = {field.name for field in fields(estimator_spec(name).options)}
    spec = estimator_spec(name, **{option: value for option, value in SHORT.items() if option in known})
    options = {"name": NAME, "estimators": (spec,), "blocks": "0", "positions": "0"}
    wanted = estimate(EstimateSpec(store=here, device="cpu", **options))
    with pretend_cuda():
        found = estimate(EstimateSpec(store=there, device="cuda:0", **options))
    assert [e.outcome for e in found] == [e.outcome for e in wanted]
    np.testing.assert_allclose([e.macro_nats for e in found], [e.macro_nats for e in wanted], atol=1e-3)
    np.testing.assert_allclose([e.micro_nats for e in found], [e.micro_nats for e in wanted], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mine", "infonce", "nwj", "smile", "js"])
def test_replayed_training_steps_change_no_bit_and_rounded_factors_do(name, monkeypatch):
    spec = estimator_spec(name, steps=48, folds=1, batch_size=64)
    x = torch.randn(600, 1, generator=torch.Generator().manual_seed(0))
    y = x.abs() + 0.5 * torch.randn(600, 1, generator=torch.Generator().manual_seed(1))  # no linear critic sees it

    def there():
        with pretend_cuda() as device, warnings.catch_warnings():
            warnings.simplefilter("error")  # of a step that cannot be recorded
            return cross_fit(PairedSlabs.of([x.to(device)], [y.to(device)]), spec, groups=np.arange(600))[0]

    rounded = there()
    monkeypatch.setattr(train, "tensor_cores", nullcontext)
    replays, found = Graph.replays, there()
    (wanted,) = cross_fit(PairedSlabs.of([x], [y]), spec, groups=np.arange(600))
    residual_steps = 48 // STEPS_SHARE if name == "mine" else WARM_UP
    assert Graph.replays - replays == 48 - WARM_UP + residual_steps - WARM_UP
    assert found.diagnostics["best_step"] == wanted.diagnostics["best_step"] == 48
    assert found.nats == wanted.nats
    assert rounded.nats != wanted.nats
    assert rounded.nats == pytest.approx(wanted.nats, abs=wanted.standard_error_nats)


def test_profiles_give_on_the_device_what_they_give_on_the_cpu(tmp_path):
    tokens = random_tokens(1200)
    here, there = (write_store(tmp_path / device, tokens) for device in ("cpu", "cuda"))
    wanted = profile(ProfileSpec(store=here, name=NAME, layers="1,2", device="cpu"))
    with pretend_cuda():
        found = profile(ProfileSpec(store=there, name=NAME, layers="1,2", device="cuda:0"))
    assert found.keys() == wanted.keys()
    for name, arrays in wanted.items():
        for variable, (_, values) in arrays.items():
            np.testing.assert_allclose(found[name][variable][1], values, rtol=1e-3, atol=1e-5, err_msg=f"{name} {variable}")
