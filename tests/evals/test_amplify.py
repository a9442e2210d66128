import numpy as np
import pytest

from configs.errors import BadInput
from evals.amplify import Skill, amplifying, decline, effects, gain_ratio, rounds_against_one
from evals.arms import Curve
from evals.equivalents import Reference, compute_equivalent, rate_ratio
from evals.growth import growth

RNG = np.random.default_rng()
BUDGETS = 2.0 ** np.arange(7)


@pytest.fixture(autouse=True)
def _seeded(monkeypatch):
    """Each test draws from its own start, whatever ran before it."""
    monkeypatch.setattr(__name__ + ".RNG", np.random.default_rng(0))


def arm(*means, repeats=12, noise=0.02):
    value = np.array(means) + noise * RNG.standard_normal((repeats, len(means)))
    return Curve(
        repeats=tuple(range(repeats)),
        spent=np.tile(1e6 * np.arange(1.0, len(means) + 1), (repeats, 1)),
        value=value,
    )


def skills(both, old_recipe, old, permuted, repeats=12):
    cells = {
        (5, 5, False): both,
        (0, 5, False): old_recipe,
        (0, 0, False): old,
        (5, 5, True): permuted,
    }
    return [
        Skill(repeat=r, recipe=a, history=b, scrambled=c, value=v + 0.01 * RNG.standard_normal())
        for (a, b, c), v in cells.items()
        if v is not None
        for r in range(repeats)
    ]


def test_the_self_effect_holds_the_history_and_the_data_effect_the_recipe():
    found = effects(skills(0.9, 0.6, 0.5, 0.2))
    assert [round(found[n].value, 1) for n in ("self", "data", "placebo")] == [0.3, 0.1, 0.7]


def test_a_proposer_that_only_sees_more_data_has_no_self_effect_though_it_beats_its_frozen_twin():
    found = effects(skills(0.9, 0.9, 0.5, 0.2))
    assert not found["self"].over(0.05) and found["data"].over(0.3)
    arms = {"self": arm(2.0), "frozen": arm(1.0), "refit": arm(2.0)}
    assert not amplifying(found, arms)


def test_amplifying_needs_the_self_effect_and_more_gain_than_refit():
    found, ahead, level = (
        effects(skills(0.9, 0.6, 0.5, 0.2)),
        {"self": arm(2.0), "refit": arm(1.5)},
        {"self": arm(2.0), "refit": arm(2.2)},
    )
    assert (
        amplifying(found, ahead)
        and not amplifying(found, level)
        and not amplifying(found, {"self": arm(2.0)})
    )


def test_a_missing_twin_is_not_measured_and_nine_repeats_cannot_tell():
    assert (
        effects(skills(0.9, None, 0.5, 0.2))["self"].word
        == "not measured"
        == effects([])["data"].word
    )
    nine = effects(skills(0.9, 0.6, 0.5, 0.2, repeats=9))["self"]
    assert nine.word == "cannot tell" and not amplifying(
        {"self": nine}, {"self": arm(2.0), "refit": arm(1.0)}
    )


def test_within_one_deviation_of_the_ceiling_nothing_amplifies():
    found = effects(skills(0.9, 0.6, 0.5, 0.2), ceiling=1.0, deviation=0.1, scores=[0.95] * 12)
    assert found["self"].word == "saturated" and not amplifying(
        found, {"self": arm(2.0), "refit": arm(1.5)}
    )


def test_a_falling_gain_is_ordinary_unless_it_falls_faster_than_its_references():
    falling, steep = (1.0, 1.8, 2.3, 2.6), (1.0, 1.8, 1.85, 1.9)
    arms = {"self": arm(*falling), "refit": arm(*falling), "random": arm(*falling)}
    assert gain_ratio(arms, "self").high < 1 and decline(arms) == "ordinary diminishing returns"
    assert decline(arms | {"self": arm(*steep)}) == "falls faster than its references"
    assert decline(arms | {"self": arm(1.0, 2.0, 3.5, 6.0)}) == "grows more than its references"
    assert decline({"self": arm(*falling)}) == "not measured"
    loud = {name: arm(*falling, noise=1.5) for name in arms}
    assert gain_ratio(loud, "self").value < 1 and gain_ratio(
        loud, "self"
    ).word == "cannot tell" == decline(loud)


def test_no_gain_in_the_first_half_has_no_ratio():
    assert gain_ratio({"self": arm(0.0, 0.0, 0.1, 0.1, noise=0.3)}, "self").word == "cannot tell"


def reference(noise=0.02, flat=()):
    scores = np.arange(7)[:, None] * 0.5 + noise * RNG.standard_normal((7, 10))
    for i in flat:
        scores[i] = 1.5 + noise * RNG.standard_normal(10)
    return Reference(budgets=BUDGETS, scores=scores)


def test_a_compute_equivalent_gain_is_read_off_the_measured_curve():
    figure = compute_equivalent(reference(), 2.0, 2.25 + 0.02 * RNG.standard_normal(12))
    assert (
        figure.value == pytest.approx(4.5 - 1, abs=0.1)
        and figure.low < 3.5 < figure.high
        and figure.word == ""
    )


def test_beyond_the_curve_it_is_censored():
    above, below = (compute_equivalent(reference(), 2.0, [score] * 12) for score in (9.0, -3.0))
    assert (above.word, above.value, above.high) == ("above", 5.0, None) and (
        below.word,
        below.value,
        below.low,
    ) == ("below", -1.0, None)
    long = Reference(budgets=2.0 ** np.arange(10), scores=np.arange(10)[:, None] * np.ones((1, 10)))
    assert compute_equivalent(long, 1.0, [99.0] * 12).value == 6.0


def test_a_mean_just_beyond_the_curve_cannot_be_told_from_its_end():
    figure = compute_equivalent(reference(), 2.0, 3.05 + 0.5 * RNG.standard_normal(12))
    assert figure.word == "cannot tell" and figure.high is None and figure.low < 5


def test_a_flat_piece_of_the_curve_widens_the_interval():
    figure = compute_equivalent(
        reference(flat=(2, 3, 4)), 1.0, 1.5 + 0.02 * RNG.standard_normal(12)
    )
    assert figure.high - figure.low > 1


@pytest.mark.parametrize("shape", [(5, 10), (7, 9)])
def test_a_short_reference_curve_is_refused(shape):
    with pytest.raises(BadInput, match="6 budgets by 10 seeds"):
        Reference(budgets=BUDGETS[: shape[0]], scores=np.zeros(shape))
    with pytest.raises(BadInput, match="in ascending order"):
        Reference(budgets=BUDGETS[::-1], scores=np.zeros((7, 10)))


def log_linear(first=-9.0, last=9.0):
    """A reference whose score is log2 of its compute, from one end to the other."""
    bits = np.linspace(first, last, 8)
    return Reference(budgets=2.0**bits, scores=bits[:, None] + 0.01 * RNG.standard_normal((8, 10)))


def test_the_rate_is_held_against_the_strongest_reference():
    arms = {"self": arm(1.0, 2.0, 3.0), "random": arm(0.1, 0.2, 0.3), "tpe": arm(0.8, 1.6, 2.4)}
    figure, strongest = rate_ratio(arms, ["random", "tpe"], log_linear())
    assert (
        strongest == "tpe"
        and figure.value == pytest.approx(1.25, abs=0.05)
        and 1 < figure.low < figure.value < figure.high
    )
    assert rate_ratio(arms, ["local"], log_linear())[0].word == "not measured"


def test_an_arm_that_outruns_the_measured_reference_is_never_told_to_be_slower():
    """Slopes of clipped points would say so: the faster the arm, the more of its curve lies beyond
    the reference.
    """
    spent, told = np.arange(1.0, 9.0), []
    for times in (1.1, 1.3, 1.6, 4, 8):
        arms = {"self": arm(*(times * spent**0.8)), "random": arm(*spent**0.5)}
        budgets = 1e6 * np.linspace(1, 8, 12)
        own = Reference(
            budgets=budgets,
            scores=np.stack([arms["random"].between(b) for b in budgets]),
            paired=True,
        )
        told.append(rate_ratio(arms, ["random"], own)[0])
    assert [one.value for one in told[:2]] == pytest.approx([1.6, 1.6], abs=0.15) and told[
        0
    ].low > 1
    assert [(one.value, one.word) for one in told[3:]] == [(None, "cannot tell")] * 2
    assert not any(one.high is not None and one.high < 1 for one in told)


def test_rounds_are_held_against_one_shot_at_equal_plan():
    assert rounds_against_one(
        {"self": arm(1.0, 2.0), "one_shot": arm(0.0, 1.5)}
    ).value == pytest.approx(0.5, abs=0.05)
    assert rounds_against_one({"self": arm(1.0)}).word == "not measured"


@pytest.mark.parametrize(
    ("kind", "curve"),
    [
        ("linear", lambda x: 0.2 * x),
        ("exponential", lambda x: np.expm1(0.1 * x)),
        ("saturating", lambda x: 3 * (1 - np.exp(-0.15 * x))),
    ],
)
def test_a_clear_law_of_growth_is_recognised(kind, curve):
    x = np.arange(1, 41)
    found = [
        growth(curve(x) + 0.01 * RNG.standard_normal((10, 40)).cumsum(axis=1)) for _ in range(20)
    ]  # one draw may favour a richer model
    assert sum(one.weights[kind] == max(one.weights.values()) for one in found) >= 14
    assert sum(one.best in (kind, "cannot tell") for one in found) >= 19


def test_growth_is_not_fitted_to_few_generations():
    short = growth(np.arange(19.0)[None, :])
    assert (
        short.weights == {}
        and short.best == "cannot tell"
        and growth(np.arange(20.0)[None, :]).weights
    )


def test_noise_that_hides_the_law_says_how_many_generations_more_would_tell():
    x = np.arange(1, 25)
    found = growth(
        0.1 * x + 0.001 * x**2 + 0.05 * np.random.default_rng(2).standard_normal((10, 24))
    )
    assert found.best == "cannot tell" and found.more is not None and 0 < found.more < 240
