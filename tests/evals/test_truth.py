"""Measured beside true, on campaigns worked out by hand."""

import math

import pytest

from evals.truth import TrueCampaign, TruePlan, hold


def plan(accepted, true, *, feedback=0.2, gate=0.1, corrected=0.08, promised=None, confirmed=True):
    return TruePlan(
        accepted=accepted,
        confirmed=confirmed,
        promised=promised,
        feedback=feedback,
        gate=gate,
        corrected=corrected,
        true=true,
    )


@pytest.fixture
def figures():
    good = plan(True, 0.09, promised=0.5)
    false = plan(True, -0.01)
    missed, right = plan(False, 0.06, gate=0.02), plan(False, 0.0)
    unlisted = plan(False, math.nan, gate=None, confirmed=False)
    first, second = (good, missed), (false, right, unlisted)
    campaigns = [
        TrueCampaign(repeat=0, plans=first, closing=0.11, true=0.09, on_folds=0.1, regret=0.2),
        TrueCampaign(repeat=1, plans=second, closing=0.01, true=-0.01, on_folds=0.0, regret=0.3),
    ]
    return hold(campaigns, 0.01)


def value(figures, instrument, side):
    return figures[instrument][side].value


def test_gain_and_regret_are_means_over_campaigns(figures):
    assert value(figures, "gain", "measured") == pytest.approx(0.06)
    assert value(figures, "gain", "true") == pytest.approx(0.04)
    assert value(figures, "regret", "true") == pytest.approx(0.25)


def test_the_gain_on_its_own_folds_leaves_the_draw_of_items_out(figures):
    assert value(figures, "gain on its own folds", "true") == pytest.approx(0.05)


def test_the_true_curse_is_what_the_judge_measured_beyond_the_truth(figures):
    assert value(figures, "winner's curse", "measured") == pytest.approx(0.02)
    assert value(figures, "winner's curse", "true") == pytest.approx((0.01 + 0.11) / 2)


def test_an_accept_that_gains_too_little_is_false_and_a_better_plan_is_missed(figures):
    assert value(figures, "false accepts", "true") == 0.5
    assert value(figures, "missed accepts", "true") == 0.5


def test_an_over_claim_needs_a_promise(figures):
    assert value(figures, "over-claim", "measured") == pytest.approx(0.3)
    assert value(figures, "over-claim", "true") == pytest.approx(0.41)


def test_retention_is_over_all_campaigns_together(figures):
    assert value(figures, "retention", "measured") == pytest.approx(0.12 / 0.2)
    assert value(figures, "retention", "true") == pytest.approx(0.08 / 0.2)


def test_an_unlisted_proposal_says_nothing_of_the_skill_of_proposing(figures):
    assert value(figures, "proposed gain", "true") == pytest.approx((0.075 - 0.005) / 2)


def test_without_a_campaign_nothing_is_measured():
    words = {figure.word for sides in hold([], 0.01).values() for figure in sides.values()}
    assert words and words <= {"not measured", "not exercised"}
