"""What the documents say is what the code has: names, options, figures, links, commands."""

import ast
import itertools
import json
import math
import re
import shlex
from collections import Counter
from dataclasses import fields
from pathlib import Path
from statistics import median

import numpy as np
import pytest
import typer
from ie_store_cli.main import app

import ie_store
from ie_store.estimate.exact.entropies import ceilings_listed
from ie_store.estimators import ESTIMATORS, NAMES, option_names
from ie_store.profiles import PROFILES, profile_option_names
from ie_store.specs import NATS_PER_BIT, Emergence, MIEstimate, Outcome

ROOT = Path(__file__).parents[2]
SCIENCE, BENCHMARKS = (ROOT / "docs" / name for name in ("science.md", "benchmarks.md"))
README = ROOT / "README.md"
DOCUMENTS = (README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
SHIPPED = [
    path
    for folder in ("ie_store", "cli", "docs", "schemas", "benchmarks", "tests")
    for path in sorted((ROOT / folder).rglob("*"))
    if path.suffix in (".py", ".md", ".json") and path != Path(__file__)
] + [path for path in sorted(ROOT.iterdir()) if path.suffix in (".md", ".toml", ".txt") or path.name == "Makefile"]
UNSHIPPED = re.compile(r"\b(SCIENCE|HOUSE|STYLE|PEERS)\b|\bshared/")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ANY_DOCUMENT = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)


def section(path, title):
    """The text below a heading, up to the next of its rank."""
    text = path.read_text()
    head = re.search(rf"^(#+) {re.escape(title)}$", text, re.MULTILINE)
    assert head, f"{path.name} has no heading {title!r}"
    rest = text[head.end() :]
    following = re.search(rf"^#{{1,{len(head[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def table(text):
    """Rows of the first table in ``text``, the heading first, each a list of cells."""
    lines = list(itertools.takewhile(lambda line: line.startswith("|"), text[text.index("\n|") + 1 :].splitlines()))
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [cells[0], *cells[2:]]


def numbers(text):
    return [float(number.replace(",", "")) for number in re.findall(r"-?\d[\d,]*\.?\d*", text)]


def blocks(path, *languages):
    return [text for language, text in FENCE.findall(path.read_text()) if language in languages]


def result(name):
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def headings(path):
    return re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)


# science.md


def test_science_lists_the_table_of_estimators():
    heading, *rows = table(section(SCIENCE, "Estimators"))
    assert heading == ["name", "guarantee", "trained", "needs states", "your own arrays", "options"]
    yes = {True: "yes", False: "no"}
    assert rows == [
        [
            f"`{row.name}`",
            row.guarantee,
            yes[row.trained],
            yes[row.needs_states],
            yes[row.measure_arrays is not None],
            ", ".join(f"`{name}`" for name in option_names(row.name)) or "none",
        ]
        for row in ESTIMATORS
    ]


def test_science_lists_the_table_of_profiles():
    def count(row, dimension):
        number = sum(variable.dimensions[0] == dimension for variable in row.variables)
        return f"{number} variables" if number else "none"

    rows = table(section(SCIENCE, "Profiles"))[1:]
    assert rows == [
        [
            f"`{row.name}`",
            count(row, "layer"),
            count(row, "block"),
            ", ".join(f"`{name}`" for name in profile_option_names(row.name)),
        ]
        for row in PROFILES
    ]


def test_science_has_a_paragraph_on_every_estimator_and_on_no_other():
    found = re.findall(r"^- \*\*`([^`]+)`\*\*", section(SCIENCE, "Estimators"), re.MULTILINE)
    assert found == list(NAMES)


@ANY_DOCUMENT
def test_documents_ask_for_estimators_that_exist(path):
    text = path.read_text()
    asked = re.findall(r"""--estimator[= ]([\w-]+)|estimator(?:_spec)?\(?=?["']([\w-]+)["']""", text)
    assert {name for pair in asked for name in pair if name} <= set(NAMES)


def test_science_has_every_outcome():
    rows = table(section(SCIENCE, "Outcomes"))[1:]
    assert [row[0] for row in rows] == [f"`{outcome.value}`" for outcome in Outcome]


def test_science_says_what_a_result_carries():
    text = section(SCIENCE, "What a result carries")
    missing = [item.name for kind in (MIEstimate, Emergence) for item in fields(kind) if f"`{item.name}`" not in text]
    assert not missing


def test_the_worked_example_is_right():
    names, shots = "ABC", 2
    rows = [[token for name in chosen for token in (name, ",")] for chosen in itertools.permutations(names, shots)]
    heading, *lines = table(section(SCIENCE, "A worked example"))
    said = {line[0]: [float(cell) for cell in line[1:]] for line in lines}

    def entropy(things):
        counts = Counter(things)
        return -sum(n / len(things) * math.log2(n / len(things)) for n in counts.values())

    prefix = [entropy([tuple(row[: t + 1]) for row in rows]) for t in range(2 * shots)]
    token = [entropy([row[t] for row in rows]) for t in range(2 * shots)]
    micro = [sum(token[: t + 1]) / (t + 1) for t in range(2 * shots)]
    exact = {
        "H(prefix)": prefix,
        "H(token)": token,
        "mean micro": micro,
        "E(l >= 1)": [a - b for a, b in zip(prefix, micro, strict=True)],
        "E(0)": [a - b for a, b in zip(token, micro, strict=True)],
    }
    assert heading[1:] == ["0", "1", "2", "3"]
    assert f"{prefix[-1]:.3f} - {sum(token):.3f} = {prefix[-1] - sum(token):.3f}" in SCIENCE.read_text()
    assert {key: pytest.approx(value, abs=5.1e-4) for key, value in exact.items()} == said
    ids = np.array([["ABC,".index(token) for token in row] for row in rows], dtype=np.int32)
    ours = ceilings_listed(ids, num_blocks=2).emergence / NATS_PER_BIT
    assert ours.tolist() == [pytest.approx(exact["E(0)"], abs=1e-9), pytest.approx(exact["E(l >= 1)"], abs=1e-9)]


def test_the_exact_values_of_the_published_corpora_are_right():
    for row in table(section(SCIENCE, "The three published corpora"))[1:]:
        names, shots, tokens = (int(number) for number in numbers(row[0]))
        sequences = math.perm(names, shots)
        whole, micro = math.log2(sequences), shots * math.log2(names) / tokens
        assert numbers(row[1]) == [sequences]
        expected = [whole, micro, whole - micro, -micro, whole - shots * math.log2(names)]
        assert [number for cell in row[2:] for number in numbers(cell)] == pytest.approx(expected, abs=5.1e-4)


def test_the_country_prefix_entropies_are_right():
    said = re.search(r"by shot: ([\d., and]+) bits", section(SCIENCE, "The three published corpora"))
    assert numbers(said[1]) == pytest.approx([math.log2(math.perm(25, shot)) for shot in range(1, 5)], abs=5.1e-3)


# benchmarks.md


def row_of(title, start):
    """The first row of the tables in a section whose first cell starts so."""
    lines = section(BENCHMARKS, title).splitlines()
    return next(line for line in lines if line.startswith(f"| {start}"))


def said(title, start, column=1):
    return numbers(row_of(title, start).split("|")[column + 1])


def close(values, digits):
    return pytest.approx([round(value, digits) for value in values])


def test_figures_of_the_whole_country_corpus():
    found, title = result("country_303600"), "The whole country corpus"
    forecast, measured = found["forecast"], found["measured"]
    assert said(title, "time") + said(title, "time", 2) == [forecast["minutes"], measured["minutes"]]
    assert said(title, "sequences") + said(title, "sequences", 2) == close(
        [forecast["sequences_per_second"], measured["sequences_per_second"]], 0
    )
    assert said(title, "bytes") + said(title, "bytes", 2) == [forecast["bytes"] / 1e9, measured["bytes"] / 1e9]
    dense = found["dense_bytes"]
    shares = close([dense / 1e9, forecast["bytes"] / dense, measured["bytes"] / dense], 3)
    parts = said(title, "of the dense", 0) + said(title, "of the dense") + said(title, "of the dense", 2)
    assert parts == shares
    peak, imports, model, groups = said(title, "peak", 2)
    assert peak == measured["peak_memory_mib"]
    assert imports == round(result("extract_memory")[1]["before_mib"])
    assert model == round(134_515_008 * 4 / 2**20)
    assert groups == round(2 * 1024 * 31 * 8 * 576 * 2 / 2**20)


def test_figures_of_stage_one():
    title = "Stage one"
    for start, name in (
        ("shared forward over a plain one", "extract_speed_country_float32"),
        ("the same in bfloat16", "extract_speed_country_bfloat16"),
        ("the same, windows", "extract_speed_text"),
    ):
        found = result(name)["results"][0]
        expected = [found["speedup"]] + ([found["of_ratio"]] if "text" not in name else [])
        assert said(title, start)[: len(expected)] == close(expected, 2)
    whole, naive, shard = result("extract_whole"), result("naive_dump")["ratios"], result("shard_write")
    pairs = sorted(run["whole"] / run["forwards"] for run in whole["runs"])
    assert said(title, "whole extraction of 4,096") == close([whole["ratio"], pairs[0], pairs[-1]], 2)
    assert said(title, "naive dump") == close([naive["seconds"], naive["bytes"]], 1)
    speeds = sorted(
        raw / ours for ours, raw in zip(shard["seconds"]["write_shard"], shard["seconds"]["raw write and fsync"], strict=True)
    )
    assert said(title, "writing a shard") == [round(median(speeds), 2), round(speeds[0], 1), round(speeds[-1], 1)]
    ways = result("slab_read")["ways"]
    reused, loose, dask = ways["read_slab, reused"], ways["read_slab, reused, unverified"], ways["Dask, slab_array"]
    assert said(title, "reading a slab") == [round(reused["over memmap, reused"], 2), round(reused["over zarr-python"])]
    assert said(title, "the same without comparing") == [round(loose["over memmap, reused"], 2), round(loose["over zarr-python"])]
    assert said(title, "reading it as a Dask") == close([dask["over memmap, new"]], 2)
    assert said(title, "the read of stage two") == close([ways["stage two, Dask task"]["over direct"]], 2)


def test_figures_of_a_million_rows():
    title, names = "Stage two by number of rows", ["noise", "decode", "mine", "infonce", "cca", "spectrum", "neighbours"]

    def across(start):
        return [value for column in range(1, 1 + len(names)) for value in said(title, start, column)]

    found = {(run["estimator"], run["rows"], run["columns"]): run for run in result("estimate_memory")}
    of_rows = {rows: [found[name, rows, 576] for name in names] for rows in (100_000, 303_600, 1_000_000)}
    assert all(run["peak_beside_imports"] < run["memory_bytes"] == 2**30 for run in of_rows[1_000_000])
    peaks = {rows: [run["peak_beside_imports"] for run in runs] for rows, runs in of_rows.items()}
    grown = [many / few for many, few in zip(peaks[1_000_000], peaks[303_600], strict=True)]
    slower = [many["seconds"] / few["seconds"] / 10 for many, few in zip(of_rows[1_000_000], of_rows[100_000], strict=True)]
    assert across("MB") == [round(peak / 1e6) for peak in peaks[1_000_000]]
    assert across("over that at 303,600") == close(grown, 2)
    assert across("time a row over") == close(slower, 2)


def test_figures_of_the_published_critic():
    title, found = "The published critic", result("published_critic")
    mine, published = found["mine"], found["published"]
    assert said(title, "`mine`")[:1] == close(mine["fold_bits"][:1], 2)
    assert said(title, "`mine`", 2)[:1] == close([mine["seconds"]], 1)
    assert said(title, "the published critic") == close([published["last_held_out_bits"]], 2)
    assert said(title, "the published critic", 2)[:1] == close([published["seconds"]], 0)
    assert said(title, "its best") == close([published["best_held_out_bits"]], 2)
    text = " ".join(section(BENCHMARKS, title).split())
    assert f"tells ln(2,000), {found['exact_bits']:.2f} bits, of what comes out" in text
    assert published["train_rows"] == published["test_rows"] == 1000
    assert f"is {published['published_bits']:.2f} bits: those are 1,000 as well, which tell {np.log2(1000):.2f}." in text
    assert mine["fold_bits"][0] >= published["best_held_out_bits"]


def test_figures_of_batches():
    text = " ".join(section(BENCHMARKS, "Stage one").split())
    found, once, again = result("batches")["ways"], "uniform permutation, ", "the same, 4 epochs, "
    over = {way: f"{values['over the read']:.2f}x" for way, values in found.items()}
    assert f"comes at {over[once + 'float32']} the speed of reading the slab as float32" in text
    assert f"four epochs at {over[again + 'float32']}" in text
    assert f"As float16 an epoch comes at {over[once + 'stored']}" in text
    assert f"four at {over[again + 'stored']}, and rows as stored at {over['as stored, stored']}" in text


def test_figures_of_memory():
    for found in result("extract_memory"):
        shown = [found[name] for name in ("peak_mib", "before_mib", "model_mib", "two_groups_mib", "rest_mib")]
        cells = numbers(row_of("Memory", f"{found['rows']:,}"))
        assert cells == [found["rows"], *(round(value) for value in shown)]


def test_figures_of_the_codec():
    for chunk, ratio in table(section(BENCHMARKS, "Codec"))[1:]:
        corpus, _, place = chunk.partition(", ")
        assert numbers(ratio) == close([result(f"codec_{corpus}")["codecs"]["ours"][place]["ratio"]], 2)


@pytest.mark.parametrize(("corpus", "row"), [("text", "text, 0"), ("text", "text, 5"), ("country", "country, 5")])
def test_figures_of_stage_two_on_real_states(corpus, row):
    first = row.endswith("0")
    title = "Stage two on real states"
    found = [r for r in result("real_model_mi")["macro"] if r["corpus"] == f"model/{corpus}" and (r["block"] == 0) == first]
    mine, infonce, cca = ([r for r in found if r["estimator"] == name] for name in ("mine", "infonce", "cca"))

    def ends(rows, name):
        values = [r[name] for r in rows]
        return [min(values), max(values)] if not first and round(min(values), 2) != round(max(values), 2) else [min(values)]

    columns = [cell.replace("..", " ") for cell in row_of(title, row).split("|")[2:]]
    errors = numbers(columns[0])[len(ends(mine, "macro_nats")) :]
    assert numbers(columns[0])[: len(ends(mine, "macro_nats"))] == close(ends(mine, "macro_nats"), 2)
    assert errors == close(ends(mine, "standard_error_nats"), 3 if corpus == "country" else 2)
    assert numbers(columns[1])[: len(ends(infonce, "macro_nats"))] == close(ends(infonce, "macro_nats"), 2)
    assert numbers(columns[2]) == close(ends(cca, "macro_nats"), 0)
    assert numbers(columns[3]) == close([mine[0]["ceiling_nats"]], 2)
    assert {r["outcome"] for r in mine} == {columns[4].strip()}
    assert numbers(columns[5]) == close(ends(mine, "seconds_a_training"), 1)


def test_figures_of_the_first_block():
    text = section(BENCHMARKS, "Stage two on real states").replace("..", " to ")
    for found in result("real_model_mi")["first"]:
        low, high = found["interval_nats"]
        sentence = f"{found['corpus'].partition('/')[2]} {found['exact_nats']:.3f} in {low:.3f} to {high:.3f}"
        assert sentence in " ".join(text.split())


@pytest.mark.parametrize("layer", ["2", "12", "20", "29"])
def test_figures_of_trained_heads(layer):
    closed, trained = (result("decode_training")["layers"][layer][name] for name in ("closed", "trained"))
    columns = row_of("Decode", f"{layer} ").split("|")[2:-1]
    for column, found in zip(columns, (closed, trained), strict=False):
        assert numbers(column) == close([found["bits"], found["half_width_bits"]], 2)
    more = trained["processor_seconds"] - closed["processor_seconds"]
    assert numbers(columns[2]) + numbers(columns[3]) == close([closed["processor_seconds"], more], 0)


def test_figures_of_a_training_step():
    for found, start in zip(result("training_step")["stacks"], ("one block,", "two blocks,", "nine blocks,"), strict=True):
        _, milliseconds, rate, matmul, share = row_of("Stage two by number of rows", start).split("|")[1:-1]
        assert numbers(milliseconds) == close([found["milliseconds_a_step"]], 1)
        assert numbers(rate) == close([1e3 * found["gigaflops_a_step"] / found["milliseconds_a_step"]], 0)
        assert numbers(matmul) == close([found["matmul_gigaflops_a_second"]], 0)
        assert numbers(share) == close([found["share_of_matmul"], min(found["shares"]), max(found["shares"])], 2)


def test_figures_of_products_in_other_arithmetic():
    problems = {row["problem"]: None for row in result("matmul_precision")["rows"]}
    for problem in problems:
        rows = [row for row in result("matmul_precision")["rows"] if row["problem"] == problem]
        nats = {way: [r["nats"] for r in rows if r["arithmetic"] == way] for way in {row["arithmetic"]: None for row in rows}}
        exact = nats.pop("float64")
        error = np.mean([row["standard_error_nats"] for row in rows if row["arithmetic"] == "float64"])
        cells = [numbers(cell.replace("+-", "")) for cell in row_of("On a GPU", problem).split("|")[2:-1]]
        assert cells[0] == close([rows[0]["truth_nats"]], 2)
        assert cells[1] == close([np.mean(exact), error], 3)
        assert [cell[0] for cell in cells[2:]] == close([np.mean(found) - np.mean(exact) for found in nats.values()], 3)
        assert all(row["best_step"] > 0 and row["products"] > 0 for row in rows), "training changed nothing"


def test_figures_of_workers():
    found, text = result("workers"), " ".join(section(BENCHMARKS, "Workers").split())
    gains = {what: f"{found['gain'][what]:.2f}x ({min(of):.2f} to {max(of):.2f})" for what, of in found["gain_by_round"].items()}
    assert f"gains {gains['extract']}, {found['share']['extract']:.2f} of what matmuls gain" in text
    assert f"{gains['estimate']}, {found['share']['estimate']:.2f} of it" in text
    larger = result("workers_estimate")
    of, gain, share = larger["gain_by_round"]["estimate"], larger["gain"]["estimate"], larger["share"]["estimate"]
    assert f"{gain:.2f}x ({min(of):.2f} to {max(of):.2f}), {share:.2f} of it (`--rows 3072`" in text


def test_figures_of_noise():
    text = " ".join(section(BENCHMARKS, "Noise").split())
    found = result("noise_coverage")
    assert f"Of {found['trials']} problems" in text
    assert f"the intervals of {found['covers']} hold, and {found['between']} values" in text
    assert f"the largest error is {found['largest_error_in_half_widths']:.2f} half-widths" in text
    assert found["covers"] == sum(one["covers"] for one in found["each"]) >= 0.95 * found["trials"]


def test_figures_of_known_answers():
    text = " ".join(section(BENCHMARKS, "Known answers").split())
    rows = result("gaussians_quick")
    none = [r["nats"] for r in rows if r["truth_nats"] == 0]
    assert set(none) == {0.0}
    assert "exactly 0 by every" in text

    def shares(name, size, pairs):
        found = {r["truth_nats"]: r["nats"] / r["truth_nats"] for r in rows if r["truth_nats"] and r["estimator"] == name
                 and (r["dimensions"], r["pairs"]) == (size, pairs)}  # fmt: skip
        return f"{found[2.0]:.2f} and {found[5.0]:.2f}"

    assert f"{shares('mine', 16, 16)} at d = 16" in text
    assert f"at d = 64 {shares('mine', 64, 2)} in two rotated dimensions, {shares('mine', 64, 64)} spread over all" in text
    assert f"reaches {shares('smile', 16, 16)} at d = 16" in text
    assert {r["above"] for r in result("gaussians_coverage")} == {0}
    assert {r["runs"] for r in result("gaussians_coverage")} == {100}


def test_figures_of_benchmark_mi():
    text = " ".join(section(BENCHMARKS, "benchmark-mi's tasks").split())
    five, two = result("bmi_tasks"), result("bmi_tasks_two_seeds")
    near = [r for r in five if r["mine"] <= 0.05]
    far = [r for r in five if r["mine"] > 0.05]
    others = [min(r[name] for name in ("MINE", "InfoNCE", "CCA", "KSG")) for r in far]
    assert f"at most 0.05 nats on {len(near)} of its {len(five) + len(two)} tasks" in text
    errors = [r["mine"] for r in far]
    assert f"{min(errors):.2f} to {max(errors):.2f}) by less than the best" in text
    assert f"({min(others):.2f} to {max(others):.2f}) plus 0.05" in text
    assert all(error < other + 0.05 for error, other in zip(errors, others, strict=True))
    short = [r["truth_nats"] - r["mean_nats"] for r in two]
    assert f"by {min(short):.2f} to {max(short):.2f} nats" in text


def test_every_result_and_every_script_is_named():
    text = BENCHMARKS.read_text()
    results = sorted((ROOT / "benchmarks" / "results").glob("*.json"))
    scripts = sorted((ROOT / "benchmarks").glob("*.py"))
    assert [path.name for path in (*results, *scripts) if path.name not in text] == []


# glossary.md


def test_the_glossary_is_alphabetical_and_says_each_word_once():
    words = [row[0].strip("*") for row in table((ROOT / "docs" / "glossary.md").read_text())[1:]]
    assert words == sorted(words, key=str.casefold)
    assert len(words) == len(set(words))


# all documents


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) < 90


def test_the_readme_is_the_way_to_the_other_documents():
    linked = set(re.findall(r"\]\(((?:docs/)?\w+\.md)\)", README.read_text()))
    site = {"index.md", "reference.md"}  # these are the way in of the documentation site, whose own table of pages leads on
    assert linked >= {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md") if path.name not in site} | {"CONTRIBUTING.md"}


@ANY_DOCUMENT
def test_relative_links_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    for target in targets:
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        if anchor:
            assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(there)}, target


@ANY_DOCUMENT
def test_python_blocks_compile_and_use_what_there_is(path):
    for block in blocks(path, "python"):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ie_store":
                assert hasattr(ie_store, node.attr), node.attr
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "estimate":
                assert node.attr in {item.name for item in fields(MIEstimate)}, node.attr


def shell_lines():
    for path in DOCUMENTS:
        for block in blocks(path, "sh"):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    yield pytest.param(words, id=f"{path.stem}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("words", list(shell_lines()))
def test_shell_lines_are_commands_that_exist(words):
    while re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        words = words[1:]
    match words:
        case ["ie-store", name, *arguments]:
            command = typer.main.get_command(app).commands[name]
            command.make_context(name, list(arguments))
        case ["make", *targets]:
            known = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            assert set(targets) <= known
        case [python, script, *arguments] if "python" in python and script.startswith("benchmarks/"):
            text = (ROOT / script).read_text()
            for option in (word for word in arguments if word.startswith("--")):
                assert f'"{option}"' in text, f"{script} has no {option}"
        case [python, *_] if python in ("python", "python3", "source", "pip", "git", "cd"):
            pass
        case _:
            pytest.fail(f"nothing is known of {words}")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_cites_a_document_that_does_not_ship(path):
    text = path.read_text()
    assert not UNSHIPPED.search(text)
    for cited, heading in re.findall(r'((?:docs/)?[A-Za-z]+\.md)\b(?:, "([^"]+)")?', text):
        places = [folder / cited for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "howto", path.parent)]
        there = next((place for place in places if place.exists()), None)
        assert there is not None, cited
        assert not heading or heading in headings(there), heading


def test_the_search_for_citations_can_fail():
    assert UNSHIPPED.search("as SCIENCE.md, section 4, has it")
    assert UNSHIPPED.search("(HOUSE: shard)")
    assert not UNSHIPPED.search("docs/science.md")
