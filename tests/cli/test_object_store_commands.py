"""Both stages and the commands on a store in a bucket: as on a local one."""

import numpy as np
import pytest
from called import ie_store, ie_store_json

from ie_store import open_store

ADDRESS = "s3://hidden-states/team/store"
NAME = "tiny-gpt2/rows"
COMPARED = ("block", "position", "ie_nats", "interval_nats", "macro_nats", "micro_nats", "ceiling_nats", "outcome")


@pytest.mark.slow
def test_extract_estimate_and_remove(server, store, model_folder, tokens_file):
    arguments = ("extract", ADDRESS, "--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--as", NAME)
    result = ie_store(*arguments)
    assert result.exit_code == 0, result.output
    assert ie_store(*arguments).exit_code == 0  # and again: nothing is left to do
    local, remote = open_store(store, NAME), open_store(ADDRESS, NAME)
    for name in ("macro", "micro", "token_id", "source_row"):
        assert np.array_equal(local[name].values, remote[name].values)
    assert ie_store_json("verify", ADDRESS, NAME)["faults"] == []
    assert ie_store_json("info", ADDRESS, NAME)["complete"]
    for place in (store, ADDRESS):
        result = ie_store("estimate", place, NAME, "--estimator", "cca", "--blocks", 1, "--folds", 3)
        assert result.exit_code == 0, result.output
    here, there = (ie_store_json("show", place, NAME)["estimates"] for place in (store, ADDRESS))
    assert [[e[key] for key in COMPARED] for e in here] == [[e[key] for key in COMPARED] for e in there] != []
    refused = ie_store(*arguments, "--dtype", "float32")
    assert refused.exit_code == 2
    assert "made from something else" in refused.output
    assert ie_store("rm", ADDRESS, NAME, "--yes").exit_code == 0
    assert ie_store_json("ls", ADDRESS)["datasets"] == []
