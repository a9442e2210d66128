import numpy as np
import pytest

from evals.accepted_gain import draw_failing, estimate_gain, hidden_rate
from evals.rules import RULES

KNOWN = {
    "rule": "group_sequential",
    "level": 0.005,
    "effect": 0.0,
    "deviation": 0.0877,
    "most": 12,
    "first_look": 4,
}


def accepted(true, count, deviation=0.1):
    """Gains of accepted confirmations at a true gain, in order."""
    x = true + deviation * np.random.default_rng(5).standard_normal((8000, 12))
    kept, pairs = RULES["group_sequential"].play(
        x, level=0.005, effect=0.0, deviation=0.0877, first_look=4
    )
    return [row[:n] for row, n in zip(x[kept][:count], pairs[kept][:count], strict=True)]


@pytest.mark.parametrize("true", [0.07, 0.1, 0.2])
def test_the_corrected_gain_is_nearer_the_truth_than_the_raw_one_and_its_interval_covers(true):
    found = [(g.mean(), estimate_gain(g, **KNOWN)) for g in accepted(true, 80)]
    raw, corrected = (
        np.median([m for m, _ in found]) - true,
        np.median([b.corrected for _, b in found]) - true,
    )
    assert np.mean([b.low <= true <= b.high for _, b in found]) >= 0.78  # 0.90 nominal, 80 accepts
    assert abs(corrected) < abs(raw) + 0.005
    if true < 0.1:
        assert (
            raw > 0.025 and corrected < 0.8 * raw
        )  # one accept in seven at this gain: the curse is large


def test_a_large_gain_needs_no_correction_and_equal_gains_have_no_interval():
    rng = np.random.default_rng(1)
    sure = estimate_gain(0.8 + 0.05 * rng.standard_normal(9), **KNOWN)
    assert sure.corrected == pytest.approx(0.8, abs=0.06) and sure.low > 0.6
    assert estimate_gain([0.5] * 9, **KNOWN).corrected is None


def test_gains_that_the_rule_would_not_have_waited_for_have_no_correction():
    """Greedy stops at its second pair; a closing look of four pairs was not chosen by it."""
    early = {**KNOWN, "rule": "greedy", "first_look": 2}
    given = estimate_gain([0.1, 0.02, -0.03, 0.05], **early)
    assert (given.low, given.corrected, given.high) == (None, None, None)
    waited = estimate_gain([0.1, 0.02, -0.03, 0.05], **{**early, "first_look": 4})
    assert waited.low < waited.corrected < waited.high


def test_null_b_has_equal_means_and_fools_the_default_but_not_betting():
    mine, theirs = draw_failing(np.random.default_rng(2), (20_000, 12))
    assert abs(float((mine - theirs).mean())) < 0.002
    assert (
        0.35 < hidden_rate("group_sequential", 0.005, 0.0, 0.0877, 12, 4) < 0.43
    )  # 0.9 ** 9 = 0.39: nine runs without a failure
    assert hidden_rate("betting", 0.005, 0.0, 0.0877, 12, 4) == 0
    gains = [0.09, 0.085, 0.1, 0.09, 0.095, 0.08, 0.09, 0.1, 0.085]
    assert (
        estimate_gain(gains, **KNOWN).bounded > 0.4
    )  # nine small gains say little against a rare failure
    assert estimate_gain([0.9] * 9, **KNOWN).bounded < 0.02
