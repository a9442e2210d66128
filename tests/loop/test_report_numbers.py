"""Each displayed number of a two-arm, two-repeat study, computed again from the ledger alone.

The other path reads the bodies of the entries: it uses neither the report, the instruments nor the
summary.
"""

import json
import math
from collections import Counter, defaultdict
from statistics import fmean

import pytest
from fakes import FakeBox
from reports import read_report, rows_of, text_of
from studies import config, mandate

from loop.report import make
from loop.report.rows import number
from sandbox.ledger import Ledger

GENERATIONS = 3
PER_CPU_SECOND = 1_000_000


def deeper(order):
    """Deeper and wider nets are better, so random draws gain and single steps hardly do."""
    return min(0.95, 0.3 + 0.1 * order.recipe.depth + 0.001 * order.recipe.width)


@pytest.fixture
def done(tmp_path, go, copied):
    """A finished study of two arms and two repeats; the folder of its run."""

    def play_twice(folder):
        cfg = config(
            folder,
            f"study.generations={GENERATIONS}",
            "study.arms=[local, random]",
            "study.repeats=2",
        )
        mandate(cfg)
        go(cfg, FakeBox(deeper))
        make.again(folder / "runs" / "t")

    copied(play_twice)
    return tmp_path / "runs" / "t"


class Book:
    """The bodies of a ledger's entries, by kind."""

    def __init__(self, folder):
        self.of = defaultdict(list)
        for entry in Ledger.at(folder).entries():
            self.of[entry.kind].append(entry.body)
        self.plans = {body["digest"]: body["plan"] for body in self.of["plan"]}
        self.verdicts = {body["plan"]: body["verdict"] for body in self.of["verdict"]}
        self.champions = defaultdict(list)
        for body in self.of["champion"]:
            self.champions[body["arm"], body["repeat"]].append(body["plan"])

    def scores(self, plan, role):
        """Return the scores of a plan's role by index."""
        return {
            body["index"]: body["scores"]
            for body in self.of["score"]
            if (body["plan"], body["role"]) == (plan, role) and body["scores"]
        }

    def shown(self, plan):
        """Return a plan's feedback as people see it."""
        return round(self.scores(plan, "predict")[0]["exact_match"], 2)

    def look(self, campaign):
        """Return the digest of a campaign's closing look, or None."""
        looks = [
            name
            for name, plan in self.plans.items()
            if plan["purpose"] == "final" and (plan["arm"], plan["repeat"]) == campaign
        ]
        return looks[0] if looks else None


def odds(scores):
    """Return the log-odds of a share of items."""
    right = round(scores["exact_match"] * scores["items"])
    return math.log((right + 0.5) / (scores["items"] - right + 0.5))


def gain_of(book, look):
    """Return the mean paired gain of a closing look, in log-odds."""
    new, old = book.scores(look, "predict"), book.scores(look, "champion-predict")
    assert new.keys() == old.keys() and new
    return fmean(odds(new[i]) - odds(old[i]) for i in new)


def test_the_closing_looks_pair_each_champion_with_the_baseline_of_its_own_campaign(done):
    """Fails where an arm's baseline stands beside another arm's champion."""
    book, found = Book(done), read_report(done)
    rows = [*rows_of(found, "closing"), *rows_of(found, "closings")]
    looked = [key for key in sorted(book.champions) if book.look(key)]
    assert looked and {row[0] for row in rows} == {f"{arm}, {repeat}" for arm, repeat in looked}
    assert len({row[0] for row in rows_of(found, "closing")}) == 1
    for arm, repeat in looked:
        look = book.look((arm, repeat))
        shown = {row[1]: row[3:] for row in rows if row[0] == f"{arm}, {repeat}"}
        for metric in ("exact_match", "token_accuracy", "nll"):
            sides = [
                fmean(scores[metric] for scores in book.scores(look, role).values())
                for role in ("champion-predict", "predict")
            ]
            assert shown[metric] == pytest.approx(tuple(sides)), (arm, repeat, metric)
        assert shown["exact_match"][1] - shown["exact_match"][0] == pytest.approx(
            book.verdicts[look]["gain"]
        )


def test_the_summary_s_baseline_and_champion_are_of_one_campaign(done):
    book, whole = Book(done), json.loads((done / "summary.json").read_text())
    best, base = (book.plans[whole[side]["plan"]] for side in ("champion", "baseline"))
    assert (best["arm"], best["repeat"]) == (base["arm"], base["repeat"])
    look = book.look((best["arm"], best["repeat"]))
    for side, role in (("baseline", "champion-predict"), ("champion", "predict")):
        shares = [scores["exact_match"] for scores in book.scores(look, role).values()]
        assert whole[side]["scores"]["gate"]["exact_match"] == pytest.approx(fmean(shares))


def test_each_campaign_s_row_is_its_ledger_s(done):
    book, rows = Book(done), rows_of(read_report(done), "arms")
    assert len(rows) == len(book.champions) == 4
    for row in rows:
        names = book.champions[row[0], row[1]]
        look = book.look((row[0], row[1]))
        verdict = book.verdicts[look] if look else dict.fromkeys(("gain", "low", "high"))
        assert row[2:5] == (len(names) - 1, book.shown(names[0]), book.shown(names[-1]))
        assert row[5:8] == (verdict["gain"], verdict["low"], verdict["high"])
        assert bool(look) is (len(set(names)) > 1)


def test_the_scores_of_each_generation_are_the_champions(done):
    book, found = Book(done), read_report(done)
    for arm, generation, mean, _, _, repeats in rows_of(found, "scores"):
        best = []
        for (other, _), names in book.champions.items():
            reached = [n for n in names if book.plans[n]["generation"] <= generation]
            best += [book.shown(reached[-1])] if other == arm else []
        assert (mean, repeats) == (pytest.approx(fmean(best)), len(best))
    trials = Counter(
        (plan["arm"], plan["repeat"], plan["generation"], book.shown(name))
        for name, plan in book.plans.items()
        if plan["purpose"] in ("baseline", "candidate")
    )
    assert Counter(rows_of(found, "trials")) == trials


def test_the_last_gain_of_each_arm_is_its_closing_look_and_says_so(done):
    """Fails where an arm stands before its closing look under a caption that says closing look."""
    book, found = Book(done), read_report(done)
    for arm in ("local", "random"):
        (end,) = [row for row in rows_of(found, "ends") if row[0] == arm]
        looks = [book.look((arm, repeat)) for repeat in (0, 1)]
        gains = [gain_of(book, look) if look else 0.0 for look in looks]
        assert end[2] == pytest.approx(fmean(gains)) and end[5:] == (2, "closing looks")
        closing = next(r for r in rows_of(found, "rungs") if r[:2] == (arm, "closing"))
        assert closing[2] == pytest.approx(end[2])
        for row in rows_of(found, "gains"):
            if row[0] == arm and row[1] < end[1]:
                assert row[6] in ("accepted plans", "closing looks of 1 of 2")


def test_charges_counts_and_looks_are_sums_over_the_ledger(done):
    book, found = Book(done), read_report(done)
    budget = {row[0]: row[1:3] for row in rows_of(found, "budget")}
    root = next(b["limit"] for b in book.of["account"] if b["name"] == "root")
    jobs = sum(b["result"]["charged"]["cpu_us"] for b in book.of["job"])
    proposing = sum(row[1] for row in rows_of(found, "accounts") if row[0] == "propose")
    assert budget["jobs"] == (root["jobs"], len(book.of["start"]))
    assert budget["cpu"][0] == root["cpu_us"] / PER_CPU_SECOND
    assert budget["cpu"][1] == pytest.approx(jobs / PER_CPU_SECOND + proposing)
    assert rows_of(found, "burn")[-1][2] == pytest.approx(budget["cpu"][0] - budget["cpu"][1])
    looks = Counter(body["split"] for body in book.of["look"])
    assert {row[0]: row[1] for row in rows_of(found, "looks") if row[1]} == dict(looks)
    assert rows_of(found, "runs")[0][7] == len(book.of["start"])


def test_the_funnel_and_the_sentences_count_what_the_ledger_holds(done):
    book, found = Book(done), read_report(done)
    candidates = {n: p for n, p in book.plans.items() if p["purpose"] == "candidate"}
    accepted = Counter(arm for (arm, _), names in book.champions.items() for _ in names[1:])
    for arm in ("local", "random"):
        rows = {row[1]: row[2] for row in rows_of(found, "funnel") if row[0] == arm}
        invalid = sum(body["arm"] == arm for body in book.of["invalid"])
        proposed = sum(plan["arm"] == arm for plan in candidates.values())
        assert sum(rows.values()) == proposed + invalid and rows["accepted"] == accepted[arm]
    text = text_of(found, "happened")
    assert f"{len(candidates)} proposals became plans" in text
    assert f"{accepted.total()} were accepted; {len(book.of['start'])} jobs" in text
    lived = max(plan["generation"] for plan in candidates.values())
    assert f"Lived by the campaigns: {lived} of {GENERATIONS}" in text_of(found, "methods")


def test_decisions_are_counted_by_class_as_the_gate_gave_them(done):
    book, found = Book(done), read_report(done)
    given = Counter((b["class"], b["how"]) for b in book.of["decision"] if b["allow"])
    rows = rows_of(found, "decisions")
    assert {(row[0], "mandate"): row[1] for row in rows} == dict(given)
    assert all(row[3] == 0 and row[7] == row[1] for row in rows)  # nothing denied, all unattended


@pytest.mark.parametrize("noise", [-2.776e-17, 1.1e-16, -0.0])
def test_a_sum_that_cancels_is_written_as_0(noise):
    assert number(noise) == "0" and number(-2.5e-5) == "-2.5e-05"
