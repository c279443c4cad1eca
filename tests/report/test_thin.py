"""Pages of many and large pictures stay small, and what is left of a picture is as it was."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from ie_store import plot
from ie_store.report.page import DATA_BYTES, FEW_PICTURES, page
from ie_store.report.pictures import Picture, Section
from ie_store.report.thin import thin
from ie_store.store.results.open_estimates import Estimates


def grid(**axes):
    return pd.DataFrame(np.array(np.meshgrid(*axes.values(), indexing="ij")).reshape(len(axes), -1).T, columns=list(axes))


@pytest.mark.parametrize("most", [60, 200, 1000])
def test_what_is_left_is_even_and_has_the_first_and_the_last(most):
    table = grid(block=range(40), position=range(100)).assign(bits=1.5)
    table = pd.concat([table, grid(position=range(100)).assign(blocks="blocks 1-39")], ignore_index=True)
    left = thin(table, most)
    assert len(left) <= most * 1.2
    assert {0, 99} <= set(left.position)
    assert {0, 39} <= set(left.block.dropna())
    assert set(left.blocks.dropna()) == {"blocks 1-39"}
    assert len(left.merge(table)) == len(left)  # rows as they were
    assert len(thin(left, most + 1000)) == len(left)


def test_ranks_are_left_out_evenly_in_their_logarithm():
    left = thin(grid(layer=range(4), rank=range(1, 1001)), 120)
    ranks = sorted(set(left["rank"]))
    assert ranks[0] == 1
    assert ranks[-1] == 1000
    assert len([rank for rank in ranks if rank <= 30]) >= len(ranks) // 3


@pytest.mark.slow
def test_a_large_picture_takes_its_share_of_a_page():
    layers, positions = 49, 80
    over = {"block": range(layers - 1), "position": range(positions)}
    values = {
        name: (tuple(over), np.full((layers - 1, positions), 1.23456)) for name in ("ie", "ie_low", "ie_high", "ceiling_ie")
    }
    texts = {name: (tuple(over), np.full((layers - 1, positions), "certified")) for name in ("outcome_ie", "flags")}
    node = xr.Dataset(values | texts, coords=over, attrs={"results": "noise-0", "label": "noise", "options": "{}"})
    chart = plot.emergence(Estimates.from_dict({"/": xr.Dataset(attrs={"name": "a/c"}), "noise": node}))
    pictures = tuple(Picture(chart=chart, name=f"a/{number}") for number in range(2))
    found = page([], [], [Section(key="emergence", title="Emergence", reading="", pictures=pictures)], bundle="")
    assert len(chart.data) > 3000
    assert "are left out here and in the picture" in found
    least = len(page([], [], [], bundle=""))
    assert DATA_BYTES / FEW_PICTURES < len(found) - least < 2.2 * DATA_BYTES / FEW_PICTURES
