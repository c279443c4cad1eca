"""The pictures of docs/howto/pictures.md: ``python docs/pictures/make.py STORE MODEL/CORPUS TWIN/CORPUS``."""

import sys
from pathlib import Path

import ie_store
from ie_store import plot
from ie_store.report.thin import thin

MOST_MARKS = 160
"""Of one picture, so that its file stays small."""


def main(store: str, name: str, twin: str) -> None:
    """Write one SVG for each picture beside this file."""
    results, other = (ie_store.open_estimates(store, one) for one in (name, twin))
    for kind in plot.__all__:
        chart = plot.difference(results, other) if kind == "difference" else getattr(plot, kind)(results)
        chart.data = thin(chart.data, MOST_MARKS)
        chart.save(Path(__file__).parent / f"{kind}.svg")


if __name__ == "__main__":
    main(*sys.argv[1:])
