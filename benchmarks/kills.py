"""SIGKILL at random moments of the command line's runs: each is started again and must end as if it had never been killed.

    python benchmarks/kills.py [--kills 153] [--seed 0] [--folder DIR] [--out benchmarks/results/kills.json]

Every case starts from the same tree, is killed once (a third of them twice) at a moment between its start and its usual end,
then runs to its end; what then lies in the store is compared byte for byte with what an uninterrupted run leaves. Only what
tells runs apart is left out: sessions (versions and times), the digests of the attributes that hold them, seconds, and the
contents of lock files. A tiny model, many small shards, and every result written at once, so that there is much to cut off.
The packages are loaded once, in a server from which each command forks.
"""

import argparse
import json
import multiprocessing
import platform
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, fields, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from ie_store_cli.main import main as command_line

import ie_store.estimate.exact_record
import ie_store.estimate.run
import ie_store.extract.perform
import ie_store.extract.prepare
import ie_store.store.dataset.remove
import ie_store.store.results.writer
from ie_store.extract.layout import choose_layout
from ie_store.options import ExtractSpec
from ie_store.specs import StoreLayout

NAME = "m/c"
BESIDE = "m/beside"
"""A dataset of the same model that no command may touch."""
PRELOADED = [
    "ie_store.extract.perform", "ie_store.estimate.run", "ie_store.store.dataset.remove", "ie_store.store.open",
    "ie_store_cli.main", "transformers.models.gpt2.modeling_gpt2", "xarray", "zarr",
]  # fmt: skip
PROVENANCE = ("session", "sessions", "digest")
TOLD_APART = ("_session", "_seconds")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A command that is killed, and what it starts from."""

    name: str
    start: Path
    """The tree of the store before."""
    arguments: tuple[str, ...]
    """STORE stands for the store's folder."""


def many_shards(*arguments: Any) -> StoreLayout:
    layout = choose_layout(*arguments)
    return replace(layout, rows_per_shard=8, tokens_per_shard=16, shards_per_group=3, rows_per_batch=5)


def run_command(arguments: list[str], log: str) -> None:
    """One command, in a process of its own."""
    torch.set_num_threads(1)
    ie_store.extract.prepare.choose_layout = many_shards
    ie_store.estimate.run.BATCH_BYTES = {"cpu": 1}
    ie_store.store.results.writer.FLUSH_SECONDS = ie_store.estimate.exact_record.FLUSH_SECONDS = 0.0
    sys.argv = ["ie-store", *arguments]
    with Path(log).open("w") as file, redirect_stdout(file), redirect_stderr(file):
        command_line()


class Runner:
    """Starts commands in the folder of this benchmark."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)

    def start(self, arguments: tuple[str, ...], store: Path) -> BaseProcess:
        filled = [str(store) if argument == "STORE" else argument for argument in arguments]
        process = self._context.Process(target=run_command, args=(filled, str(self.folder / "log.txt")))
        process.start()
        return process

    def finish(self, arguments: tuple[str, ...], store: Path) -> float:
        """Run to the end; seconds. A dataset that is gone already cannot be removed again."""
        start = time.monotonic()
        process = self.start(arguments, store)
        process.join()
        seconds, said = time.monotonic() - start, (self.folder / "log.txt").read_text()
        if process.exitcode and not (arguments[0] == "rm" and "is not a dataset" in " ".join(said.split())):
            raise SystemExit(f"{' '.join(arguments)} in {store} ended with {process.exitcode}:\n{said}")
        return seconds

    def kill(self, arguments: tuple[str, ...], store: Path, after: float) -> bool:
        """Kill a command after so many seconds; False where it had ended before."""
        process = self.start(arguments, store)
        process.join(after)
        alive = process.exitcode is None
        process.kill()
        process.join()
        return alive


def tree(store: Path) -> dict[str, bytes]:
    """Every file of a store, without what tells runs apart."""
    paths = (path for path in sorted(store.rglob("*")) if path.is_file())
    return {str(path.relative_to(store)): _content(path) for path in paths}


def _content(path: Path) -> bytes:
    if path.name == ".lock" or ("c" in path.parts and any(part.endswith(TOLD_APART) for part in path.parts)):
        return b""
    if path.suffix != ".json":
        return path.read_bytes()
    return json.dumps(_alike(json.loads(path.read_bytes()))).encode()


def _alike(value: Any) -> Any:
    """A document without provenance, times, and the digests over both."""
    if isinstance(value, list):
        return [_alike(item) for item in value if not (isinstance(item, dict) and _is_told_apart(item))]
    if not isinstance(value, dict):
        return value
    return {name: _alike(item) for name, item in value.items() if name not in PROVENANCE and not name.endswith(TOLD_APART)}


def _is_told_apart(item: dict[str, Any]) -> bool:
    """True for a variable or a piece of a record that tells runs apart."""
    return str(item.get("variable", item.get("name", ""))).endswith(TOLD_APART)


def differences(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    lacking, strange = whole.keys() - found.keys(), found.keys() - whole.keys()
    changed = {name for name in found.keys() & whole.keys() if found[name] != whole[name]}
    named = {"lacks": lacking, "has besides": strange, "has other bytes in": changed}
    return [f"{how} {name}" for how, names in named.items() for name in sorted(names) if not name.endswith("/.lock")]


def make_model(folder: Path) -> Path:
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=32, n_positions=32, n_embd=32, n_layer=3, n_head=4, bos_token_id=0, eos_token_id=0
    )
    transformers.GPT2LMHeadModel(config).save_pretrained(folder / "model")
    return folder / "model"


def make_cases(runner: Runner) -> Iterator[Case]:
    """The cases, with their trees made by uninterrupted commands."""
    folder, model = runner.folder, make_model(runner.folder)
    for seed, corpus in enumerate(("one", "two")):
        np.save(folder / f"{corpus}.npy", np.random.default_rng(seed).integers(0, 8 if seed else 32, (150, 5)))

    def extract(corpus: str, name: str, *more: str) -> tuple[str, ...]:
        source = f"tokens:{folder / corpus}.npy"
        return ("extract", "STORE", "--model", str(model), "--corpus", source, "--as", name, "--audit-rows", "2", *more)

    def grown(name: str, start: Path | None, *commands: tuple[str, ...]) -> Path:
        if start is not None:
            shutil.copytree(start, folder / name)
        for command in commands:
            runner.finish(command, folder / name)
        return folder / name

    estimate = ("estimate", "STORE", NAME, "--estimator", "noise", "--positions", "all")
    empty = grown("empty", None, extract("two", BESIDE))
    complete = grown("complete", empty, extract("one", NAME))
    estimated = grown("estimated", complete, estimate)
    yield Case(name="extract", start=empty, arguments=extract("one", NAME))
    yield Case(name="extract --replace", start=estimated, arguments=extract("two", NAME, "--replace"))
    yield Case(name="rm", start=estimated, arguments=("rm", "STORE", NAME, "--yes"))
    yield Case(name="estimate", start=complete, arguments=estimate)
    if "repair" in {field.name for field in fields(ExtractSpec)}:
        damaged = grown("damaged", complete)
        for shard in sorted(path for path in (damaged / NAME / "macro" / "c").rglob("*") if path.is_file())[::4]:
            content = bytearray(shard.read_bytes())
            content[len(content) // 3] ^= 1
            shard.write_bytes(content)
        yield Case(name="extract --repair", start=damaged, arguments=extract("one", NAME, "--repair"))


def kill_case(runner: Runner, case: Case, chance: random.Random, kills: int) -> dict[str, Any]:
    """Kill a command ``kills`` times; what it left that an uninterrupted run does not leave."""
    whole = runner.folder / "whole"
    shutil.copytree(case.start, whole)
    lasts, expected = runner.finish(case.arguments, whole), tree(whole)
    shutil.rmtree(whole)
    done, unequal = 0, []
    while done < kills:
        store = runner.folder / "killed"
        shutil.copytree(case.start, store)
        moments = [chance.uniform(0, lasts) for _ in range(min(kills - done, 2 if chance.random() < 1 / 3 else 1))]
        hit = sum(runner.kill(case.arguments, store, after) for after in moments)
        runner.finish(case.arguments, store)
        if hit and (found := differences(tree(store), expected)):
            unequal.append({"killed_after_seconds": moments, "differences": found[:20]})
            shutil.copytree(store, runner.folder / f"unequal-{case.name.replace(' ', '')}-{done}", dirs_exist_ok=True)
        shutil.rmtree(store)
        done += hit
    return {"case": case.name, "kills": done, "usual_seconds": round(lasts, 3), "files": len(expected), "unequal": unequal}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=153)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", default=tempfile.gettempdir())
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    runner = Runner(Path(tempfile.mkdtemp(dir=asked.folder, prefix="kills-")))
    start, chance = time.monotonic(), random.Random(asked.seed)
    cases = list(make_cases(runner))
    results = []
    print(f"{'command':<20}{'kills':>7}{'unequal':>9}{'usual seconds':>15}")
    for number, case in enumerate(cases):
        share = asked.kills // len(cases) + (number < asked.kills % len(cases))
        results.append(kill_case(runner, case, chance, share))
        found = results[-1]
        print(f"{case.name:<20}{found['kills']:>7}{len(found['unequal']):>9}{found['usual_seconds']:>15.2f}", flush=True)
        for unequal in found["unequal"]:
            print("\n".join(f"    {line}" for line in unequal["differences"]))
    seconds, bad = time.monotonic() - start, sum(len(found["unequal"]) for found in results)
    print(f"{sum(found['kills'] for found in results)} kills in {seconds:.0f} s, {bad} ended unequal")
    if asked.out:
        about = {"machine": platform.platform(), "torch": torch.__version__, "seed": asked.seed, "seconds": round(seconds, 1)}
        asked.out.write_text(json.dumps(about | {"cases": results}, indent=2) + "\n")
    if bad:
        raise SystemExit(f"the stores that ended unequal are kept in {runner.folder}")
    shutil.rmtree(runner.folder)


if __name__ == "__main__":
    main()
