"""A review of claims, held to closed forms and to a count by other code."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from scipy.stats import mannwhitneyu, norm

from evals.review import auroc, bin_review, measure_review
from evals.writeups import REVIEWERS, Claim, Stated, find_novelty

STATED = Stated(
    kind="gain",
    says="width: 32 to 48 gains more than 0.01 bits",
    changed=("width: 32 to 48",),
    why="",
    above=True,
    bound=0.01,
    estimate=0.03,
    error=0.01,
    pairs=8,
    tried=4,
    screened=0.05,
)


def claim(repeat, fresh, law=None, **stated):
    return Claim(
        plan=f"{repeat}:{fresh}",
        arm="local",
        repeat=repeat,
        generation=1,
        accepted=True,
        stated=replace(STATED, **stated),
        fresh=fresh,
        fresh_error=0.01,
        law=fresh if law is None else law,
    )


def test_auroc_is_the_rank_sum_statistic_and_its_closed_form():
    rng = np.random.default_rng(1)
    truth = rng.random(4000) < 0.4
    scores = rng.normal(0, 1, 4000) + 1.2 * truth
    counted = mannwhitneyu(scores[truth], scores[~truth]).statistic
    assert auroc(scores, truth) == pytest.approx(counted / truth.sum() / (~truth).sum())
    assert auroc(scores, truth) == pytest.approx(norm.cdf(1.2 / math.sqrt(2)), abs=0.02)
    assert auroc(np.round(scores), truth) == pytest.approx(
        mannwhitneyu(np.round(scores)[truth], np.round(scores)[~truth]).statistic
        / truth.sum()
        / (~truth).sum()
    )
    assert math.isnan(auroc(scores, np.ones(4000, bool)))


def world(rng, repeats=20, each=12):
    """Claims whose true gains vary by repeat and claim, with evidence and checks of known noise."""
    claims = list[Claim]()
    for repeat in range(repeats):
        gains = rng.normal(rng.normal(0.01, 0.01), 0.02, each)
        claims += [claim(repeat, gain, estimate=gain + rng.normal(0, 0.01)) for gain in gains]
    return claims


def test_the_interval_covers_the_true_auroc():
    """Repeats are drawn anew: most intervals hold the value over very many repeats."""
    rng = np.random.default_rng(2)

    def told(claims):
        said = {"estimate": REVIEWERS["estimate"]([one.stated for one in claims])}
        return measure_review(claims, said)["estimate"]["AUROC"]

    true = told(world(rng, repeats=800)).value
    held = [told(world(rng)) for _ in range(80)]
    covered = sum(one.low <= true <= one.high for one in held)
    assert 0.8 < true < 0.99
    assert covered >= 70  # 76 expected; at most 6 in 1000 such counts are lower at 95 %


def test_who_foresees_nothing_has_an_auroc_of_a_half_and_its_bias_is_told():
    rng = np.random.default_rng(3)
    claims = world(rng)
    blind = {"blind": np.full(len(claims), 0.9)}
    figures = measure_review(claims, blind)["blind"]
    share = np.mean([one.replicates for one in claims])
    assert figures["AUROC"].value == 0.5
    assert figures["bias"].value == pytest.approx(0.9 - share)
    assert figures["Brier"].value == pytest.approx(0.81 * (1 - share) + 0.01 * share)


def test_a_claim_that_no_gain_is_there_replicates_where_there_is_none():
    none = claim(0, 0.0, above=False)
    assert none.replicates and none.holds and not claim(0, 0.0).replicates
    assert not claim(0, 0.02, above=False).replicates
    assert not replace(none, fresh=math.nan).checked
    assert measure_review([none], {})["checked"].value == 1
    figures = measure_review([none, claim(0, 1.0)], {"x": np.array([0.5, 0.5])})
    assert figures["x"]["AUROC"].word == "undefined"


def test_unchecked_claims_count_in_the_share_that_was_checked_alone():
    known = [claim(repeat, 0.05 * (repeat % 2)) for repeat in range(12)]
    more = [*known, *(claim(repeat, math.nan) for repeat in range(12))]
    said = [{"x": np.linspace(0, 1, len(claims))} for claims in (known, more)]
    first, second = (measure_review(c, s) for c, s in zip((known, more), said, strict=True))
    assert (first["checked"].value, second["checked"].value) == (1, 0.5)
    assert first["x"]["AUROC"].value == pytest.approx(second["x"]["AUROC"].value)


def test_predictions_are_held_beside_the_findings_of_the_same_write_ups():
    """Findings whose prediction the table lacks do not count against those that it has."""
    claims = list[Claim]()
    for repeat in range(12):
        kept = replace(claim(repeat, 0.1), plan=f"{repeat}:kept")
        lost = replace(claim(repeat, 0.0), plan=f"{repeat}:lost")
        said = replace(STATED, kind="compute")
        claims += [kept, lost, replace(kept, stated=said)]
        claims += [replace(lost, stated=said, fresh=math.nan)]
    figures = measure_review(claims, {})["replicates"]
    assert (figures["gain"].value, figures["compute"].value) == (0.5, 1)
    assert figures["gain minus compute"].value == 0


def test_a_reviewer_sees_neither_author_nor_check():
    """What tells who wrote a claim, what became of it, and whether it holds is no part of it."""
    seen = {field.name for field in fields(Stated)}
    hidden = {field.name for field in fields(Claim)} - {"stated"}
    assert not seen & hidden and not any("arm" in name or "seed" in name for name in seen)


def test_reviewers_go_by_the_evidence_and_care_is_less_sure():
    claims = [replace(STATED, estimate=value) for value in (-0.05, 0.0, 0.02, 0.05)]
    for name in ("estimate", "care"):
        said = REVIEWERS[name](claims)
        assert (np.diff(said) > 0).all() and ((said > 0) & (said < 1)).all()
    predicted = [*claims, replace(claims[3], kind="compute")]
    sure, careful = (REVIEWERS[name](predicted) for name in ("estimate", "care"))
    assert sure[4] == sure[3] and careful[4] < careful[3]
    against = REVIEWERS["estimate"]([replace(one, above=False) for one in claims])
    assert against == pytest.approx(1 - REVIEWERS["estimate"](claims))
    assert REVIEWERS["screening"]([replace(STATED, screened=math.nan)]) == pytest.approx([0.5])


def test_bins_hold_every_claim_once():
    said, truth = np.array([0.0, 0.05, 0.95, 1.0]), np.array([False, False, True, False])
    assert bin_review(said, truth) == [(0.025, 0.0, 2), (0.975, 0.5, 2)]


def test_novelty_is_nothing_for_a_repeated_plan_and_all_for_one_that_shares_nothing():
    base = (1, "a", 0.1)
    rows = [
        ("same", base, ("x: 1 to 2",)),
        ("new", (2, "b", 0.2), ("y: a to b", "z: 1 to 2")),
        ("again", (2, "b", 0.2), ("y: a to b",)),
    ]
    found = find_novelty(rows, base, 0)
    assert [one.of_plan for one in found] == [0, 1, 0]
    assert [one.of_claim for one in found] == [1, 1, 0.5]
