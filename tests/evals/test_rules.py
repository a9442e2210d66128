import itertools
from dataclasses import replace

import numpy as np
import pytest

from configs.errors import BadInput
from evals.rules import RULES, _spent

KNOWN = {"level": 0.005, "effect": 0.0, "deviation": 0.0877, "most": 12}
BIMODAL = (1.0, 1.0, 0.1)


def null_gains(rng, shape, sample=BIMODAL):
    return rng.choice(sample, shape) - rng.choice(sample, shape)


@pytest.mark.parametrize("rule", RULES)
def test_one_decision_and_many_at_once_are_the_same_rule(rule):
    x = np.random.default_rng(4).normal(0.1, 0.12, (60, 12)).clip(-1, 1)
    accepted, pairs = RULES[rule].play(
        x, **{k: v for k, v in KNOWN.items() if k != "most"}, first_look=4
    )
    for row, won, n in zip(x, accepted, pairs, strict=True):
        answers = [RULES[rule](row[:k], **KNOWN).answer for k in range(4, n + 1)]
        assert (
            answers[:-1] == ["continue"] * (len(answers) - 1)
            and (answers[-1] == "accept") == won
            and answers[-1] != "continue"
        )


def test_rounding_is_no_gain():
    """Gains in items that cancel leave 6.9e-18 as their mean; a study's greedy arm once kept it."""
    cancel = [0.1, 0.2, -0.3]
    assert 0 < sum(cancel) < 1e-15
    assert RULES["greedy"](cancel, **KNOWN).answer == "reject"
    at_effect = [0.52 - 0.50] * 8
    assert np.mean(at_effect) > 0.02
    known = KNOWN | {"effect": 0.02, "most": 8}
    assert RULES["group_sequential"](at_effect, **known).answer == "reject"


def test_sign_patterns_are_counted_exactly():
    x = np.random.default_rng(0).normal(0.3, 1, 7)
    signs = np.array(list(itertools.product((1, -1), repeat=7)))
    share = ((signs * np.abs(x)).sum(axis=1) >= x.sum() - 1e-9).mean()
    assert RULES["group_sequential"].evidence(x[None, :], 0.0, 1.0)[0, -1] == pytest.approx(share)


@pytest.mark.parametrize("level", [0.05, 0.0167, 0.005, 0.001])
@pytest.mark.parametrize("most", [4, 8, 12, 20])
def test_looks_never_spend_more_than_the_level(level, most):
    asked = _spent(level, most)
    assert asked[asked > 0].sum() <= level + 1e-12


@pytest.mark.parametrize("rule", ["sign_flip", "group_sequential"])
def test_under_symmetry_evidence_is_fair_whatever_the_noise(rule):
    for sample in (
        BIMODAL,
        (0.0, 0.0, 0.0, 1.0),
        tuple(np.random.default_rng(1).normal(0.5, 0.1, 99)),
    ):
        x = null_gains(np.random.default_rng(2), (6000, 12), sample)
        p = RULES[rule].evidence(x[:, :10] if rule == "group_sequential" else x, 0.0, 0.0877)
        if rule == "sign_flip":
            assert (1 / p[:, :4]).mean(axis=0).max() < 1.1  # an e-value's mean is at most 1
            assert ((p <= 0.05).any(axis=1)).mean() < 0.05 + 0.008
        else:
            assert all((p[:, -1] <= level).mean() <= level + 0.01 for level in (0.01, 0.05, 0.2))


def test_betting_is_fair_for_bounded_gains_of_any_shape():
    rng = np.random.default_rng(3)
    x = np.where(rng.random((6000, 12)) < 0.1, -0.81, 0.09)
    assert (RULES["betting"].evidence(x, 0.0, 0.0877) <= 0.05).any(axis=1).mean() <= 0.05
    shifted = (
        np.where(rng.random((6000, 12)) < 0.1, -0.81, 0.09) + 0.2
    )  # true gain equal to an effect of 0.2
    assert (RULES["betting"].evidence(shifted - 0.2, 0.2, 0.0877) <= 0.05).any(
        axis=1
    ).mean() <= 0.05


def rate(rule, x, **kw):
    return rule.play(
        x, **{"level": 0.05, "effect": 0.0, "deviation": 0.0877, "first_look": 4, **kw}
    )[0].mean()


def test_every_rules_correction_is_what_holds_its_level():
    rng = np.random.default_rng(6)
    normal, bimodal = rng.normal(0, 0.12, (8000, 12)), null_gains(rng, (8000, 12))
    spread = replace(
        RULES["group_sequential"], asked=lambda level, most: np.full(most, level)
    )  # the whole level at every look
    assert rate(RULES["group_sequential"], normal) <= 0.055 < 0.08 < rate(spread, normal)
    peeked = replace(RULES["paired_t"], asked=lambda level, most: np.full(most, level))
    assert rate(RULES["paired_t"], normal) <= 0.055 < 0.08 < rate(peeked, normal, deviation=1e-9)
    for rule in ("sign_flip", "t_mixture"):
        eager = replace(RULES[rule], asked=lambda level, most: np.ones(most))  # any e-value above 1
        assert rate(RULES[rule], normal) <= 0.055 < rate(eager, normal)
    bold = replace(
        RULES["betting"], evidence=lambda x, e, d: RULES["betting"].evidence(np.abs(x), e, d)
    )
    assert rate(RULES["betting"], bimodal) <= 0.055 < 0.2 < rate(bold, bimodal)
    assert rate(RULES["greedy"], normal, first_look=1) > 0.4  # nothing corrects it


@pytest.mark.parametrize("rule", ["group_sequential", "sign_flip", "betting"])
def test_a_rule_that_stops_early_could_not_have_accepted_later(rule):
    x = np.random.default_rng(9).normal(0.3, 0.5, (300, 12)).clip(-1, 1)
    patient = replace(RULES[rule], fastest=0.0)
    assert rate(RULES[rule], x, level=0.02) == rate(patient, x, level=0.02) > 0


def test_more_gain_never_weakens_the_evidence_of_sign_patterns():
    rng = np.random.default_rng(10)
    x = rng.normal(0, 1, (200, 9))
    more = x + rng.exponential(0.3, x.shape)
    evidence = RULES["group_sequential"].evidence
    assert (evidence(more, 0.0, 1.0) <= evidence(x, 0.0, 1.0) + 1e-12).all()


def test_gains_that_are_no_numbers_and_pairs_beyond_the_plan_are_refused():
    numbers, pairs = "finite numbers", "between 1 and the planned most of 12 pairs"
    for gains, right in (
        ([0.1, np.nan], numbers),
        ([np.inf], numbers),
        ([0.1] * 13, pairs),
        ([], pairs),
    ):
        with pytest.raises(BadInput, match=f"gains is .* it should be {right}"):
            RULES["group_sequential"](gains, **KNOWN)
