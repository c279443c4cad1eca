"""What every command has: version, completion, quiet, a log, errors as JSON, defaults from the environment; and `ls` in full."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from called import ie_store, ie_store_json
from made_store import make


@pytest.fixture
def made(tmp_path):
    return make(tmp_path / "made").write()


@pytest.fixture
def several(tmp_path):
    store = tmp_path / "s"
    for name, day, user, rows in (("gpt/one", 3, "ada", 21), ("gpt/two", 1, "bob", 40), ("llama/one", 2, "ada", 30)):
        made = make(store, name, rows=rows)
        session = {"started": f"2026-01-0{day}T00:00:00+00:00", "user": user, "versions": {"ie-store": "0.1.0", "torch": "2.13"}}
        with made.open_writer(session=session) as writer:
            for level in ("micro", "macro"):
                for index in writer.missing_shards(level):
                    writer.write_shard(made.layout.shard(level, index), made.shard_states(level, index))
            writer.mark_complete({"rows": 2, "relative_error": {"0": 0.0}})
    return str(store)


def test_the_version_is_the_packages():
    result = ie_store("--version")
    assert (result.exit_code, result.stdout) == (0, f"ie-store {version('ie-store')}\n")


@pytest.mark.parametrize(("words", "found"), [("ie-store ver", "verify"), ("ie-store ls --so", "--sort")])
def test_the_shell_completes_commands_and_options(words, found):
    program = "import sys; sys.argv = ['ie-store']; from ie_store_cli.main import main; main()"
    environment = {"_IE_STORE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=os.environ | environment
    )  # fmt: skip
    assert found in done.stdout.split(), done.stderr
    assert "--show-completion" in ie_store("--help").stdout


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["info", "model/none"], "StoreError", "is not a dataset"),
        (["info", "none"], "InputError", "is not MODEL/CORPUS"),
        (["show", "model/corpus", "--against"], "UsageError", ""),
        (["estimate", "model/corpus", "--estimator", "mine", "--folds", "many"], "UsageError", "--folds"),
    ],
)
def test_errors_are_json_where_json_is_asked_for(made, arguments, kind, message):
    verb, *rest = arguments
    plain, asked = ie_store(verb, made.store, *rest), ie_store(verb, made.store, *rest, "--json")
    assert plain.exit_code == asked.exit_code == 2
    assert asked.stdout == ""
    error = json.loads(asked.stderr)["error"]
    assert error["exit_code"] == 2
    assert error["kind"] == kind or kind == "UsageError"
    assert message in error["message"]
    with pytest.raises(json.JSONDecodeError):
        json.loads(plain.stderr)


def test_a_run_is_logged(made, tmp_path):
    log = tmp_path / "log.txt"
    assert ie_store("--log-file", log, "--quiet", "verify", made.store, made.name).exit_code == 0
    assert ie_store("--log-file", log, "info", made.store, "model/n\x1b").exit_code == 2
    lines = log.read_text().splitlines()
    assert [line.split(" ", 1)[1].split(":")[0] for line in lines] == ["began", "ended", "began", "ended"]
    assert lines[0].endswith(f"began: ie-store --log-file {log} --quiet verify {made.store} {made.name}")
    assert lines[1].endswith("ended: done")
    assert "InputError" in lines[3]
    assert "\x1b" not in log.read_text()
    refused = ie_store("--log-file", tmp_path, "ls", made.store)
    assert refused.exit_code == 2
    assert "cannot be written" in refused.stderr


def test_progress_goes_to_the_log_and_quiet_keeps_it_from_the_terminal(made, tmp_path, monkeypatch):
    monkeypatch.setattr("ie_store_cli.progress.SECONDS_BETWEEN_LINES", -1.0)
    assert "verif" in ie_store("verify", made.store, made.name).stderr
    log = tmp_path / "log.txt"
    result = ie_store("--quiet", "--log-file", log, "verify", made.store, made.name)
    assert result.stderr == ""
    assert len(log.read_text().splitlines()) > 2


def test_defaults_come_from_the_environment(made, monkeypatch):
    monkeypatch.setenv("IE_STORE_DEVICE", "nonsense")
    refused = ie_store("estimate", made.store, made.name, "--estimator", "noise")
    assert "device 'nonsense' is not known" in refused.stderr
    assert ie_store("estimate", made.store, made.name, "--estimator", "exact", "--device", "cpu").exit_code == 0
    monkeypatch.setenv("IE_STORE_QUIET", "1")
    assert ie_store("verify", made.store, made.name).stderr == ""


def test_ls_says_when_by_whom_and_with_what(several):
    shown = ie_store("ls", several).stdout
    assert all(text in shown for text in ("2026-01-03", "ada", "bob", "0.1.0"))
    assert max(map(len, shown.splitlines())) <= 80
    first = ie_store_json("ls", several)["datasets"][0]
    assert (first["written"], first["user"]) == ("2026-01-03T00:00:00+00:00", "ada")
    assert first["versions"] == {"ie-store": "0.1.0", "torch": "2.13"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["gpt/one", "gpt/two", "llama/one"]),
        (["--sort", "written"], ["gpt/one", "llama/one", "gpt/two"]),
        (["--sort", "sequences"], ["gpt/two", "llama/one", "gpt/one"]),
        (["--matching", "ADA"], ["gpt/one", "llama/one"]),
        (["--matching", "two", "--sort", "size"], ["gpt/two"]),
        (["--matching", "nothing of this"], []),
    ],
)
def test_ls_sorts_and_filters(several, options, names):
    assert [one["name"] for one in ie_store_json("ls", several, *options)["datasets"]] == names


def test_ls_refuses_an_order_that_it_does_not_know(several):
    assert ie_store("ls", several, "--sort", "colour").exit_code == 2


def test_help_says_whose_default_is_another():
    told = " ".join(ie_store("estimate", "--help").output.replace("│", " ").split())
    assert "decode (default 4): cross-fitting folds" in told


def test_a_default_of_another_estimator_is_no_mistake(made, monkeypatch):
    monkeypatch.setenv("IE_STORE_SIGMA", "2")
    monkeypatch.setenv("IE_STORE_ROWS", "1000")
    assert ie_store("estimate", made.store, made.name, "--estimator", "exact").exit_code == 0
    assert ie_store("profile", made.store, made.name, "--profile", "spectrum").exit_code == 0
    refused = ie_store("estimate", made.store, made.name, "--estimator", "exact", "--sigma", "4")
    assert "--sigma is an option of noise, not of exact" in refused.stderr
