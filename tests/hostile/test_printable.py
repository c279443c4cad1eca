"""Escape sequences and markup in a store, a path or a message: shown as visible characters, never obeyed, never an error."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from called import ie_store
from made_store import make

from ie_store.estimators import estimator_spec
from ie_store.printable import printable, printable_lines
from ie_store.specs import Emergence, MIEstimate, Outcome, Problem
from ie_store.store.dataset.handle import open_dataset
from ie_store.store.results.estimate_variables import emergence_pieces, estimate_pieces
from ie_store.store.results.records import Record
from ie_store.store.results.writer import open_results

NASTY = "\x1b[31mred\x1b]0;title\x07 [/x] [bold] :smile: \x9b2J \u202egnp.exe\u200b \ud800 \r\n\x7f end"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\ud800-\udfff]")


def require_clean(result):
    for shown in (result.stdout, result.stderr):
        assert not RAW.search(shown), repr(shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 😀 \\", "plain é 漢 😀 \\"),
        ("\x1b[31m", r"\x1b[31m"),
        ("a\nb\tc\r\x00\x7f\x9b", r"a\nb\tc\r\x00\x7f\x9b"),
        ("\u202eabc\u2066\u200b\ufeff\u2028", r"\u202eabc\u2066\u200b\ufeff\u2028"),
        ("\ud800\u3164\u00ad\U000e0041\ufe0f", r"\ud800\u3164\xad\U000e0041\ufe0f"),
    ],
)
def test_what_cannot_be_seen_is_escaped(text, shown):
    assert printable(text) == shown


@pytest.mark.slow
def test_no_code_point_passes_raw():
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        assert shown.isprintable(), hex(code)


def test_long_texts_are_cut():
    assert printable("x" * 50, longest=10) == "x" * 10 + "... (40 more characters)"
    assert len(printable("\x1b" * 2**20)) < 50_000


def test_later_lines_of_a_message_are_indented():
    assert printable_lines("a\nerror: b\n  c\x1b") == "a\n  error: b\n  c\\x1b"


@pytest.fixture
def store(tmp_path):
    """A dataset, and its results, whose every free text is nasty; in a folder that is."""
    made = make(tmp_path / "store [/x] \x1b[31m")
    made.identity = replace(made.identity, model=replace(made.identity.model, id=NASTY, attention=NASTY), recipe=NASTY)
    made.corpus = replace(made.corpus, recipe=NASTY, dropped=((NASTY, 2),))
    with made.open_writer(session={"versions": {NASTY: NASTY}}):
        pass
    made.write()
    plant_results(made)
    unfinished = make(made.store, "model/unfinished")
    unfinished.write(complete=False)
    with unfinished.open_writer() as writer:
        writer.mark_incomplete(NASTY)
    strange = Path(made.path, "\x1b[31m[bold]\x1b[0m")
    strange.mkdir()
    (strange / "zarr.json").write_text('{"node_type": "array"}')
    broken = make(made.store, "model/broken").write()
    document = Path(broken.path, "zarr.json")
    document.write_text(document.read_text().replace('"recipe": "r"', '"recipe": "\\u001b[31m[/x]"'))
    return made


def plant_results(made):
    common = {"estimator": "noise", "ceiling_population_nats": None, "outcome": Outcome.CONVERGED, "flags": (NASTY, "[/x]")}
    numbers = {"interval_nats": (0.0, 1.0), "standard_error_nats": 0.1, "ceiling_nats": 2.0}
    estimate = MIEstimate(nats=1.0, **numbers, **common)
    emergence = Emergence(block=0, position=0, ie_nats=0.5, macro_nats=1.0, micro_nats=0.5, **numbers, **common)
    results = open_results(open_dataset(made.store, made.name), estimator_spec("noise").identity)
    pieces = estimate_pieces({Problem(level=level, block=0, position=0): estimate for level in ("macro", "micro")})
    with results.hold_run():
        results.commit(Record(item="all", session={NASTY: NASTY}, flags={}, pieces=tuple(pieces)))
        results.assemble(lambda arrays, flags: (emergence_pieces([emergence]), {"ie/0/0": emergence.flags}))


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["ls"], 0),
        (["info", "model/corpus"], 0),
        (["info", "model/unfinished"], 0),
        (["info", "model/broken"], 2),
        (["show", "model/corpus"], 0),
        (["verify", "model/corpus"], 2),
        (["estimate", "model/corpus", "--estimator", "exact"], 0),
        (["estimate", "model/unfinished", "--estimator", "exact"], 2),
        (["info", NASTY], 2),
        (["rm", "model/corpus", "--yes"], 0),
    ],
)
def test_commands_show_it_escaped(store, command, code, json):
    verb, *rest = command
    if json and verb == "rm":
        pytest.skip("rm prints no JSON")
    result = ie_store(verb, store.store, *rest, *(["--json"] if json else []))
    assert result.exit_code == code, result.output
    require_clean(result)
    if verb == "show" and not json:
        assert r"\x1b[31mred\x1b]0;title\x07 [/x] [bold] :smile: \x9b2J \u202egnp.exe\u200b \ud800 \r\n\x7f end" in result.stdout


def test_extract_and_plan_in_a_folder_called_markup(tmp_path):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    folder = tmp_path / "model [/x]"
    GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=1, n_head=2)).save_pretrained(folder)
    rows = tmp_path / "rows [bold] [/x] \x1b[31m.npy"
    rows.parent.mkdir(parents=True)
    np.save(rows, np.random.default_rng(0).integers(0, 32, (20, 3)))
    place = tmp_path / "store [/x] \x1b[2J"
    arguments = [place, "--model", folder, "--corpus", f"tokens:{rows}", "--as", "m/c"]
    for command in ("plan", "extract", "extract"):
        result = ie_store(command, *arguments)
        assert result.exit_code == 0, result.output
        assert command == "plan" or "/x]" in result.stdout or "complete already" in result.stdout
        require_clean(result)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [[b"ls", b"/nowhere/\xff[/x]\x1b"], [b"ls", b"x", b"[/x]\xff\x1b"], [b"[/x]\xff"]])
def test_bytes_that_are_no_text_on_the_command_line(arguments):
    program = [sys.executable.encode(), b"-m", b"ie_store_cli.main", *arguments]
    done = subprocess.run(program, capture_output=True, timeout=60)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert not re.search(rb"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr), done.stderr
