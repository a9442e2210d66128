"""Registered claims: p-values that agree with the intervals, Holm, equivalence, power, and the rate
of wrong decisions in a whole family.
"""

import os
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, ttest_1samp

from configs.settings.claims import Claim
from evals.amplify import effects
from evals.arms import difference, gain
from evals.closure import reading
from evals.draws import draw_arms, draw_skills
from evals.excess import excess
from evals.intervals import (
    bootstrap,
    cap_at_ceiling,
    figure_of,
    mean,
    missing,
    ratio,
    reach,
    share,
)
from evals.planted import LAWS
from evals.registered import ALPHA, decide, holm, p_value, power, shows
from evals.retention import Held

STUDIES = int(os.environ.get("HEIRLOOP_STUDIES", 0)) or 300
"""Studies of the family-wise error; `make prove` draws 1,000."""


def above(bound=0.0, smallest=1.0, instrument="self minus refit", name="a"):
    return Claim(name=name, instrument=instrument, asks="above", bound=bound, smallest=smallest)


def below(bound=0.0):
    return Claim(name="b", instrument="self minus refit", asks="below", bound=bound, smallest=1.0)


def within(bound, instrument="self minus refit"):
    return Claim(name="w", instrument=instrument, asks="equivalent", bound=bound)


def student(x):
    """Return a figure whose interval is Student's alone."""
    centre, error = x.mean(), x.std(ddof=1) / np.sqrt(len(x))
    ends = lambda level: (  # noqa: E731
        centre - reach(len(x), level) * error,
        centre + reach(len(x), level) * error,
    )
    return figure_of(centre, ends, len(x), "")


def made():
    rng = np.random.default_rng(2)
    for shift in (0.0, 0.3, 0.6, 1.2):
        a, b = rng.exponential(size=14) + shift - 0.5, rng.normal(3, 0.5, 14)
        yield mean(a, "")
        yield ratio(a, b, "")
        yield bootstrap(lambda w, a=a: w @ a / w.sum(axis=1), 14, "")
        yield share(int(2 + 8 * shift), 14)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 3, 0.05 / 8, 0.2])
def test_a_claim_is_decided_as_the_interval_at_that_level_decides(alpha):
    told = []
    for figure in made():
        for bound in (-0.2, 0.0, 0.15, 0.4):
            for claim in (above(bound), below(bound), within(0.3 + bound)):
                tails = 2 if claim.asks == "equivalent" else 1
                shown = shows(claim, figure.ends(1 - tails * alpha))
                assert (p_value(claim, figure) <= alpha) == shown, (claim, figure)
                told.append(shown)
    assert 0.1 < np.mean(told) < 0.9


def test_the_interval_at_95_percent_is_the_one_that_the_figure_has():
    for figure in made():
        assert figure.ends(0.95) == (figure.low, figure.high)
        (low, high), (inner_low, inner_high) = figure.ends(0.99), figure.ends(0.8)
        assert low <= figure.low <= inner_low and inner_high <= figure.high <= high


def test_an_excess_loss_is_decided_on_at_any_level():
    rng = np.random.default_rng(3)
    own = [
        Held(repeat=repeat, rung=rung, value=gain + 0.05 * rng.standard_normal())
        for repeat in range(12)
        for rung, gain in (("closing", 1.0), ("code", 0.5))
    ]
    references = [
        Held(repeat=0, rung=rung, value=gain * kept, change=f"{gain:.1f}")
        for gain in np.linspace(0.2, 1.8, 9)
        for rung, kept in (("closing", 1.0), ("code", 0.8 + 0.02 * rng.standard_normal()))
    ]
    figure, wide = (excess(own, references, level=level)["code"] for level in (0.95, 0.99))
    assert figure.ends(0.95) == (figure.low, figure.high) and figure.low > 0.1
    assert figure.ends(0.99) == (wide.low, wide.high) and wide.low < figure.low
    said = above(0.1, 0.1, "arms, self, excess loss, code")
    assert decide([(said, figure)])[0].reads == "shown"


def test_p_is_that_of_the_test_whose_interval_it_is():
    x = np.random.default_rng(4).normal(0.5, 1, 12)
    assert p_value(above(0.1), student(x)) == pytest.approx(ttest_1samp(x, 0.1).pvalue, rel=1e-4)
    assert p_value(below(1.5), student(x)) == pytest.approx(ttest_1samp(x, 1.5).pvalue, rel=1e-4)
    assert p_value(below(0.1), student(x)) == 1
    sides = [
        ttest_1samp(x, -1.0, alternative="greater").pvalue,
        ttest_1samp(x, 1.0, alternative="less").pvalue,
    ]
    assert p_value(within(1.0), student(x)) == pytest.approx(max(sides), rel=1e-4)  # Schuirmann
    whole = binomtest(13, 15, 0.5, alternative="greater").pvalue  # Clopper and Pearson: both tails
    assert p_value(above(0.5), share(13, 15)) == pytest.approx(2 * whole, rel=1e-4)


def test_holm_s_p_values_are_those_of_the_textbook():
    # p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm") of R
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.2]) == [0.2] and holm([0.9, 0.8]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
@settings(max_examples=60)
def test_holm_closes_the_tests_of_bonferroni(p_values):
    """A claim is shown where every part of the family that holds it is refuted (Marcus 1976)."""
    places = range(len(p_values))
    for place, adjusted in enumerate(holm(p_values)):
        parts = [s for size in places for s in combinations(places, size + 1) if place in s]
        brute = max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in parts)
        assert adjusted == pytest.approx(brute, abs=1e-12)


def test_equivalent_needs_the_90_percent_interval_wholly_inside_the_bound():
    x = np.random.default_rng(6).normal(0, 1, 40)
    (low, high), figure = student(x).ends(0.9), student(x)
    edge = max(-low, high)
    inside, outside = within(edge * 1.001), within(edge * 0.999)
    assert decide([(inside, figure)])[0].reads == "equivalent"
    assert decide([(outside, figure)])[0].reads == "cannot tell"
    # The neutral value of a ratio is 1.
    kept = within(0.5, "arms, self, gain ratio")
    near = ratio(1 + 0.1 * x, np.ones(40), "")
    assert decide([(kept, near)])[0].reads == "equivalent"
    assert decide([(within(0.5), near)])[0].reads == "cannot tell"


def test_a_claim_that_cannot_be_tested_says_so_and_stays_in_the_family():
    strong = mean(np.random.default_rng(1).normal(1, 0.9, 12), "")
    p = p_value(above(), strong)
    few, absent = mean([1.0, 1.1, 1.2] * 3, ""), missing("not measured")
    near = cap_at_ceiling(strong, [1.0] * 12, 1.0, 0.1)
    family = decide([(above(), strong), (above(), few), (above(), absent), (above(), near)])
    assert [one.reads for one in family[1:3]] == ["cannot tell", "not measured"]
    assert [one.p for one in family[1:3]] == [None, None]
    assert family[0].p == p and family[0].p_family == pytest.approx(4 * p)
    alone = decide([(above(), strong)])[0]
    assert alone.reads == "shown" and alone.p_family == p


def test_repeats_that_all_agree_prove_nothing():
    """Where nothing was accepted every gain is 0; the next repeat may accept something."""
    (one,) = decide([(within(0.1), mean(np.zeros(12), ""))])
    assert (one.reads, one.p, one.power) == ("cannot tell", None, None)
    (other,) = decide([(above(0.5), mean(np.ones(12), ""))])
    assert (other.reads, other.p) == ("cannot tell", None)


def test_power_is_the_share_of_studies_that_show_the_smallest_effect():
    """Of studies with a true effect of 0.8, as many show it as their own intervals foretell."""
    rng, claim = np.random.default_rng(8), above(0.2, 0.6)
    studies = [mean(rng.normal(0.8, 1, 15), "") for _ in range(300)]
    told = np.mean([power(claim, figure, ALPHA) for figure in studies])
    shown = np.mean([shows(claim, figure.ends(1 - ALPHA)) for figure in studies])
    assert told == pytest.approx(shown, abs=0.08) and 0.2 < shown < 0.8
    blind = next(figure for figure in studies if figure.sees)
    assert power(above(0.2, blind.sees), blind, ALPHA) == pytest.approx(0.8)
    assert power(above(0.2, blind.sees), blind, ALPHA / 8) < 0.6
    neutral = [mean(rng.normal(0, 1, 30), "") for _ in range(300)]
    told = np.mean([power(within(0.6), figure, ALPHA) for figure in neutral])
    shown = np.mean([shows(within(0.6), figure.ends(1 - 2 * ALPHA)) for figure in neutral])
    assert told == pytest.approx(shown, abs=0.08) and 0.5 < shown < 0.99


def null_study(rng):
    """Return eight claims, none of them true, beside their figures on a planted world."""
    law = LAWS["null"]
    arms, skill = draw_arms(law, rng, rng.spawn(1)[0]), effects(draw_skills(law, rng))
    figures = {
        "arms, self, gain": gain(arms, "self"),
        "self minus refit": difference(arms, "self", "refit"),
        "self minus random": difference(arms, "self", "random"),
        "rounds against one": difference(arms, "self", "one_shot"),
        "own effect": reading(arms)["own effect"],
        **{f"{name} effect": skill[name] for name in ("self", "data", "placebo")},
    }
    return [(above(instrument=name, name=name), figure) for name, figure in figures.items()]


def test_a_family_without_a_true_claim_shows_one_in_at_most_5_percent_of_studies():
    rng = np.random.default_rng(12)
    families = [decide(null_study(rng)) for _ in range(STUDIES)]
    wrong = np.mean([any(one.reads == "shown" for one in family) for family in families])
    alone = np.mean([any(one.p <= ALPHA for one in family) for family in families])
    assert wrong <= 0.05
    assert alone > 0.08, "without Holm the family would be wrong more often: the test can fail"
