"""Tables of profiles for people. Numbers for programs come from ``--json``."""

from collections import Counter
from typing import Any

from .text import MOST_FLAGS, add_row, console, make_table, say


def profiles(shown: dict[str, Any]) -> None:
    """The profiles of a dataset (the object of ``profile --json``), a table each."""
    for found in shown["profiles"]:
        title = f"{shown['model']}/{shown['corpus']}: {found['profile']} ({_options(found['options'])})"
        if found["profile"] == "spectrum":
            _spectrum(title, found)
        else:
            _neighbours(title, found)
        _flags(found)


def _options(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in options.items() if name not in ("name", "version"))


def _spectrum(title: str, found: dict[str, Any]) -> None:
    table = make_table(title)
    of_ranks = ("w/o first", "w/o massive", "w/o both")
    for heading in ("layer", "position", "massive", "variance", "largest", "eff. rank", *of_ranks, "part. ratio", *of_ranks):
        table.add_column(heading, justify="right")
    endings = ("", "_without_first", "_without_massive", "_without_massive_and_first")
    for row in found["layers"]:
        counts = f"{row['num_massive']:,.0f}", number(row["total_variance"])
        shares = row["eigenvalue_share"]
        largest = "-" if not shares or shares[0] is None else f"{shares[0]:.1%}"
        of_spectra = [number(row[f"{name}{ending}"]) for name in ("effective_rank", "participation_ratio") for ending in endings]
        add_row(table, str(row["layer"]), str(row["position"]), *counts, largest, *of_spectra)
    console.print(table)
    say("effective rank: exp of the entropy of the covariance's eigenvalues; participation: sum squared over sum of squares")


def _neighbours(title: str, found: dict[str, Any]) -> None:
    table = make_table(title)
    scales = found["scale"]
    headings = ("layer", "position", "rows", "smallest", "median", "TwoNN", "+-", "5 subsamples", f"GRIDE {scales[0]}",
                f"GRIDE {scales[-1]}", "overlap", "imbalance ->", "<-")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right")
    blocks = {(row["block"], row["position"]): row for row in found["blocks"]}
    for row in found["layers"]:
        between = blocks.get((row["layer"] - 1, row["position"]), {})
        gride = row.get("gride") or [None]
        low, high, mean, sd = (row.get(f"two_nn_{end}") for end in ("low", "high", "subsample_mean", "subsample_sd"))
        add_row(
            table,
            str(row["layer"]),
            str(row["position"]),
            f"{row['num_rows'] or 0:,.0f}",
            number(row.get("smallest_distance")),
            number(row.get("median_distance")),
            number(row.get("two_nn")),
            "-" if low is None or high is None else number((high - low) / 2),
            "-" if mean is None else f"{number(mean)} sd {number(sd)}",
            number(gride[0]),
            number(gride[-1]),
            *(number(between.get(name)) for name in ("overlap", "imbalance_forward", "imbalance_backward")),
        )
    console.print(table)
    say(f"smallest, median: distance to the nearest other row; GRIDE k: from neighbours k and 2k; all of {scales} with --json")
    say("overlap and imbalance are of the layer before and this one; imbalance near 0: the one tells who is near in the other")


def _flags(found: dict[str, Any]) -> None:
    """Each sentence once, with the layers that carry it."""
    sentences = Counter(flag for row in found["layers"] for flag in row["flags"])
    for flag in list(sentences)[:MOST_FLAGS]:
        places = [f"{row['layer']}" for row in found["layers"] if flag in row["flags"]]
        say(("flag", "yellow"), f" layer {places[0]}{f' and {len(places) - 1} more places' if len(places) > 1 else ''}: {flag}")
    if len(sentences) > MOST_FLAGS:
        say(f"and {len(sentences) - MOST_FLAGS} more flags: see --json")


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is no value."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e6 else f"{value:.3g}"
