"""Both stages through the command line, as a user runs them."""

from pathlib import Path

import numpy as np
import pytest
from called import ie_store, ie_store_json

from ie_store.estimators import DEFAULTS

NAME = "tiny-gpt2/rows"


def test_plan_writes_nothing(tmp_path: Path, model_folder: Path, tokens_file: Path) -> None:
    planned = ie_store("plan", tmp_path / "new", "--model", model_folder, "--corpus", f"tokens:{tokens_file}")
    assert planned.exit_code == 0, planned.output
    assert "200" in planned.output
    assert not (tmp_path / "new").exists()


def test_plan_refuses_a_name_that_something_else_has(store: Path, model_folder: Path, tokens_file: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    arguments = ("--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--as", NAME, "--dtype", "float32")
    refused = ie_store("plan", store, *arguments)
    assert refused.exit_code == 2
    assert "layout.stored_dtype: stored 'float16', asked 'float32'" in refused.output
    assert "--replace" in refused.output
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    assert ie_store("plan", store, *arguments, "--replace").exit_code == 0


def test_look_at_a_store(store: Path) -> None:
    assert [dataset["name"] for dataset in ie_store_json("ls", store)["datasets"]] == [NAME]
    assert NAME in ie_store("ls", store).output
    described = ie_store_json("info", store, NAME)
    assert described["complete"]
    assert described["corpus"]["num_sequences"] == 200
    assert max(described["audit"]["relative_error"].values()) < 1e-3  # float16 keeps 11 bits
    assert "relative error" in ie_store("info", store, NAME).output
    assert ie_store_json("verify", store, NAME)["faults"] == []


def test_second_extract_has_nothing_to_do(store: Path, model_folder: Path, tokens_file: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in store.rglob("c/*") if path.is_file()}
    arguments = ("--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--as", NAME)
    assert ie_store("extract", store, *arguments).exit_code == 0
    assert before == {path: path.stat().st_mtime_ns for path in store.rglob("c/*") if path.is_file()}


def test_estimate_and_show(store: Path, tokens_file: Path) -> None:
    shown = ie_store_json("estimate", store, NAME, "--estimator", "cca", "--estimator", "noise", "--blocks", "0,2")
    assert {"model", "corpus", "estimates", "run"} <= shown.keys()
    assert 0 <= shown["run"]["waiting_share"] <= 1
    rows = shown["estimates"]
    assert {(row["estimator"], row["block"]) for row in rows if row["estimator"] != "exact"} == {
        (name, block) for name in ("cca", "noise") for block in (0, 2)
    }
    exact = next(row for row in rows if row["estimator"] == "exact" and row["block"] == 2 and row["position"] == 3)
    tokens = np.load(tokens_file)
    micro = np.mean([_entropy(column) for column in tokens.T])
    assert abs(exact["ie_nats"] - (_entropy(tokens) - micro)) < 1e-9
    table = ie_store("show", store, NAME)
    assert table.exit_code == 0
    assert "bits" in table.output


@pytest.mark.slow
def test_three_readings_run_where_none_is_named(store: Path) -> None:
    shown = ie_store_json("estimate", store, NAME, "--blocks", "1", "--steps", "20")
    assert {"exact", *DEFAULTS} == {"exact", "noise", "decode", "mine"}
    assert set(DEFAULTS) <= {row["estimator"] for row in shown["estimates"] if row["block"] == 1}


def test_a_time_limit_ends_with_what_is_done(store: Path) -> None:
    arguments = ("estimate", store, NAME, "--estimator", "noise", "--sigma", "0.5", "--blocks", "1")
    result = ie_store(*arguments, "--time-limit", "0.001s")
    assert result.exit_code == 0, result.output
    assert "stopped at the time limit of 0.001s: " in result.stderr
    assert "the same command goes on from there" in result.stderr
    assert ie_store(*arguments).stderr == ""
    refused = ie_store(*arguments, "--time-limit", "soon")
    assert refused.exit_code == 2
    assert "30m" in refused.stderr


def test_a_planned_estimate_says_what_it_should_cost_and_writes_nothing(store: Path) -> None:
    before = sorted(store.rglob("*"))
    arguments = ("estimate", store, NAME, "--estimator", "cca", "--seed", "7", "--plan")
    planned = ie_store(*arguments)
    assert planned.exit_code == 0, planned.output
    assert "forecast time" in planned.output
    assert "forecast memory" in planned.output
    assert "at most 900.0 MB beside what is loaded (--memory)" in ie_store(*arguments, "--memory", "900MB").output
    refused = ie_store(*arguments, "--memory", "1MB")
    assert refused.exit_code == 2
    assert "cca needs at least" in refused.stderr
    found = ie_store_json(*arguments)
    assert found["num_problems"] >= 3 * (1 + 4)
    assert found["forecast"]["seconds"]["low"] <= found["forecast"]["seconds"]["high"]
    assert sorted(store.rglob("*")) == before


@pytest.mark.slow
def test_strict_exits_with_three(store: Path) -> None:
    result = ie_store("estimate", store, NAME, "--estimator", "infonce", "--blocks", "1", "--steps", "50", "--strict")
    flagged = any(row["outcome"] not in ("exact", "certified", "converged") for row in _infonce(store))
    assert result.exit_code == (3 if flagged else 0), result.output


def test_remove(tmp_path: Path, model_folder: Path, tokens_file: Path) -> None:
    store = tmp_path / "store"
    arguments = ("--model", model_folder, "--corpus", f"tokens:{tokens_file}", "--num-sequences", 60, "--as", "a/b")
    assert ie_store("extract", store, *arguments).exit_code == 0
    assert ie_store("rm", store, "a/b", "--yes").exit_code == 0
    assert ie_store_json("ls", store)["datasets"] == []


def _infonce(store: Path) -> list[dict]:
    return [row for row in ie_store_json("show", store, NAME)["estimates"] if row["estimator"] == "infonce"]


def _entropy(outcomes: np.ndarray) -> float:
    counts = np.unique(outcomes, axis=0, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log(shares)).sum())
