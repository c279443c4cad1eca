"""Tables with rows that training never sees, as the tokens of a text: exact values by counting."""

import numpy as np
import pytest

from ie_store.estimate.mutual_information import mutual_information
from ie_store.specs import Outcome

NUM_TOKENS, NUM_SEQUENCES, SIZE = 700, 4000, 48


@pytest.fixture(scope="module")
def text():
    """(sequence, dimension) states of drawn tokens, a few of which are most of the text and many of which stand in it once."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, NUM_TOKENS + 1) ** 1.1
    tokens = rng.choice(NUM_TOKENS, NUM_SEQUENCES, p=shares / shares.sum())
    x = rng.standard_normal((NUM_TOKENS, SIZE)).astype(np.float32)
    y = (x @ rng.standard_normal((SIZE, SIZE)) / SIZE**0.5 + 0.3 * rng.standard_normal((NUM_TOKENS, SIZE))).astype(np.float32)
    counts = np.unique(tokens, return_counts=True)[1] / NUM_SEQUENCES
    assert (counts == 1 / NUM_SEQUENCES).sum() > 100
    return x[tokens], y[tokens], -float(counts @ np.log(counts))


@pytest.mark.parametrize("estimator", ["mine", "js"])
def test_a_token_that_was_never_seen_does_not_decide_the_value_of_a_text(text, estimator):
    x, y, entropy = text
    found = mutual_information(x, y, estimator=estimator)
    assert found.ceiling_nats == pytest.approx(entropy, rel=1e-9)
    assert 0.9 * entropy < found.nats < entropy
    assert found.outcome is Outcome.CONVERGED
    assert found.diagnostics["steps"] == 0


@pytest.mark.parametrize("is_whole", [True, False])
def test_where_training_sees_every_token_it_closes_what_is_missing(is_whole):
    """Tokens in a curve that no linear critic follows: what it lacks is not chance, and not rows that were never seen."""
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, 61) ** 1.1
    shares /= shares.sum()
    x = rng.standard_normal((60, 14)).astype(np.float32)
    y = (np.tanh(2 * x @ rng.standard_normal((14, 14)) / 14**0.5) + 0.45 * rng.standard_normal((60, 14))).astype(np.float32)
    tokens = np.repeat(np.arange(60), np.round(shares * 3000).astype(int))
    given = {"x": x, "y": y, "weights": shares} if is_whole else {"x": x[tokens], "y": y[tokens]}
    found = mutual_information(**given, estimator="mine")
    assert found.diagnostics["steps"] > 0
    assert found.nats > 0.96 * found.ceiling_nats
