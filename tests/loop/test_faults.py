"""Faults of production on a planted world: what each does to ledger, budget and result."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import fabricated
import pytest
from crashes import flaws, kept
from fakes import FakeBox, outcome
from studies import entries, mandate, read_facts
from tampering import rewritten

from configs.build import plain
from configs.entries import (
    ChampionEntry,
    DecisionEntry,
    FaultEntry,
    JobEntry,
    LimitEntry,
    PlanEntry,
    facts_of,
)
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from configs.job import Limits
from configs.records import Amount
from configs.settings.faults import Faults
from loop import session
from loop.instruments.measure import measure
from loop.measure import jobs
from loop.settings import compose_settings
from loop.study import faults
from loop.study import open as study_open
from loop.verify.faults import check_faults
from loop.verify.run import verify
from sandbox.box.base import Execution
from sandbox.budget import balances
from sandbox.canonical import digest
from sandbox.decision import decided
from sandbox.ledger import Ledger

SMALL = [
    "study=planted",
    "study.name=t",
    "study.seed=5",
    "study.arms=[planted]",
    "study.repeats=1",
    "study.generations=1",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.acceptance=paired_t",
    "objective.alpha=0.3",
    "task.world=linear",
]
REVIEWED = [
    *("autonomy=bounded", "reviewer=scripted", "gates.requests_per_hour=100000"),
    "study.generations=2",
]
BEFORE = [
    *("study=planted", "study.name=t", "study.generations=2", "study.repeats=1"),
    *("study.confirm_replicates=6", "study.final_replicates=4", "task.world=linear"),
    *("objective.acceptance=paired_t", "objective.alpha=0.3", "box.parallel=1"),
]
DECIDED = "6c3f81f0bf5edb5038d28e039a1c88d378e3ad3a353c8c429b69d39ff7b68759"
WHOLE = "639d1b63d7c9b1e214d1352fa95f6012ad00bae0884b1aacb9ec83c0520d4a2d"
ALL = [
    *("faults=production", "faults.preempted.rate=0.2", "faults.lost.rate=0.1"),
    *("faults.quota.rate=0.7", "faults.away.rate=1"),
]


def compose(folder, *more):
    """Return a small planted study below a folder; its luck hangs on name and seed alone."""
    return replace(compose_settings([*SMALL, *more]), runs=f"{folder}/runs")


def play(cfg):
    """Run a study to its end; return its folder."""
    mandate(cfg)
    try:
        assert session.execute(cfg)["finished"]
    finally:
        study_open.release_locks()
    return Path(cfg.runs) / cfg.study.name


def told(cfg, kind):
    return list(facts_of(entries(cfg), kind))


def ends(cfg):
    """Return (plan, role, index) -> results of its tries, in order."""
    tries = {}
    for job in told(cfg, JobEntry):
        tries.setdefault((job.plan, job.role, job.index), []).append(job.result)
    return tries


@pytest.fixture(scope="module")
def plain_study(tmp_path_factory):
    """The small study without faults, and what it was charged."""
    folder = tmp_path_factory.mktemp("plain")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEIRLOOP_HOME", str(folder / "home"))
        cfg = compose(folder)
        play(cfg)
        assert verify(Path(cfg.runs) / "t")["jobs"] and not told(cfg, FaultEntry)
    return kept(cfg), charged(cfg), cfg


def charged(cfg):
    total = sum((job.result.charged for job in told(cfg, JobEntry)), Amount())
    return Counter(cpu=total.cpu_us, wall=total.wall_us, jobs=total.jobs)


def root_spent(cfg):
    return Ledger.at(Path(cfg.runs) / cfg.study.name).read(balances)["root"]


# Faults of jobs.


def test_a_wait_in_the_queue_costs_wall_time_and_changes_no_result(tmp_path, plain_study):
    whole, before, _ = plain_study
    cfg = compose(tmp_path, "faults.queued.rate=0.5", "faults.queued.seconds=4")
    verify(play(cfg))
    waits, after = told(cfg, FaultEntry), charged(cfg)
    assert len(waits) > 10 and {fault.fault for fault in waits} == {"queued"}
    limit = cfg.budget.train.wall_us
    assert all(fault.size + 10**6 < limit for fault in waits)  # none was cut to the wall limit
    assert after["wall"] - before["wall"] == sum(fault.size for fault in waits)
    assert (after["cpu"], after["jobs"]) == (before["cpu"], before["jobs"])
    assert root_spent(cfg)["wall_us"]["spent"] >= after["wall"] and kept(cfg) == whole


def test_a_slow_node_costs_wall_time_by_its_factor_and_no_cpu(tmp_path, plain_study):
    whole, before, _ = plain_study
    cfg = compose(tmp_path, "faults.slow.rate=1", "faults.slow.factor=2.5")
    verify(play(cfg))
    after = charged(cfg)
    assert after["wall"] == 2.5 * before["wall"] and after["cpu"] == before["cpu"]
    assert kept(cfg) == whole


@pytest.mark.parametrize("fault", ["preempted", "lost"])
def test_a_lost_job_is_the_box_s_failure_is_charged_and_tried_again(tmp_path, plain_study, fault):
    whole, before, _ = plain_study
    cfg = compose(tmp_path, f"faults.{fault}.rate=0.4")
    verify(play(cfg))
    lost = [result for tries in ends(cfg).values() for result in tries[:-1]]
    assert len(lost) > 10 and len(lost) == len(told(cfg, FaultEntry))
    assert {(r.status, r.detail, str(r.outputs)) for r in lost} == {
        ("box", faults.LOST_BY[fault], "{}")
    }
    assert {tries[-1].status for tries in ends(cfg).values()} == {"ok"}
    extra = sum(result.charged.cpu_us for result in lost)
    assert charged(cfg)["cpu"] - before["cpu"] == extra and charged(cfg)["jobs"] > before["jobs"]
    first = {slot: tries[-1].charged.cpu_us for slot, tries in ends(cfg).items()}
    shares = [
        tries[0].charged.cpu_us / first[slot] for slot, tries in ends(cfg).items() if tries[1:]
    ]
    assert set(shares) == {1} if fault == "lost" else 0 < min(shares) < max(shares) < 1
    assert kept(cfg) == whole and not flaws(cfg)


def test_the_third_try_is_spared_or_people_must_help(tmp_path):
    cfg = compose(tmp_path, "faults.lost.rate=1", "study.final_replicates=0")
    verify(play(cfg))
    assert {len(tries) for tries in ends(cfg).values()} == {3}
    hard = compose(tmp_path / "hard", "faults.lost.rate=1", "faults.spare_third=false")
    with pytest.raises(NeedsHuman, match="was lost 3 times by the box"):
        play(hard)
    assert [len(tries) for tries in ends(hard).values()] == [3]
    verify(Path(hard.runs) / "t")


def test_a_longer_loss_takes_tries_in_a_row(plain_study):
    cfg = compose_settings([*SMALL, "faults.lost.rate=0.2", "faults.lost.tries=2"])
    plan = told(plain_study[2], PlanEntry)[0].plan

    def lost(index, attempt):
        return bool(faults.draw_for_job(cfg, b"secret", "p", plan, "train", index, attempt))

    firsts = [index for index in range(300) if lost(index, 0)]
    assert 30 < len(firsts) < 90 and all(lost(index, 1) for index in firsts)
    assert not any(lost(index, 2) for index in range(300))


def test_no_fault_takes_a_job_beyond_its_wall_limit_or_touches_a_failure_of_the_box():
    limits = Limits(wall_us=5_000_000)
    wait, slow = fault("queued", 10**12), fault("slow", 2_000_000)
    done = outcome(cpu_us=1_000_000)
    assert faults.let_happen([slow], done, limits).wall_us == 3_000_000
    happened = faults.let_happen([slow, wait], done, limits)
    assert happened.wall_us == 5_000_000 and happened.cpu_us == done.cpu_us
    broken = outcome(status="box", detail="no kernel")
    box = faults.FaultyBox(FakeBox(lambda order: 0.5, lambda _: broken), [fault("lost", 1), wait])
    job = Execution(role="train", files={}, limits=limits, outputs={})
    assert box.run(job) == broken and (box.kind, box.tier) == ("fake", "C")


# Quota cuts.


def test_a_quota_cut_lowers_the_account_and_ends_the_campaign_earlier(tmp_path):
    more = ["study.generations=6", "study.plan_trainings=60", "study.accept_short=true"]
    generations = {}
    for rate in (0, 1):
        cfg = compose(tmp_path / f"{rate}", *more, f"faults.quota.rate={rate}")
        folder = play(cfg)
        verify(folder)
        plans = [p.plan for p in told(cfg, PlanEntry) if p.plan.purpose == "candidate"]
        generations[rate] = max(plan.generation for plan in plans)
    assert 0 < generations[1] < generations[0]
    cuts, limits = told(cfg, FaultEntry), told(cfg, LimitEntry)
    # The last cut came before the generation that it made too dear.
    assert [cut.generation for cut in cuts] == list(range(1, generations[1] + 2))
    assert {cut.size for cut in cuts} == {6 * cfg.task.planned_cpu_us}
    total = cfg.budget.amount().cpu_us
    assert [limit.limit.cpu_us for limit in limits] == [total - n for n in cumulative(cuts)]
    assert {limit.name for limit in limits} == {"arm planted"}
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(VerificationFailed, match="limit that nobody decided on"),
    ):
        patch.setattr(faults.quota, "cut", lambda *_: None)
        kept_whole = compose(tmp_path / "2", "faults.quota.rate=1")
        verify(play(kept_whole))


def cumulative(cuts):
    return [sum(cut.size for cut in cuts[: n + 1]) for n in range(len(cuts))]


# A reviewer who is away.


def test_a_reviewer_who_is_away_too_long_leaves_the_gate_to_its_timer(tmp_path):
    present = compose(tmp_path / "present", *REVIEWED)
    late = compose(tmp_path / "late", *REVIEWED, "faults.away.rate=1", "faults.away.hours=0.1")
    gone = compose(tmp_path / "gone", *REVIEWED, "faults.away.rate=1", "faults.away.hours=8000")
    for cfg in (present, late, gone):
        verify(play(cfg))
    assert told(present, ChampionEntry)[1:], "somebody must be promoted, or nothing is tested"
    assert kept(late) == kept(present) and told(late, FaultEntry)
    assert len(told(gone, ChampionEntry)) == 1  # the baseline: the study itself asked for it
    no = [decision for decision in told(gone, DecisionEntry) if not decision.allow]
    assert no and {one.reason for one in no} == {faults.tell_silence(gone)}
    assert "nobody decided within 24 hours" in no[0].reason
    figures = measure([Path(gone.runs) / "t"])["arms"]["planted"]["faults"]
    assert figures["decided by the timer"]["value"] == len(no)
    assert figures["hours of waiting"]["value"] == 24 * len(no)


# All of them.


def test_workers_and_a_stop_change_no_fault_and_no_result(tmp_path, monkeypatch):
    more = [*ALL, *REVIEWED, "study.arms=[planted,local]"]
    one = compose(tmp_path / "one", *more, "box.parallel=1")
    two = compose(tmp_path / "two", *more, "box.parallel=2")
    verify(play(one))
    count, run = iter(range(10**6)), jobs.run

    def stumble(*words):
        if next(count) == 40:
            raise KeyError("the loop died before its job began")
        return run(*words)

    monkeypatch.setattr(jobs, "run", stumble)
    with pytest.raises(KeyError):
        play(two)
    verify(play(two))
    assert {f.fault for f in told(one, FaultEntry)} == set(FAULTS)
    assert drawn(one) == drawn(two) and kept(one) == kept(two)


FAULTS = ("queued", "preempted", "slow", "lost", "quota", "away")


def drawn(cfg):
    """Return a study's faults, each once, by place: digests of plans hold times and signatures."""
    places = {
        p.digest: (p.plan.purpose, p.plan.generation, p.plan.index) for p in told(cfg, PlanEntry)
    }
    found = [
        (places.get(one.plan), *plain(replace(one, plan="")).items())
        for one in told(cfg, FaultEntry)
    ]
    assert len(found) == len(set(found))
    return sorted(found, key=str)


def test_a_spared_twin_has_the_same_luck_and_no_fault(tmp_path):
    losses = ["faults.preempted.rate=0.3", "faults.slow.rate=0.3"]
    cfg = compose(tmp_path, *losses, "study.arms=[random,random_spared]")
    folder = play(cfg)
    verify(folder)
    assert {fault.arm for fault in told(cfg, FaultEntry)} == {"random"}
    recipes = {
        arm: sorted(
            (p.plan.repeat, p.plan.generation, p.plan.index, str(p.plan.recipe))
            for p in told(cfg, PlanEntry)
            if p.plan.arm == arm
        )
        for arm in ("random", "random_spared")
    }
    assert recipes["random"] == recipes["random_spared"]
    figures = measure([folder])
    assert figures["between"]["faults"]["cost of random"]["value"] == 0.0
    assert "faults" not in figures["arms"]["random_spared"]
    own = figures["arms"]["random"]["faults"]
    counts = Counter(fault.fault for fault in told(cfg, FaultEntry))
    assert own["preempted"]["value"] == counts["preempted"]
    assert 0 < own["CPU lost"]["value"] < own["wall time lost"]["value"] < 1


def test_a_table_s_jobs_are_lost_and_slow_too(tmp_path):
    table = f"task.table={fabricated.write(tmp_path)}"
    losses = ("faults.preempted.rate=0.3", "faults.slow.rate=0.5", "faults.queued.rate=0.3")
    shape = ("study=tabulated", "study.name=t", "study.repeats=1", "study.generations=1")
    cfg = compose_settings([*shape, table, "study.arms=[random]", *losses])
    cfg = replace(cfg, runs=f"{tmp_path}/runs")
    verify(play(cfg))
    results = [result for tries in ends(cfg).values() for result in tries]
    assert {result.charged_by for result in results} == {"table"}
    assert sum(result.status == "box" for result in results) > 5
    assert charged(cfg)["wall"] > charged(cfg)["cpu"]


def test_a_study_without_faults_is_what_it_was_before_there_were_any():
    """The digests were taken from the version before faults; group `faults` must not be in them."""
    cfg = compose_settings([*BEFORE, "faults=none"])
    assert cfg.faults == Faults() and "faults" not in plain(cfg)
    assert (decided(cfg), digest(cfg.without_paths())) == (DECIDED, WHOLE)
    assert decided(compose_settings([*BEFORE, "faults=production"])) != DECIDED


# The record.


@pytest.fixture
def hit(tmp_path):
    """A finished study with every fault, and its settings."""
    cfg = compose(tmp_path, *ALL, *REVIEWED)
    return play(cfg), cfg


def test_verify_refuses_a_record_that_is_not_what_the_secret_draws(hit):
    folder, cfg = hit
    verify(folder)
    lines = entries(cfg)

    def change(kind, keep, **changes):
        """Verify a history in which a fact was changed by somebody who holds its key."""
        number, body = next(
            (entry.place, entry.body)
            for entry in reversed(lines)
            if entry.kind == kind and keep(entry.body)
        )
        copy = rewritten(folder, lines, number, body | changes)
        with pytest.raises(VerificationFailed) as error:
            verify(copy)
        return str(error.value)

    larger = cut_of(lines)["size"] + 1
    assert "limit that nobody decided on" in change("fault", is_cut, size=larger)
    result = next(e.body for e in reversed(lines) if e.kind == "job" and is_ok(e.body))["result"]
    lost = result | {"status": "box", "detail": faults.LOST_BY["lost"], "outputs": {}}
    assert "fault that was not drawn" in change("job", is_ok, result=lost)


def is_cut(body):
    return body["fault"] == "quota"


def cut_of(lines):
    return next(e.body for e in reversed(lines) if e.kind == "fault" and is_cut(e.body))


def is_ok(body):
    return body["result"]["detail"] == "exit 0"


def test_each_fault_is_held_against_the_secret_entry_by_entry(hit):
    folder, cfg = hit
    lines, facts = entries(cfg), read_facts(folder)
    check_faults(lines, facts, None)

    def refused(kind, key, value, edited):
        """Take the first fact of a kind out, or change it; return why the ledger is refused."""
        first = next(e.place for e in lines if e.kind == kind and key(e.body) == value)
        changed = [
            replace(line, body=edited(line.body)) if line.place == first else line
            for line in lines
            if edited or line.place != first
        ]
        with pytest.raises(VerificationFailed) as error:
            check_faults(changed, facts, None)
        return str(error.value)

    for name in FAULTS:
        assert f"draws a fault ({name})" in refused("fault", name_of, name, None)
        larger = refused("fault", name_of, name, lambda body: body | {"size": body["size"] + 1})
        assert f"the secret draws no such fault ({name})" in larger
    nobody = refused("fault", name_of, "quota", lambda body: body | {"arm": "nobody"})
    assert "no campaign of the study" in nobody
    detail = faults.LOST_BY["preempted"]
    assert "its faults leave" in refused("job", detail_of, detail, charged_nothing)


def charged_nothing(body):
    charged = body["result"]["charged"] | {"cpu_us": 1, "wall_us": 1}
    return body | {"result": body["result"] | {"charged": charged}}


def name_of(body):
    return body["fault"]


def detail_of(body):
    return body["result"]["detail"]


def test_verify_refuses_a_study_whose_faults_were_not_recorded(tmp_path, monkeypatch):
    for name in ("preempted", "quota", "away"):
        more = REVIEWED if name == "away" else ["study.final_replicates=0"]
        cfg = compose(tmp_path / name, *more, f"faults.{name}.rate=1")
        with monkeypatch.context() as patch:
            patch.setattr(faults, "record", lambda running, drawn: None)
            folder = play(cfg)
        with pytest.raises(VerificationFailed, match=rf"draws a fault \({name}\) for arm planted"):
            verify(folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [("lost", "a fault lost this job, and it has a result"), ("slow", "its faults make")],
)
def test_verify_refuses_a_study_in_which_no_fault_happened(tmp_path, monkeypatch, name, words):
    """The injection is taken out: the faults are recorded, and nothing follows from them."""
    cfg = compose(tmp_path, f"faults.{name}.rate=0.5")
    monkeypatch.setattr(faults, "let_happen", lambda drawn, done, limits: done)
    folder = play(cfg)
    with pytest.raises(VerificationFailed, match=words):
        verify(folder)


def test_a_fault_in_a_study_without_any_is_refused(tmp_path):
    cfg = compose(tmp_path)
    folder = play(cfg)
    plan = told(cfg, PlanEntry)[0]
    Ledger.at(folder).append(fault("lost", 1, plan=plan.digest, what="train"))
    with pytest.raises(VerificationFailed, match="a fault is recorded, and the study has none"):
        verify(folder)


def fault(name, size, **more):
    more = {"arm": "planted", "repeat": 0, "generation": 1} | more
    return FaultEntry(fault=name, size=size, **more)


# Bad input.


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("faults.lost.rate=-0.1", "faults.lost.rate is -0.1; it should be a probability from 0 to"),
        ("faults.slow.rate=1.5", "faults.slow.rate is 1.5; it should be a probability from 0 to 1"),
        (
            "faults.queued.seconds=-3",
            "faults.queued.seconds is -3.0; it should be above 0, at most",
        ),
        ("faults.queued.seconds=1e9", "it should be above 0, at most a day"),
        ("faults.away.hours=1e6", "it should be above 0, at most a year"),
        ("faults.slow.factor=0.5", "it should be above 1, at most 100"),
        ("faults.lost.tries=4", "faults.lost.tries is 4; it should be 1, 2 or 3"),
        ("faults.quota.share=0", "it should be a share above 0, at most 1"),
        ("faults.lost.rate=nan", "faults.lost.rate is nan; it should be a finite number"),
        ("faults.fire.rate=0.1", "fire"),
        ("faults=chaos", "faults/chaos"),
    ],
)
def test_an_impossible_fault_gets_one_plain_sentence(words, sentence):
    with pytest.raises(BadInput) as error:
        compose_settings([*SMALL, words])
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_study_whose_jobs_really_run_takes_no_faults():
    for real in (
        ["task=fast-v1"],
        ["proposer=agent", "proposer.program=docs/examples/edit_agent.py"],
    ):
        with pytest.raises(BadInput, match="faults is 'given'; it should be none in a study whose"):
            compose_settings(["study=single", *real, "faults=production"])
