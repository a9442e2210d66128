"""A factory: changes of a service pass layers, go live by rule, and are taken back where they
fall.
"""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT, need_box
from reports import read_report, rows_of
from services import make_box, serve
from studies import Cut, entries, gate_of, mandate

from configs.entries import (
    ChangeEntry,
    DecisionEntry,
    JobEntry,
    ReleaseEntry,
    ReviewEntry,
    RollbackEntry,
    ServedEntry,
    StartEntry,
    facts_of,
)
from configs.errors import BadInput, NeedsHuman, VerificationFailed
from configs.records import Caps
from evals.gatebench.pack import find_pack, read_pack
from loop.factory import line
from loop.factory import serve as serving
from loop.factory.changes import Drawn
from loop.instruments.measure import measure
from loop.plan import source
from loop.report import make
from loop.settings import compose_settings
from loop.verify import line as checks
from loop.verify.run import verify
from sandbox.box.namespace import NamespaceBox
from sandbox.store import Store

SCENARIOS = ROOT / "scenarios" / "service.jsonl"
STUDY = [
    "study=factory-v1-short",
    "study.name=t",
    "study.repeats=1",
    "task=addition-v1",
    "task.held_out=100",
    "task.train_items=500",
    "box=auto",
    "box.parallel=1",
    f"factory.scenarios={SCENARIOS}",
    f"factory.tests={ROOT / 'docs' / 'examples' / 'service_tests.jsonl'}",
]
PACK = {family.family: family for family in read_pack(find_pack("service"))}


def study(tmp_path, arm, periods, *more):
    shape = [f"study.arms=[{arm}]", f"study.generations={periods}", f"runs={tmp_path}/runs"]
    return compose_settings([*STUDY, *shape, *more])


@pytest.fixture
def plan(monkeypatch):
    """Let these changes come, a period each: a name carries its defect where it ends with `!`."""

    def fix(*names):
        drawn = [Drawn(family=PACK[name.rstrip("!")], planted=name[-1] == "!") for name in names]
        for module in (line, checks):
            monkeypatch.setattr(module, "draw_changes", lambda *_: drawn)
        return len(drawn)

    return fix


def facts(cfg, kind):
    return [*facts_of(entries(cfg), kind)]


def fates(cfg):
    return [one.fate for one in facts(cfg, ChangeEntry)]


def lights_out(tmp_path, go, plan, *names, arm="lights_out", box=None, more=()):
    cfg = study(tmp_path, arm, plan(*names), *more)
    mandate(cfg)
    go(cfg, box or make_box())
    return cfg


def test_each_layer_stops_the_defect_that_it_can_see_and_lets_the_others_pass(tmp_path, go, plan):
    names = [
        "count-replies!",
        "reads-rows!",
        "device-statistics!",
        "warm-buffers!",
        "device-experiment!",
    ]
    cfg = lights_out(tmp_path, go, plan, *names, "reads-text")
    assert fates(cfg) == ["tests", "scenarios", "canary", "watch", "live", "live"]
    released, back = facts(cfg, ReleaseEntry), facts(cfg, RollbackEntry)
    assert len(released) == 5 and [one.period for one in back] == [3, 4]
    assert {one.to for one in back} == {released[0].plan}  # the service that people gave
    changes = {one.period: one for one in facts(cfg, ChangeEntry)}
    jobs = facts(cfg, ServedEntry)
    assert [job.what for job in jobs if job.period == 1] == ["tests", "live"]
    third = [(job.what, job.plan == changes[3].plan) for job in jobs if job.period == 3]
    assert third == [
        ("tests", True),
        ("twin", True),
        ("again", True),
        ("canary", True),
        ("beside", False),
        ("live", False),
    ]
    assert all(sum(j.requests for j in jobs if j.period == at) == 600 for at in range(7))
    harmed = [sum(job.harmed for job in jobs if job.period == at) for at in range(7)]
    # The watch saw the fourth by its scripted clients, before a real one met the defect.
    assert [bool(count) for count in harmed] == [False] * 3 + [True, False, True, True]
    mandates = {by for one in (*released, *back) for by in one.by}
    assert len(mandates) == 1
    verify(tmp_path / "runs" / "t")


def test_figures_count_defects_their_life_and_their_harm(tmp_path, go, plan):
    names = "device-statistics!", "device-experiment!", "reads-text", "count-replies!"
    cfg = lights_out(tmp_path, go, plan, *names)
    figures = measure([tmp_path / "runs" / "t"])["arms"]["lights_out"]["factory"]
    assert figures["defects deployed"]["value"] == pytest.approx(2 / 3)
    # Half a period in the canary; half a period and three whole ones, each of half an hour.
    lived = 0.5 * (0.5 + 0.5 + 0.5 + 1 + 1) / 3
    assert figures["hours lived"]["value"] == pytest.approx(lived)
    jobs = facts(cfg, ServedEntry)
    harmed = sum(job.harmed for job in jobs) / sum(job.requests for job in jobs)
    assert figures["requests harmed"]["value"] == pytest.approx(harmed) and harmed > 0
    assert figures["rollbacks"]["value"] == 1 and figures["human minutes"]["value"] == 0
    assert figures["defects stopped by canary"]["value"] == pytest.approx(1 / 3)
    assert figures["satisfaction at the end"]["value"] == 1
    assert figures["satisfaction at the end"]["low"] > cfg.factory.satisfaction
    make.again(tmp_path / "runs" / "t")
    (row,) = rows_of(read_report(tmp_path / "runs" / "t"), "factory")
    arm, campaigns, *satisfied, scenarios, released, back, planted, deployed, asked, harmed, _ = row
    assert (arm, campaigns, scenarios, released, back) == ("lights_out", 1, 50, 3, 1)
    assert (planted, deployed) == (3, 2) and len(facts(cfg, ReleaseEntry)) == 3 + 1
    assert satisfied == [figures["satisfaction at the end"][n] for n in ("value", "low", "high")]
    assert asked == sum(job.requests for job in jobs)
    assert harmed == sum(job.harmed for job in jobs) and row[-1] == 0


def test_without_layers_the_same_defects_live_on_and_harm(tmp_path, go, plan):
    cfg = lights_out(
        tmp_path, go, plan, "reads-rows!", "device-statistics!", "reads-text", arm="tests_alone"
    )
    assert fates(cfg) == ["live", "live", "live"] and not facts(cfg, RollbackEntry)
    jobs = facts(cfg, ServedEntry)
    assert {job.what for job in jobs} == {"tests", "live"}
    assert [job.ended for job in jobs if job.what == "live"][1:] == [
        "",
        "program: exit 1",
        "program: exit 1",
    ]


def test_a_simulated_reviewer_answers_by_its_stated_rates_and_its_minutes_count(tmp_path, go, plan):
    rates = ["factory.hit_rate=1.0", "factory.false_alarm_rate=0.0"]
    names = "reads-rows!", "reads-text", "count-replies!"
    cfg = lights_out(tmp_path, go, plan, *names, arm="reviewed", more=rates)
    assert fates(cfg) == ["review", "live", "tests"]  # tests come first, and need no reviewer
    reviews = facts(cfg, ReviewEntry)
    assert [one.allow for one in reviews] == [False, True]
    figures = measure([tmp_path / "runs" / "t"])["arms"]["reviewed"]["factory"]
    minutes = sum(one.minutes for one in reviews)
    assert figures["human minutes"]["value"] == pytest.approx(minutes) and minutes > 0
    make.again(tmp_path / "runs" / "t")
    (row,) = rows_of(read_report(tmp_path / "runs" / "t"), "factory")
    assert row[-1] == pytest.approx(minutes) and row[2:6] == (None,) * 4  # nobody watches


@pytest.mark.parametrize("lacks", ["release", "rollback"])
def test_what_no_mandate_covers_waits_for_people(tmp_path, go, plan, lacks):
    cfg = study(tmp_path, "lights_out", plan("device-statistics!"))
    caps = cfg.gates.unattended
    classes = tuple(name for name in caps.classes if name != lacks)
    left = {name: getattr(caps, name) for name in ("jobs", "cpu_seconds", "hours", "drift")}
    mandate(cfg, caps=Caps(classes=classes, per_hour=caps.per_hour, **left))
    with pytest.raises(NeedsHuman):
        go(cfg, make_box())
    waiting = [one.change_class for one in gate_of(cfg).pending()]
    assert waiting == [lacks] and not facts(cfg, RollbackEntry)
    assert len(facts(cfg, ReleaseEntry)) == (lacks == "rollback") * 2
    # The service that fell serves nobody meanwhile: its canary was its last job.
    assert facts(cfg, ServedEntry)[-1].what == ("beside" if lacks == "rollback" else "again")


def test_a_class_without_a_rule_releases_nothing(tmp_path, go, plan):
    cfg = study(tmp_path, "lights_out", plan("reads-text"), "~autonomy.rules.release")
    mandate(cfg)
    with pytest.raises(NeedsHuman, match="class release is denied by the rules"):
        go(cfg, make_box())
    assert not facts(cfg, ReleaseEntry)
    assert "live" not in {job.what for job in facts(cfg, ServedEntry)}


def test_a_killed_factory_goes_on_and_ends_as_an_unbroken_one(tmp_path, go, plan, monkeypatch):
    names = "device-statistics!", "reads-text"
    whole = lights_out(tmp_path / "whole", go, plan, *names)
    box, cfg = make_box(), study(tmp_path / "cut", "lights_out", plan(*names))
    mandate(cfg)
    for jobs in (4, 9, 12):

        def script(execution, most=jobs):
            if len(box.ran) > most:
                raise Cut
            return serve(execution)

        box.script = script
        with pytest.raises(Cut):
            go(cfg, box)
    box.script = serve
    go(cfg, box)
    assert fates(cfg) == fates(whole)
    assert len(facts(cfg, ServedEntry)) == len(facts(whole, ServedEntry))


def test_a_job_whose_record_was_lost_runs_again_under_a_spare_number(
    tmp_path, go, plan, monkeypatch
):
    cfg, lost = study(tmp_path, "lights_out", plan("reads-text")), []
    mandate(cfg)
    real = serving.count_up

    def lose(entry, count):
        if entry.what == "live" and not lost:
            lost.append(entry)
            raise Cut
        return real(entry, count)

    monkeypatch.setattr(serving, "count_up", lose)
    with pytest.raises(Cut):
        go(cfg, make_box())
    go(cfg, make_box())
    (first,) = [job for job in facts(cfg, ServedEntry) if (job.what, job.period) == ("live", 0)]
    assert first.index > lost[0].index and fates(cfg) == ["live"]


def test_no_scenario_is_in_any_bundle_or_job_or_in_the_tree_of_a_proposer(tmp_path, go, plan):
    box = make_box()
    cfg = lights_out(tmp_path, go, plan, "reads-rows!", "reads-text", box=box)
    hidden = [json.loads(line)["client"] for line in SCENARIOS.read_text().splitlines()]
    hidden = [name.encode() for name in hidden if "-" in name]
    store, seen = Store(tmp_path / "runs" / "t" / "store"), list(source(serves=True).values())
    for plan_of in [e.body["plan"] for e in entries(cfg) if e.kind == "plan"]:
        seen += store.get_bundle(plan_of["bundle"]).values()
    seen += [data for execution in box.ran for data in execution.files.values()]
    assert len(seen) > 100 and len(hidden) > 40
    assert not [name for name in hidden for data in set(seen) if name in data]
    leaky = [*seen, SCENARIOS.read_bytes()]  # the check itself would find one
    assert [name for name in hidden for data in set(leaky) if name in data]


@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("scenarios", "it went live though a layer stopped it: scenarios"),
        ("tests", "it went live though a layer stopped it: tests"),
        ("watch", "a service fell in its period and was not taken back"),
        ("count", "its clients count otherwise"),
        ("log", "its log is not what passed its door"),
        ("back", "its satisfaction did not fall"),
        ("draw", "the secret draws another change"),
        ("review", "the secret draws another review"),
    ],
)
def test_verify_refuses_a_record_that_its_jobs_do_not_carry(
    tmp_path, go, plan, monkeypatch, what, match
):
    """What the line itself would have to do wrong is done here, and verify must see it."""
    names, arm = {
        "scenarios": (["reads-rows!"], "lights_out"),
        "tests": (["count-replies!"], "lights_out"),
        "watch": (["warm-buffers!"], "lights_out"),
        "review": (["reads-rows!"], "reviewed"),
    }.get(what, (["reads-text"], "lights_out"))
    cfg = study(tmp_path, arm, plan(*names))
    mandate(cfg)
    real_serve, real_door = line.Line.serve, serving.ServeDoor.answer
    match what:
        case "scenarios":
            monkeypatch.setattr(line.Line, "is_twin_satisfied", lambda *_: True)
        case "tests":
            monkeypatch.setattr(line.Line, "find_obstacle", lambda *_: passed(*_))
        case "watch":
            monkeypatch.setattr(line.Line, "roll_back", lambda *_: False)
        case "count":
            count_up = serving.count_up
            wrong = lambda *two: replace(count_up(*two), right=7)  # noqa: E731
            monkeypatch.setattr(serving, "count_up", wrong)
        case "log":
            monkeypatch.setattr(
                serving.ServeDoor,
                "answer",
                lambda door, request: (real_door(door, request), door.log.__setitem__(0, {}))[0],
            )
        case "back":
            monkeypatch.setattr(line, "is_satisfied", lambda config, *jobs: len(jobs) > 1)
            monkeypatch.setattr(line.Line, "is_twin_satisfied", both_halves)
        case "draw":
            drawn = [Drawn(family=PACK["reads-text"], planted=True)]
            monkeypatch.setattr(checks, "draw_changes", lambda *_: drawn)
        case "review":
            wrong = line.review

            def deny(*args):
                entry = wrong(*args)
                return type(entry)(plan=entry.plan, allow=not entry.allow, minutes=1.0)

            monkeypatch.setattr(line, "review", deny)
    assert real_serve
    with pytest.raises(VerificationFailed, match=re.escape(match)):
        go(cfg, make_box())


def test_a_line_is_checked_without_the_secret_and_in_the_arm_of_a_factory_alone(tmp_path, go, plan):
    cfg = lights_out(tmp_path, go, plan, "reads-text")
    lines, store = entries(cfg), Store(tmp_path / "runs" / "t" / "store")
    assert checks.check_line(lines, store, None) > 0
    served = facts(cfg, ServedEntry)[0].plan
    moved = [
        replace(one, body={**one.body, "plan": {**one.body["plan"], "arm": "local"}})
        if one.kind == "plan" and one.body["digest"] == served
        else one
        for one in lines
    ]
    with pytest.raises(VerificationFailed, match="its arm has no factory"):
        checks.check_line(moved, store, None)


def passed(own, planned, period):
    assert line.passes_gate(own.campaign, planned)
    for what in ("tests", "twin", "again"):
        own.serve(planned, what, period)
    return "" if line.passes_gate(own.campaign, planned, "release") else "release"


def both_halves(own, planned, period):
    return all(not own.serve(planned, what, period).unmet for what in ("twin", "again"))


def test_a_release_without_a_decision_does_not_verify(tmp_path, go, plan, monkeypatch):
    cfg = study(tmp_path, "lights_out", plan("reads-text"))
    mandate(cfg)

    def release(own, planned, period):
        own.campaign.running.ledger.append(
            ReleaseEntry(arm=own.campaign.arm, repeat=0, period=period, plan=planned.digest, by=())
        )

    monkeypatch.setattr(line.Line, "release", release)
    with pytest.raises(VerificationFailed, match="rests on no decision of class release"):
        go(cfg, make_box())


def test_a_service_reads_its_baseline_s_weights_and_no_other(tmp_path, go, plan):
    cfg = lights_out(tmp_path, go, plan, "reads-text")
    trained = next(j for j in facts(cfg, JobEntry) if j.role == "train")
    served = [one.job for one in facts(cfg, StartEntry) if one.job.role == "serve"]
    weights = {one.digest for job in served for one in job.inputs}
    assert served and weights == {trained.result.outputs["weights.safetensors"]}
    assert all({one.name for one in job.inputs} == {"weights.safetensors"} for job in served)
    decided = {one.change_class for one in facts(cfg, DecisionEntry)}
    assert decided == {"recipe", "patch", "release"}


@pytest.mark.parametrize(
    ("more", "match"),
    [
        (["factory.scenarios=''", "factory.tests=''"], "factory.scenarios"),
        (["study.arms=[lights_out,local]"], "study.arms"),
        (["box=docker"], "box.kind"),
        (["factory.satisfaction=1"], "satisfaction"),
        (["factory.requests=3"], "requests"),
        (["factory.tests=''"], "tests"),
        (["factory.scenarios=no/such/file"], "cannot be read"),
        (["factory.scenarios=README.md"], "line 1"),
        (["factory.scenarios=evals/text.json.xz"], "factory.scenarios"),
    ],
)
def test_settings_that_make_no_factory_are_refused_in_a_sentence(
    tmp_path, monkeypatch, more, match
):
    monkeypatch.chdir(ROOT)
    with pytest.raises(BadInput, match=re.escape(match)):
        study(tmp_path, "lights_out", 1, *more)


def test_a_pack_with_fewer_families_than_periods_is_refused(tmp_path, go):
    cfg = study(tmp_path, "lights_out", 46)
    mandate(cfg)
    with pytest.raises(BadInput, match=f"at most the {len(PACK)} families"):
        go(cfg, make_box())


def test_the_service_answers_in_the_namespace_box_behind_its_socket(tmp_path, go, plan):
    cfg = study(
        tmp_path,
        "lights_out",
        plan("device-statistics!"),
        "task=fast",
        "task.planned_cpu_us=100000",
        "task.train_items=500",
        "task.held_out=60",
    )
    mandate(cfg)
    assert go(cfg, need_box(lambda: NamespaceBox(ROOT / ".box")))["finished"]
    assert fates(cfg) == ["canary"]
    jobs = facts(cfg, ServedEntry)
    assert [job.harmed for job in jobs if job.what == "live"] == [0, 0]
    assert [job.ended for job in jobs if job.what == "canary"] == ["program: exit 1"]
    assert verify(Path(cfg.runs) / "t")["jobs"] == len(facts(cfg, StartEntry))


@pytest.mark.parametrize(
    ("fell", "fate", "back"),
    [
        ({"canary"}, "canary", ["new"]),
        ({"canary", "live"}, "canary", ["new", "old"]),
        ({"live"}, "watch", ["new"]),
        (set(), "live", []),
    ],
)
def test_after_a_canary_the_service_that_serves_on_is_watched_as_well(
    monkeypatch, fell, fate, back
):
    taken = []
    monkeypatch.setattr(line, "is_satisfied", lambda _, job: job not in fell)
    campaign = SimpleNamespace(planned=lambda name: name)
    one = SimpleNamespace(
        campaign=campaign,
        shop=SimpleNamespace(config=None),
        layers=("canary", "watch"),
        serve=lambda planned, what, period, first=False: what,
        roll_back=lambda planned, period: taken.append(planned) or True,
    )
    assert line.Line.meet_clients(one, "new", "old", 3) == fate and taken == back
