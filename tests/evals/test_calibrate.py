import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evals.calibrate import (
    NULLS,
    Campaigns,
    calibrate,
    campaigns_needed,
    draw,
    fingerprint,
    pairs_needed,
    power,
    real,
    upper,
)
from evals.rules import RULES

FEW = Campaigns(campaigns=150)
BIMODAL = [1.0, 1.0, 0.1]
NORMAL = list(np.random.default_rng(1).normal(0.5, 0.0877, 500))


@pytest.mark.parametrize("null", NULLS)
def test_a_nulls_true_gain_is_the_bar(null):
    mine, theirs = draw(
        null, np.array(NORMAL), np.random.default_rng(0), (40_000,), 0.0 if null != "c" else 0.1
    )
    assert (mine - theirs).mean() == pytest.approx(0.1 if null == "c" else 0.0, abs=0.003)


@pytest.mark.parametrize("sample", [NORMAL, BIMODAL], ids=["normal", "bimodal"])
@pytest.mark.parametrize("null", ["a", "c"])
def test_the_default_holds_on_null_a_and_c_and_greedy_does_not(null, sample):
    found, greedy = (calibrate(rule, null, sample, FEW) for rule in ("group_sequential", "greedy"))
    assert (
        found["false_keep_rate"] <= 0.05 + 0.04
        and found["fake_gain"] < 0.02
        and found["upper"] > found["false_keep_rate"]
    )
    assert greedy["false_keep_rate"] > 0.2 and greedy["fake_gain"] > 3 * found["fake_gain"]


def test_greedy_reports_a_gain_that_is_not_there():
    fake = calibrate("greedy", "a", NORMAL, replace(FEW, campaigns=1000))["fake_gain"]
    assert 2.2 < fake / 0.0877 < 2.8  # records of 100 normals lie 2.5 deviations above the first


def test_a_hidden_failure_fools_the_default_in_most_campaigns_and_never_betting():
    sample = [0.94] * 9 + [0.04]
    assert calibrate("group_sequential", "b", sample, FEW)["false_keep_rate"] > 0.9
    assert calibrate("betting", "b", sample, FEW)["false_keep_rate"] == 0


def test_the_default_sees_three_deviations_within_twelve_pairs():
    seen, used = power(
        "group_sequential", np.array(NORMAL), Campaigns(), np.random.default_rng(0), 1000
    )
    assert seen is not None and seen > 0.97 and used < 10
    assert (
        power("group_sequential", np.array([0.5]), Campaigns(), np.random.default_rng(0))[0] is None
    )


def test_real_scores_are_used_once_and_in_order():
    row = real("group_sequential", {"one": [0.5] * 50, "two": [0.9, 0.1] * 20}, Campaigns())
    assert (
        row["trainings"] == 90 and row["false_accepts"] == 2
    )  # 20 pairs of +0.8 are two confirmations of nine
    assert row["confirmations"] >= 8 and row["campaigns"] == row["confirmations"] // 10


def test_the_upper_bound_is_clopper_and_pearsons():
    assert (
        upper(0, 59) == pytest.approx(0.0495, abs=1e-3)
        and upper(5, 5) == 1.0
        and upper(1, 100) == pytest.approx(0.0466, abs=1e-3)
    )


def test_what_a_question_needs():
    most, used, idle = pairs_needed("sign_flip", np.array(NORMAL), 0.3, Campaigns(), 0.8)
    assert most is not None and 8 <= most <= 12 and used <= most and idle <= most
    assert pairs_needed("betting", np.array(NORMAL), 0.02, Campaigns(), 0.8)[0] is None
    assert campaigns_needed(0.1, 0.1, 0.05, 0.8) == 10  # as every table of power says


def test_the_recorded_calibration_meets_the_targets_that_the_document_states():
    figures = Path(__file__).resolve().parents[2] / "docs" / "figures"
    assert len((figures / "noise-addition-v1.jsonl").read_text().splitlines()) > 200
    rows = [
        json.loads(line)
        for line in (figures / "calibration-addition-v1.jsonl").read_text().splitlines()
    ]
    mine = [r for r in rows if r["rule"] == "group_sequential" and r["null"] in "ac"]
    assert len(mine) == 10 and all(
        r["campaigns"] == 2000 and r["false_keep_rate"] <= 0.05 for r in mine
    )
    assert all(r["power"] is None or r["power"] >= 0.8 for r in mine if r["null"] == "a")


def test_a_fingerprint_hangs_on_what_a_rule_does_and_on_the_null(monkeypatch):
    rule = "group_sequential"
    whole = {null: fingerprint(rule, null) for null in NULLS}
    assert whole == {null: fingerprint(rule, null) for null in NULLS}
    assert len({tuple(row) for row in whole.values()}) == len(NULLS)
    assert fingerprint("sign_flip", "a") != whole["a"]
    lax = replace(RULES[rule], asked=lambda level, most: np.full(most, 2 * level))
    monkeypatch.setitem(RULES, rule, lax)
    assert fingerprint(rule, "a") != whole["a"]
