"""Tables and sentences of ``show`` from values made by hand, whose truth is known."""

from math import log

import pytest
from ie_store_cli.render import text
from ie_store_cli.render.against import against
from ie_store_cli.render.estimates import cell, estimates, one_screen

from ie_store.specs import Outcome
from ie_store.store.results.readings import readings_of, span, thinned
from ie_store.store.results.sentences import against_sentences, pairs_sentence, readings_sentences
from ie_store.store.results.told_apart import told_apart

BIT = log(2)
CEILING = 12.0
OPTIONS = {
    "exact": {"name": "exact", "version": 1},
    "noise": {"name": "noise", "version": 4, "sigma": 4.0, "scale": "std"},
    "decode": {"name": "decode", "version": 1},
    "mine": {"name": "mine", "version": 9, "steps": 50},
}


def entry(estimator, block, bits, half=0.05, outcome="certified", position=7, ceiling=CEILING, flags=()):
    """As ``show --json`` has it; the interval ends at the ceiling."""
    low, high = bits - half, min(bits + half, ceiling)
    return {
        "estimator": estimator, "block": block, "position": position, "ie_nats": (bits - 1) * BIT,
        "interval_nats": [(low - 1) * BIT, (high - 1) * BIT], "macro_nats": bits * BIT, "micro_nats": BIT,
        "ceiling_nats": (ceiling - 1) * BIT, "outcome": outcome, "macro_interval_nats": [low * BIT, high * BIT],
        "macro_ceiling_nats": ceiling * BIT, "macro_outcome": outcome, "flags": list(flags), "options": OPTIONS[estimator],
        "results": f"{estimator}-0",
    }  # fmt: skip


def noise(*values, **changed):
    return [entry("noise", block, bits, **changed) for block, bits in enumerate(values, 1)]


def shown(entries, weights="stored weights"):
    return {"model": "m", "corpus": "c", "weights": weights, "estimates": entries, "told_apart": told_apart(entries)}


def printed(entries, **options):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text.console, "_width", 80)
        with text.console.capture() as found:
            estimates(shown(entries), **options)
    return found.get()


def sentences(entries):
    return readings_sentences(readings_of(entries))


def test_noise_says_which_block_keeps_most_and_least():
    assert sentences(noise(8.0, 9.9, 10.6, 9.8)) == [
        "Under noise of 4 standard deviations block 3 keeps most, 10.6 bits, block 1 least, 8.0."
    ]


def test_what_is_not_told_apart_is_said_together_or_not_at_all():
    assert sentences(noise(8.0, 10.58, 10.6, 9.8)) == [
        "Under noise of 4 standard deviations blocks 2-3 (not told apart) keep most, up to 10.6 bits, block 1 least, 8.0."
    ]
    assert sentences(noise(8.0, 8.05, 8.08)) == []
    assert sentences(noise(8.0, 8.1, 8.2)) == []  # the middle one is apart from neither
    assert sentences(noise(8.0)) == []


def test_values_that_may_not_be_read_as_they_are_say_nothing():
    assert sentences(noise(8.0, 10.0, outcome="saturated")) == []


def test_block_0_with_another_exact_value_is_not_compared():
    entries = [entry("noise", 0, 0.0, ceiling=0.0), *noise(8.0, 9.0)]
    assert "block 1 least" in sentences(entries)[0]


def test_a_reader_gets_all_from_a_block_on():
    def decode(*values):
        return [entry("decode", block, bits, half=0.002, outcome="converged") for block, bits in enumerate(values, 1)]

    assert sentences(decode(11.8, 11.999, 12.0)) == ["A linear reader gets all 12.00 bits from block 2 on."]
    assert sentences(decode(12.0, 11.9, 12.0)) == ["A linear reader gets all 12.00 bits in block 3."]
    assert sentences(decode(5.9, 5.0, 2.4)) == ["A linear reader gets most in block 1, 5.9 bits, least in block 3, 2.4."]
    wide = entry("decode", 1, 11.9, half=0.1, outcome="converged")
    assert sentences([wide, *decode(0, 12.0, 12.0)[1:]]) == []  # block 1 may hold all as well


def test_blocks_that_may_not_be_read_are_not_spoken_of():
    """Of them a value may be higher, or less than all."""
    unread = [entry("noise", 3, 11.0, outcome="saturated")]
    assert "4 standard deviations, of blocks 1-2 block 2 keeps most" in sentences([*noise(8.0, 9.0), *unread])[0]

    def decode(block, bits, outcome="converged"):
        return entry("decode", block, bits, half=0.002, outcome=outcome)

    known = [decode(1, 11.0), decode(2, 12.0), decode(3, 12.0)]
    assert sentences(known) == ["A linear reader gets all 12.00 bits from block 2 on."]
    assert sentences([*known, decode(4, 3.0, "unstable")]) == ["A linear reader gets all 12.00 bits in blocks 2-3."]


def test_two_runs_of_an_estimator_and_two_positions_are_told_apart():
    other = [one | {"results": "noise-1", "options": OPTIONS["noise"] | {"sigma": 2.0}} for one in noise(8.0, 9.0)]
    assert {sentence.partition(" standard")[0] for sentence in sentences([*noise(8.0, 9.0), *other])} == {
        "noise (sigma 4): Under noise of 4",
        "noise (sigma 2): Under noise of 2",
    }
    elsewhere = [entry("decode", block, bits, position=5, outcome="converged") for block, bits in ((1, 8.0), (2, 9.0))]
    assert {sentence.partition(":")[0] for sentence in sentences([*noise(8.0, 9.0), *elsewhere])} == {"position 7", "position 5"}


def test_values_are_said_with_as_many_decimals_as_tell_them_apart():
    assert "keeps most, 9.04 bits, block 1 least, 9.01." in sentences(noise(9.01, 9.04, half=0.001))[0]
    said = differences(noise(8, 9.04, half=0.001), noise(8, 9.01, half=0.001))[0]
    assert "keeps 9.04 bits at block 2; with random weights what is left rises to 9.01: training keeps 0.03 bits more" in said


def test_what_random_weights_do_is_told_up_to_the_block_that_is_compared():
    mine = [*noise(9, 9.5), *[entry("noise", 3, 9.9, outcome="saturated")]]
    assert "what is left rises to 6.0" in differences(mine, noise(2, 6, 3))[0]


@pytest.mark.parametrize(
    ("values", "half", "apart"),
    [((8, 9, 10), 0.05, 3), ((8, 8.05, 10), 0.05, 2), ((8, 8, 8), 0.05, 0), ((8, 8.005, 8.02), 1e-6, 2), ((8, 9, 10), 0.6, 1)],
)
def test_pairs_of_blocks_told_apart(values, half, apart):
    (count,) = told_apart(noise(*values, half=half))
    assert (count["pairs"], count["apart"], count["share"]) == (3, apart, apart / 3)


def test_pairs_are_those_of_one_exact_value_and_position():
    entries = [entry("noise", 0, 0.0, ceiling=0.0), *noise(8, 9), *noise(3, 4, 5, position=6, ceiling=6.0)]
    assert [(count["position"], count["pairs"], count["apart"]) for count in told_apart(entries)] == [(7, 1, 1), (6, 3, 3)]
    assert told_apart([entry("noise", 0, 0.0)])[0]["share"] is None
    assert told_apart([entry("exact", 1, 12.0)]) == []
    assert pairs_sentence(readings_of(entries), told_apart(entries)) == [
        "Pairs of blocks told apart, by intervals that do not overlap: noise (sigma 4) 1 of 1 (100%)."
    ]


def test_saturated_values_tell_no_pair_apart():
    assert told_apart(noise(8, 9, outcome="saturated"))[0]["apart"] == 0


def differences(mine, theirs, random=(False, True)):
    return against_sentences(readings_of(mine), readings_of(theirs), ("a/c", "b/c"), random)


def test_training_keeps_more():
    assert differences(noise(8, 9.5, 9.9), noise(7.9, 7, 5.4)) == [
        "Under noise of 4 standard deviations a/c keeps 9.9 bits at block 3; with random weights what is left falls to 5.4: "
        "training keeps 4.5 bits more."
    ]
    assert "what is left rises to 9.9: training keeps 4.5 bits fewer" in differences(noise(8, 7, 5.4), noise(8, 9, 9.9))[0]
    assert "what is left is 5.4" in differences(noise(9, 9), noise(5.4, 5.4))[0]


def test_two_models_are_called_by_their_names():
    assert differences(noise(8, 9.9), noise(8, 5.4), (False, False)) == [
        "Under noise of 4 standard deviations a/c keeps 9.9 bits at block 2, b/c 5.4: 4.5 bits more."
    ]


def test_overlapping_intervals_differ_in_nothing():
    assert differences(noise(8, 9.0), noise(8, 9.09)) == []
    assert differences(noise(8, 9.0), noise(8, 5.0, outcome="saturated")) == []


def test_a_cell_has_value_half_width_and_outcome():
    assert cell(entry("noise", 1, 8.0), Outcome.CERTIFIED) == " 8.00 +- 0.05"
    assert cell(entry("mine", 1, 8.0, outcome="saturated"), None) == " 8.00 +- 0.05 saturated"
    assert cell(entry("decode", 1, 11.99, half=0.02), Outcome.CERTIFIED) == "11.99 +- 0.02"  # cut off at the ceiling above
    assert cell(entry("decode", 0, -1e-12, half=0, outcome="exact"), None) == " 0.00 exact"
    for missing in ("macro_nats", "macro_ceiling_nats"):
        assert cell(entry("noise", 1, 8.0) | {missing: None}, None) == "    - certified"
    assert cell(None, None) == "    -"


def test_a_value_above_its_ceiling_has_no_half_width():
    above = entry("mine", 1, 45.2, outcome="above its ceiling") | {"macro_interval_nats": [0.0, CEILING * BIT]}
    assert cell(above, None) == "45.20 above its ceiling"


def test_positions_that_are_left_out_are_said():
    entries = [entry("exact", 1, 3.0, position=position, outcome="exact") for position in range(24)]
    assert "8 of 24 positions" in printed(entries)
    assert "of 24 positions" not in printed(entries, everything=True)


def test_one_line_for_each_block():
    entries = [entry("exact", b, 12.0 if b else 0.0, half=0, outcome="exact", ceiling=12.0 if b else 0.0) for b in range(4)]
    entries[3]["macro_psi_nats"] = -0.5 * BIT
    entries += [*noise(8, 9, 10), entry("mine", 3, 11, outcome="saturated", flags=["macro: few"])]
    page = printed(entries)
    assert "1  12.00   8.00 +- 0.05        -" in page
    assert "3  12.00  10.00 +- 0.05    11.00 +- 0.05 saturated" in page
    assert "block 0" in page
    assert "blocks 1-3" in page  # exact E, once for all that share it
    assert "summed, they give Psi = minus the total correlation, -0.50." in page
    assert "mine (steps 50)" in page
    assert "flag mine (steps 50), block 3: macro: few" in page
    assert "each layer on its own scale; certified" in page


def test_equal_flags_are_one_line():
    entries = noise(*range(1, 12), flags=["micro, position 0: few", "micro, position 1: few"])
    page = printed(entries)
    assert page.count("few") == 1
    assert "flag noise (sigma 4), blocks 1-11: micro: few" in page


def test_a_long_grid_fits_one_screen_and_says_so():
    entries = [entry("noise", b, 5 + b / 10, position=t) for t in range(8) for b in range(1, 30)]
    entries += [entry("mine", b, 9.0, outcome="saturated") for b in (1, 10, 29)]
    page = printed(entries)
    assert len(page.splitlines()) <= 40
    assert max(map(len, (line.rstrip() for line in page.splitlines()[:12]))) <= 80
    assert "lines; ie-store show --all" in page
    readings = readings_of(entries)
    places = one_screen(sorted({place for reading in readings for place in reading.at}), readings)
    assert {(0, 1), (0, 29), (7, 1), (7, 29)} <= set(places)
    whole = printed(entries, everything=True)
    assert "lines; ie-store" not in whole
    assert "IE of noise (sigma 4): macro minus mean micro (each" in whole


def test_most_and_least_stay_in_a_thinned_table():
    values = [8.0] * 29
    values[16], values[22] = 11.0, 5.0
    (reading,) = readings_of(noise(*values))
    assert {1, 17, 23, 29} <= {block for _, block in one_screen(sorted(reading.at), [reading])}


def test_thinned_and_span():
    assert thinned(list(range(30)), 3) == [0, 14, 29]
    assert thinned(list(range(30)), 4, frozenset({3})) == [0, 3, 16, 29]
    assert thinned([1, 2], 5) == [1, 2]
    assert span([1, 2, 3, 7]) == "blocks 1-3, 7"
    assert span([4]) == "block 4"


def test_two_datasets_in_one_table():
    from ie_store_cli.render import text

    row = entry("noise", 3, 9.9) | {
        "against_nats": 5.4 * BIT, "against_interval_nats": [5.3 * BIT, 5.5 * BIT], "against_outcome": "certified",
        "against_ceiling_nats": CEILING * BIT, "difference_nats": 4.5 * BIT, "difference_interval_nats": [4.35 * BIT, 4.65 * BIT],
        "difference_error": 0.08, "apart": True,
    }  # fmt: skip
    both = {
        "name": "a/c", "against": "b/c", "weights": "stored weights", "against_weights": "random weights, seed 0",
        "corpus_fingerprint": "0" * 64, "estimates": [row],
        "alone": [{"name": "b/c", "estimator": "decode", "options": OPTIONS["decode"], "results": "decode-0", "num_values": 25}],
    }  # fmt: skip
    with text.console.capture() as found:
        against(both)
    assert "B: b/c (random weights, seed 0)" in found.get()
    assert "9.90 +- 0.05   5.40 +- 0.10   4.50 +- 0.15" in found.get()
    assert "holds with at least: noise (sigma 4) 92%" in found.get()
    assert "only b/c has, at so many blocks and positions: decode (version 1) (25)" in found.get()
