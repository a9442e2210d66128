"""The instruments on ledgers: whole studies on a box that computes nothing, read back as records
and figures.
"""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import FakeBox
from studies import better, config, mandate, put_mandate, read_facts

from configs.build import plain
from configs.entries import HandedEntry, StartEntry, facts_of
from configs.errors import BadInput
from evals.arms import Curve
from evals.intervals import mean
from evals.loss import FATES, PARTS, PlanFact
from evals.oversight import SignedDecision
from evals.pace import Effort
from loop.command import main
from loop.command.instruments import is_missing
from loop.instruments.between import best_of, cap, ceiling_of, equivalents
from loop.instruments.closure import wall_seconds
from loop.instruments.gains import correct_gain, pair_gain, pair_scores
from loop.instruments.gather import Records, read_records
from loop.instruments.measure import FIGURE, flatten, measure, measure_records
from loop.instruments.raised import measure_raised
from loop.instruments.run import Run
from loop.report import make
from loop.unseal import unseal, unseal_arm
from sandbox import control, keys
from sandbox.decision import unix
from sandbox.ledger import Ledger
from sandbox.unsigned import new_mandate

SMALL = ("study.generations=1", "study.arms=[local]", "study.proposals=1")


def play(tmp_path, go, name="t", *more, quality=better):
    cfg = config(
        tmp_path, f"study.name={name}", "study.generations=4", "study.arms=[local, random]", *more
    )
    mandate(cfg)
    go(cfg, FakeBox(quality))
    return tmp_path / "runs" / name


def test_the_gain_of_a_campaign_is_its_closing_look_and_its_plan_is_what_was_planned(tmp_path, go):
    folder = play(tmp_path, go)
    found = read_records([folder])
    last = {g.arm: g for g in found.gains if g.generation == 4}
    told = json.loads((folder / "summary.json").read_text())
    assert all(arm["confirm"] == arm["gate"] for arm in told["arms"])
    gate = {arm["arm"]: arm["confirm"]["gain"] for arm in told["arms"]}
    assert (
        last["local"].value > 3 and 0.5 < gate["local"] < 1
    )  # log-odds, not the share that the verdict holds
    closing = {h.rung: h.value for h in found.held["local"]}
    assert (
        closing["closing"] == last["local"].value and "sealed" not in closing
    )  # what is kept is told on the same scale
    spent = [g.planned_cpu_us for g in found.gains if g.arm == "local"]
    starts = facts_of(Ledger.at(folder).entries(), StartEntry)
    trainings = sum(start.job.role.endswith("train") for start in starts)
    planned = found.config.task.planned_cpu_us
    assert (
        spent == sorted(spent)
        and spent[0] >= 3 * planned
        and sum(g.planned_cpu_us for g in last.values()) <= (trainings + 20) * planned
    )


def test_every_proposal_is_in_the_funnel_once_and_the_promise_adds_up(tmp_path, go):
    arm = measure([play(tmp_path, go)])["arms"]["local"]
    assert (
        sum(row["plans"] for row in arm["funnel"]) == 8
        and next(r["plans"] for r in arm["funnel"] if r["fate"] == "accepted") >= 1
    )
    parts = math.fsum(arm["promise"][name]["value"] for name in (*FATES[:-1], *PARTS))
    assert parts == pytest.approx(arm["promise"]["promised"]["value"])


def test_a_study_that_accepts_nothing_gained_exactly_nothing(tmp_path, go):
    folder = play(tmp_path, go, quality=lambda order: 0.5)
    found = read_records([folder])
    assert {g.value for g in found.gains} == {0.0}
    assert measure([folder])["arms"]["local"]["human cost"]["minutes"]["word"] == "undefined"


def test_a_mandate_that_nobody_signed_is_an_unattended_rule_and_a_program_no_lineage(tmp_path, go):
    found = read_records([play(tmp_path, go)])
    actors = {(e.stage, e.actor) for e in found.events["local"]}
    assert (
        ("approve", "unattended rule") in actors
        and ("propose", "fixed program") in actors
        and ("set budget", "person") in actors
    )
    assert not any(actor in ("lineage", "standing rule") for _, actor in actors)


def test_a_mandate_that_a_person_signed_is_a_standing_rule(tmp_path, go):
    cfg = config(tmp_path)
    keys.new_key("ada", "person", "correct horse")
    key = keys.open_key("ada", "correct horse")
    put_mandate(
        cfg,
        keys.sign(
            plain(new_mandate(cfg, cfg.gates.unattended, "person", "ada", keys.public_hex(key))),
            key,
            "mandate",
        ),
    )
    go(cfg, FakeBox(better))
    found = read_records([tmp_path / "runs" / "t"])
    assert {e.actor for e in found.events["local"] if e.stage == "approve"} == {
        "standing rule"
    } and found.effort.mandates == 1


def test_a_simulated_reviewer_is_no_person_and_what_it_stands_in_for_is_told_apart(tmp_path, go):
    cfg = config(
        tmp_path,
        "autonomy=assisted",
        "gates=attended",
        "reviewer=fatigue",
        "study.generations=4",
        "reviewer.false_alarm_rate=0",
    )
    go(cfg, FakeBox(better))
    found, told = read_records([tmp_path / "runs" / "t"]), measure([tmp_path / "runs" / "t"])
    arm = told["arms"]["local"]
    assert (
        arm["automation"]["train"]["value"] == arm["automation"]["promote"]["value"] == 1
        and arm["stage"] == "bounded"
    )
    other = arm["were reviewers people"]
    assert (
        other["automation"]["approve"]["value"] == other["automation"]["promote"]["value"] == 0
        and other["stage"] == "assisted"
    )
    acts = found.simulated["local"].decisions
    assert (
        sum(found.efforts["local"].decisions) == 0 < acts[0]
        and found.simulated["local"].minutes[0] > 0
    )
    all_acts = sum(sum(one.decisions) for one in found.simulated.values())
    assert told["generations per act of simulated reviewers"]["value"] == pytest.approx(
        4 / all_acts
    )
    make.again(tmp_path / "runs" / "t")
    report = json.loads((tmp_path / "runs" / "t" / "report.json").read_text())
    rows = [
        r
        for s in report["sections"]
        for t in s["tables"]
        if t["name"] == "automation"
        for r in t["rows"]
    ]
    assert [r[2] for r in rows if r[:2] == ["local, were reviewers people", "approve"]] == [0]


def test_sealed_is_a_rung_where_it_was_opened_for_the_campaigns_of_an_arm(
    tmp_path, go, monkeypatch
):
    monkeypatch.setattr("loop.unseal.publish", make.summarize)  # reports that nobody reads
    cfg = config(
        tmp_path,
        "reviewer=scripted",
        "study.repeats=4",
        "study.generations=1",
        "study.arms=[local, random]",
        "study.proposals=1",
    )
    mandate(cfg)
    go(cfg, FakeBox(lambda order: 0.1 + 0.8 * (order.recipe.depth != 2)))
    folder, facts = tmp_path / "runs" / "t", read_facts(tmp_path / "runs" / "t")
    better_ones = [r for r in range(4) if len(facts.champions["random", r]) > 1]
    assert 0 < len(better_ones) < 4, "the baseline has to be champion still in some campaign"
    first = go(cfg, FakeBox(better), lambda _: unseal(folder, ("random", better_ones[0])))["gain"]
    rest = go(cfg, FakeBox(better), lambda _: unseal_arm(folder, "random"))
    found = {better_ones[0]: first, **{one["repeat"]: one["gain"] for one in rest}}
    assert (
        list(found) == better_ones
        and go(cfg, FakeBox(better), lambda _: unseal_arm(folder, "random")) == []
    )
    held = {h.repeat: h.value for h in read_records([folder]).held["random"] if h.rung == "sealed"}
    assert min(found.values()) > 0.5 and {r for r, gain in held.items() if gain == 0} == set(
        range(4)
    ) - set(found)
    assert all(held[r] > found[r] for r in found)  # log-odds, not the share that the opening tells
    assert not [h for h in read_records([folder]).held["local"] if h.rung == "sealed"]
    unchanged = next(r for r in range(4) if r not in better_ones)
    with pytest.raises(BadInput, match="no champion beside its baseline"):
        go(cfg, FakeBox(better), lambda _: unseal(folder, ("random", unchanged)))
    with pytest.raises(BadInput, match=r"no campaign of arm 'tpe'.* has a champion"):
        go(cfg, FakeBox(better), lambda _: unseal_arm(folder, "tpe"))
    with pytest.raises(BadInput, match=r"no campaign of arm 'tpe', repeat 0"):
        go(cfg, FakeBox(better), lambda _: unseal(folder, ("tpe", 0)))
    with pytest.raises(BadInput, match="--repeat is given without --arm"):
        CliRunner().invoke(
            main.cli,
            ["unseal", str(folder), "--repeat", "1"],
            catch_exceptions=False,
            standalone_mode=False,
        )


def test_runs_of_one_study_are_repeats_and_runs_of_another_are_refused(tmp_path, go):
    short = "study.generations=1"
    folders = [play(tmp_path, go, f"seed-{i}", f"study.seed={i}", short) for i in (1, 2)]
    found = measure(folders)
    assert (
        found["arms"]["local"]["gain"]["n"] == 2
        and found["arms"]["local"]["gain"]["word"] == "cannot tell"
    )
    assert (
        found["between"]["kappa"]["word"]
        == "not measured"
        == found["between"]["self effect"]["word"]
    )
    other = play(tmp_path, go, "other", "task.planned_cpu_us=2000000", short)
    with pytest.raises(BadInput, match="has other settings"):
        measure([folders[0], other])
    longer = play(tmp_path, go, "longer", "study.proposals=3", short)
    with pytest.raises(BadInput, match="has other settings"):
        measure([folders[0], longer])
    with pytest.raises(BadInput, match="name each run once"):
        measure([folders[0], folders[0]])


def test_before_the_end_of_a_study_nothing_of_gate_is_told(tmp_path, go):
    folder = play(tmp_path, go)
    whole = read_records([folder])
    assert any(p.gate is not None for p in whole.plans["local"])
    book = Ledger.at(folder)
    end = next(e.sequence for e in book.entries() if e.kind == "end")
    book.close()
    cut(folder / "ledger.sqlite", end)
    running = read_records([folder])
    assert running.gains == () and not running.held["local"] and not running.tops["local"]
    assert all(
        p.gate is None and p.corrected is None and p.gained is None for p in running.plans["local"]
    )
    told = measure_records(running)
    assert (
        told["generations per live human act"]["word"] == "at least"
        and told["given before"]["mandates"]["n"] == 8
    )  # lived all the same
    assert {told["arms"]["local"][name]["word"] for name in ("gain", "yield", "spent")} == {
        "not measured"
    }
    assert {one["word"] for one in told["arms"]["local"]["efficiency"].values()} == {"not measured"}
    assert len(running.plans["local"]) == len(whole.plans["local"])


def cut(path, sequence):
    import sqlite3

    with sqlite3.connect(path) as db:
        db.execute("delete from entries where sequence >= ?", (sequence,))


def test_the_verb_prints_every_figure_of_the_table_and_json(tmp_path, go):
    folder = play(tmp_path, go)
    found = json.loads(
        CliRunner()
        .invoke(main.cli, ["instruments", str(folder), "--json"], catch_exceptions=False)
        .output
    )
    rows = dict(flatten(found))
    assert (
        rows["arms, local, funnel, accepted"][0] >= 1
        and rows["between, kappa"][FIGURE.index("word")] == "not measured"
    )
    short, output = (
        CliRunner()
        .invoke(main.cli, ["instruments", str(folder), *more], catch_exceptions=False)
        .output
        for more in ((), ("--all",))
    )
    assert "cannot tell" in short and "cron" in short
    hidden = [name for name, parts in rows.items() if is_missing(parts)]
    assert f"{len(hidden)} figures were not measured; --all lists them" in short
    between = sum(name.startswith("between, ") for name in hidden)
    assert f"not measured: {between} figures" in short.partition("arms, local")[0]
    assert "kappa" not in short and "kappa" in output and "--all" not in output
    assert max(map(len, output.splitlines())) <= 100
    steps = [name for name in rows if ", retention, " in name]
    assert any(name.endswith("feedback to gate") for name in steps)  # exports keep the name
    assert "feedback to confirm" in output and "confirm to closing" in output
    assert not re.search(r"\bgate\b|\brefused\b", output) and ", denied" in output


def steady(rate, repeats=12):
    """An arm that gains `rate` a generation of one CPU-second, eight generations long."""
    spent = np.tile(1e6 * np.arange(1.0, 9.0), (repeats, 1))
    noise = 0.01 * np.random.default_rng(3).standard_normal((repeats, 8))
    return Curve(repeats=tuple(range(repeats)), spent=spent, value=rate * spent / 1e6 + noise)


@pytest.fixture
def found(tmp_path):
    """Records that hold a configuration alone, for what is measured of curves."""
    nobody = Effort(decisions=(), minutes=(), queue_seconds=())
    return Records(
        config=config(tmp_path),
        gains=(),
        events={},
        plans={},
        held={},
        effort=nobody,
        efforts={},
        simulated={},
        acts=0,
        lived=0,
        skills=(),
        tops={},
        clock=(),
    )


def twin(found, baseline, gained):
    """Twelve repeats of self, which gains 1, and of its twin whose baseline is better."""
    near = 0.01 * np.random.default_rng(4).standard_normal((2, 12))
    levels = {"self": tuple(near[0] - 2.0), "more_compute": tuple(near[1] - 2.0 + baseline)}
    curves = {"self": steady(1 / 8), "more_compute": steady(gained / 8)}
    figures, _ = measure_raised(replace(found, levels=levels), curves, curves["self"].ends())
    return figures["elasticities"]["compute"], figures["longer training alone"]


def test_more_compute_is_read_against_the_baseline_that_did_not_get_it(found):
    """A champion at +1.5 over the common baseline: a third of it the baseline gains as well."""
    told, longer = twin(found, baseline=0.3, gained=1.2)
    assert told.value == pytest.approx(0.5 / 0.25, abs=0.1)
    assert longer.value == pytest.approx(0.3 / 0.25, abs=0.1)
    told, longer = twin(found, baseline=0.3, gained=0.7)  # its own gain falls, its level stays
    assert told.value == pytest.approx(0.0, abs=0.1) and longer.value > 1


RAISED = {"compute": 4.0, "proposals": 2.0, "replicates": 2.0}


def raised(found, on_table=False, **more):
    """Self gains 1, twice the proposals 1.2, twice the pairs 1.1, four times the compute 1.1 and,
    with a baseline that is 0.3 better, stands at 1.4; compute and proposals gain 1.6 together.
    """
    gained = {
        "self": 1.0,
        "more_compute": 1.1,
        "more_proposals": 1.2,
        "more_replicates": 1.1,
        "more_both": 1.6,
    }
    study = replace(found.config.study, raised=RAISED)
    cfg = SimpleNamespace(study=study, task=SimpleNamespace(table="t" if on_table else ""))
    levels = {"self": (0.0,) * 12, "more_compute": (0.3,) * 12}
    records = replace(found, config=cfg, levels=levels, **more)
    arms = {
        name: replace(steady(0), value=np.cumsum(np.full((12, 8), gain / 8), axis=1))
        for name, gain in gained.items()
    }
    noise = 0.02 * np.random.default_rng(5).standard_normal((len(arms), 12, 1))
    arms = {
        name: replace(curve, value=curve.value + luck)
        for (name, curve), luck in zip(arms.items(), noise, strict=True)
    }
    return measure_raised(records, arms, arms["self"].ends())


def test_a_raise_far_from_one_is_told_per_doubling_and_ranked_so(found):
    figures, limit = raised(found)
    told = figures["elasticities"]
    assert {f.unit for f in told.values()} == {"share of the gain per doubling"}
    assert told["compute"].value == pytest.approx(0.4 / 2, abs=0.03)  # two doublings
    assert told["proposals"].value == pytest.approx(0.2, abs=0.03)
    assert told["replicates"].value == pytest.approx(0.1, abs=0.03)
    assert figures["longer training alone"].value == pytest.approx(0.3 / 2, abs=0.03)
    # By the shares beyond 1 compute (0.4 / 3) would lag behind proposals (0.2 / 1).
    assert limit == "cannot tell" and told["reviewer speed"].value == 0


def test_compute_and_proposals_together_are_a_two_by_two(found):
    square = raised(found)[0]["compute x proposals"]
    assert square.value == pytest.approx(1.6 - 1.1 - 1.2 + 1.0, abs=0.04) and square.word == ""
    only = {"self": steady(1 / 8), "more_compute": steady(1 / 8)}
    records = replace(found, levels=dict.fromkeys(only, (0.0,) * 12))
    without = measure_raised(records, only, only["self"].ends())[0]["compute x proposals"]
    assert without.word == "not measured"


def test_where_a_table_lists_too_little_the_elasticity_of_compute_is_a_lower_bound(found):
    lost = PlanFact(plan="p", repeat=0, generation=1, fate="crashed", unlisted=True)
    figures, limit = raised(found, plans={"more_compute": (lost,)})
    compute = figures["elasticities"]["compute"]
    assert (compute.word, compute.high) == ("at least", None) and compute.low > 0
    assert figures["compute x proposals"].word == "cannot tell"
    assert limit == "cannot tell"
    assert figures["elasticities"]["proposals"].word == ""


def test_four_times_the_compute_is_told_of_champion_and_baseline(found):
    rng = np.random.default_rng(6)
    pairs = [(0.5 + a, 0.3 + b) for a, b in 0.01 * rng.standard_normal((10, 2))]
    longer = (*pairs, (np.nan, 0.3), (np.nan, np.nan))  # not listed; and no new champion
    told = raised(found, longer=longer)[0]["four times as long"]
    assert told["champion"].value == pytest.approx(0.25, abs=0.02) and told["champion"].n == 10
    assert told["baseline"].value == pytest.approx(0.15, abs=0.02) and "listed" not in told
    listed = raised(found, on_table=True, longer=longer)[0]["four times as long"]["listed"]
    assert (listed.value, listed.n) == (10 / 11, 11)


def test_an_arm_that_gains_half_as_fast_as_chance_is_worth_half_the_compute(found):
    told = equivalents(found, {"self": steady(0.5), "random": steady(1.0)}, 8e6)
    whole = told["compute-equivalent gain"]["the whole plan"]
    assert (
        whole.value == pytest.approx(-1, abs=0.1)
        and whole.high < 0
        and told["strongest reference"] == "random"
    )


def test_an_arm_that_gains_twice_as_fast_is_worth_twice_the_compute_where_the_reference_reaches(
    found,
):
    told = equivalents(found, {"self": steady(2.0), "random": steady(1.0)}, 8e6)[
        "compute-equivalent gain"
    ]
    quarter, whole = told["a quarter of the plan"], told["the whole plan"]
    assert quarter.value == pytest.approx(1, abs=0.1) and quarter.low > 0.8 and quarter.word == ""
    assert (whole.word, whole.value) == ("above", 0.0)  # the reference ends where the plan does


def test_a_reference_of_few_seeds_or_budgets_measures_nothing(found):
    few = {"self": steady(1.0, 9), "random": steady(1.0, 9)}
    for arms in (few, {"self": steady(1.0)}):
        told = equivalents(found, arms, 8e6)
        assert {
            one.word for one in (told["rate ratio"], *told["compute-equivalent gain"].values())
        } == {"not measured"}


def test_near_the_ceiling_a_comparison_of_arms_tells_nothing(found):
    arms = {"self": steady(0.5), "random": steady(1.0)}
    near = replace(found, tops={"self": (0.99,) * 12, "random": (0.4,) * 12})
    assert (
        equivalents(near, arms, 8e6)["compute-equivalent gain"]["the whole plan"].word
        == "saturated"
    )


def test_a_comparison_is_saturated_where_the_champions_reach_the_best_known_score(found):
    """In bits, too, where lower is better: a task tops out far from the end of the scale."""
    cfg = config(Path(found.config.runs).parent, "task=text")
    better, clear = (-cfg.task.best_known + off for off in (-0.02, -0.2)), mean([1.0, 1.1] * 6, "")
    top, far = better
    records = replace(found, config=cfg, tops={"self": (top,) * 12, "random": (far,) * 12})
    assert best_of(records) == -cfg.task.best_known
    assert cap(records, clear, "self", "random").word == "saturated"
    assert cap(records, clear, "random") == clear
    # A study that began before tasks knew their best has the end of the scale, of shares alone.
    before = replace(records, config=replace(cfg, task=replace(cfg.task, best_known=None)))
    assert best_of(before) is None and cap(before, clear, "self") == clear
    assert best_of(found) == 1.0
    other = replace(cfg.objective, metric="nll", deviation=0.1)
    assert best_of(replace(records, config=replace(cfg, objective=other))) is None


def test_the_ceiling_of_a_share_that_should_fall_is_nought(found):
    def of(**more):
        return ceiling_of(
            replace(
                found,
                config=replace(
                    found.config, objective=replace(found.config.objective, deviation=0.1, **more)
                ),
            )
        )

    assert (
        of(),
        of(metric="calibration_error", direction="down"),
        of(metric="nll", direction="down"),
    ) == (1.0, 0.0, None)


def test_what_people_do_beside_decisions_counts_as_their_acts(tmp_path, go):
    folder = play(tmp_path, go, "t", *SMALL)
    before = read_records([folder])
    book = Ledger.at(folder)
    control.order(book, "pause", "user ada", "to look")
    control.order(book, "resume", "user ada", "looked")
    control.order(book, "pause", "tripwire", "a rule")
    book.append(HandedEntry(arm="human", repeat=0, digest="0" * 64, who="user ada", by="ada"))
    book.close()
    assert (before.acts, read_records([folder]).acts) == (0, 3)


def test_the_sign_s_compute_is_what_jobs_were_charged(tmp_path, go):
    folder = play(tmp_path, go, "t", *SMALL)
    events = read_records([folder]).events["local"]
    facts = read_facts(folder)
    mine = {
        name
        for name, plan in facts.plans.items()
        if (plan.arm, plan.purpose) == ("local", "candidate")
    }
    charged = sum(
        result.charged.cpu_us for (name, _, _), (result, _) in facts.results.items() if name in mine
    )
    assert sum(e.charged_us for e in events) == charged > 0
    assert {e.stage for e in events if e.charged_us} == {"approve"}


def test_people_who_decide_between_sessions_are_waited_for(tmp_path, go):
    run = Run(0, Ledger.file(play(tmp_path, go, "t", *SMALL) / "ledger.sqlite"))
    end = max(unix(e) for e in run.entries if e.kind == "session")
    decision = SignedDecision(
        plan="",
        change_class="recipe",
        answer="approve",
        reviewer="ada",
        kind="person",
        requested=end + 10,
        seen=end + 10,
        decided=end + 40,
        looked_ms=0,
    )
    waited, _, total = wall_seconds(run, [decision])
    own = wall_seconds(run, [])[2]
    assert waited == pytest.approx(30) and total == pytest.approx(own + 30)


def test_a_gain_of_almost_nothing_is_corrected_by_almost_nothing(tmp_path, go):
    """A ratio of corrected to measured gain would divide by it: greedy rules accept gains of
    1e-17.
    """
    run = Run(0, Ledger.file(play(tmp_path, go, "t", *SMALL) / "ledger.sqlite"))
    name = next(iter(run.facts.verdicts))
    found, known = pair_gain(run, name, run.unbounded), run.facts.verdicts[name]
    run.facts.verdicts[name] = replace(known, gain=1e-17, corrected=1e-3)
    assert 0 < correct_gain(run, name) - found < 0.1
    run.facts.verdicts[name] = replace(known, gain=0.3, corrected=0.2)
    scores = [s.exact_match for side in pair_scores(run, name).values() for s in side.values()]
    p = sum(scores) / len(scores)
    assert correct_gain(run, name) == pytest.approx(found - 0.1 / (p * (1 - p)))
