"""Calibration on a box that computes nothing: resumable trainings through the door, rows that are
kept, what a question needs.
"""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import FakeBox

from configs.errors import BadInput, NeedsHuman
from evals.calibrate import Campaigns
from evals.rules import RULES
from loop.calibrate import noise, power, rules
from loop.command import main

FEW = {"baseline": 8, "reference": 4, "slow": 8, "bimodal": 24}
QUICK = Campaigns(campaigns=20, confirmations=2, pairs=8)


def noisy(order):
    return 0.9 if order.seed % 3 else 0.1


@pytest.fixture
def scores(tmp_path, go, monkeypatch):
    """Measure noise on a fake box; returns how often the box ran."""
    monkeypatch.setattr(
        noise,
        "compose_settings",
        lambda o, real=noise.compose_settings: real(
            [*o, f"runs={tmp_path}/runs", "task.train_items=500"]
        ),
    )

    def start(box, task="addition", **kw):
        return go(
            None,
            box,
            lambda _: noise.measure_noise(
                task,
                tmp_path / f"noise-{task}.jsonl",
                **{"runs": FEW, "unattended": True, **kw},
            ),
        )

    return start


def test_noise_is_measured_through_the_door_and_goes_on_where_it_was(tmp_path, scores):
    with pytest.raises(NeedsHuman):
        scores(FakeBox(noisy), unattended=False)
    box = FakeBox(noisy)
    rows = scores(box)
    assert len(rows) == sum(FEW.values()) and len(box.ran) == 2 * len(rows)
    assert len({(r["kind"], r["number"]) for r in rows}) == len(rows)
    seeds = [json.loads(e.files["job.json"])["seed"] for e in box.ran if e.role == "train"]
    assert len(set(seeds)) == len(seeds)  # null a: no two runs share a seed
    again = FakeBox(noisy)
    assert scores(again) == rows and not again.ran
    head, *lines = (tmp_path / "noise-addition.jsonl").read_text().splitlines()
    assert json.loads(head)[
        "command"
    ] == "heirloop calibrate addition --null real --unattended" and len(lines) == len(rows)


def test_simulated_rows_are_kept_and_made_again_when_the_scores_change(
    tmp_path, scores, monkeypatch
):
    with pytest.raises(
        BadInput, match="was not measured yet; run `heirloop calibrate addition --null real"
    ):
        rules.calibrate("addition", "simulated", unattended=False, folder=tmp_path)
    scores(FakeBox(noisy))
    found = rules.calibrate("addition", "simulated", unattended=False, folder=tmp_path, plan=QUICK)
    assert set(found) == {"alpha", "task", "noise", "rules"} and set(found["rules"]) == set(RULES)
    wanted = {"null", "campaigns", "false_keep_rate", "upper", "fake_gain", "power", "replicates"}
    assert all(
        wanted <= set(row) and set(row["others"]) == {"b", "c"} for row in found["rules"].values()
    )
    assert (
        found["rules"]["greedy"]["false_keep_rate"]
        > 0.3
        > found["rules"]["group_sequential"]["false_keep_rate"]
    )
    monkeypatch.setattr(rules, "calibrate_row", lambda *a: pytest.fail("a kept row was made again"))
    assert (
        rules.calibrate("addition", "simulated", unattended=False, folder=tmp_path, plan=QUICK)
        == found
    )
    with (tmp_path / "noise-addition.jsonl").open("a") as file:
        file.write(
            json.dumps({"kind": "slow", "number": 99, "exact_match": 0.5, "cpu_us": 1}) + "\n"
        )
    with pytest.raises(pytest.fail.Exception):
        rules.calibrate("addition", "simulated", unattended=False, folder=tmp_path, plan=QUICK)


def test_the_real_null_uses_every_score_once(tmp_path, scores, monkeypatch):
    scores(FakeBox(noisy))
    monkeypatch.setattr(noise, "ENOUGH", sum(FEW.values()))
    found = rules.calibrate("addition", "real", unattended=False, folder=tmp_path, plan=QUICK)
    row = found["rules"]["group_sequential"]
    assert (
        row["trainings"] == sum(FEW.values())
        and row["null"] == "a"
        and row["confirmations"] * row["replicates"] * 2 <= row["trainings"]
    )


def test_the_noise_of_a_task_in_bits_is_in_bits_and_betting_is_no_rule_for_it(
    tmp_path, scores, monkeypatch
):
    monkeypatch.setattr(noise, "ENOUGH", sum(FEW.values()))
    rows = scores(FakeBox(lambda order: 0.2 + order.seed % 7 / 100), task="text-small")
    found = rules.calibrate("text-small", "real", unattended=False, folder=tmp_path, plan=QUICK)
    assert set(found["rules"]) == set(RULES) - {"betting"}
    for kind, (count, deviation) in found["noise"].items():
        bits = [row["bits"] for row in rows if row["kind"] == kind]
        assert count == len(bits) and deviation == round(float(np.std(bits)), 4) > 0
    assert found["rules"]["paired_t"]["trainings"] == len(rows)
    first = (tmp_path / "noise-text-small.jsonl").read_text().splitlines()[0]
    assert json.loads(first)["command"].startswith("heirloop calibrate text-small --null real")
    simulated = rules.calibrate(
        "text-small", "simulated", unattended=False, folder=tmp_path, plan=QUICK
    )
    assert set(simulated["rules"]) == set(found["rules"])


def test_power_tells_what_a_question_needs_and_a_larger_gain_needs_less():
    verb = ["power", "task=addition-v1", "--json"]
    few, many = (
        json.loads(
            CliRunner().invoke(main.cli, [*verb, "--gain", g], catch_exceptions=False).output
        )[0]
        for g in ("0.4", "0.2")
    )
    assert few["most pairs"] <= many["most pairs"] and few["likely"] < many["likely"]
    with pytest.raises(BadInput, match="a gain above 0"):
        power.power([], gain=0.0, target=0.8)
