"""The door `trial`: an agent trains candidates, each a plan that the gate decides on."""

import json
from pathlib import Path

import pytest
from conftest import ROOT, on, real_box
from defences import instead
from fakes import FakeBox, outcome
from studies import better, config, entries, mandate

from configs.errors import Denied
from loop import cycle
from loop.propose.agent import doors, trials
from loop.verify.run import verify
from sandbox.canonical import canonical, digest

AGENT = [
    "study.arms=[agent]",
    "proposer=agent",
    f"proposer.file={ROOT / 'docs' / 'examples' / 'trial_agent.py'}",
    "proposer.trials=3",
    "study.generations=1",
]
WIDE = {"hypothesis": "wider", "knobs": {"width": 96}}
DEEP = {"hypothesis": "deeper", "knobs": {"depth": 3}}
SAME = {"hypothesis": "nothing", "knobs": {}}


class Agent:
    """A script of the fake box: in each attempt the agent asks, then it ends as told."""

    def __init__(self, *attempts, ends=()):
        self.attempts, self.ends, self.answers = list(attempts), list(ends), []

    def __call__(self, execution):
        if execution.role != "agent":
            return None
        handler = execution.doors._doors["trial"]._handle
        replies = [handler(request) for request in self.attempts.pop(0)]
        self.answers.append([(one.status, json.loads(one.body)) for one in replies])
        if self.ends and (status := self.ends.pop(0)) != "ok":
            return outcome(status=status, detail="lost")
        return outcome(files={"proposals.jsonl": json.dumps(WIDE).encode()})


def of_kind(cfg, kind):
    return [e.body for e in entries(cfg) if e.kind == kind]


def trial_plans(cfg):
    return [b for b in of_kind(cfg, "plan") if b["plan"]["purpose"] == "trial"]


def messages(agent):
    return [
        answer["error"]["message"] if status != 200 else answer["outcome"]
        for answers in agent.answers
        for status, answer in answers
    ]


def test_a_trial_is_a_plan_that_is_decided_on_trained_looked_at_and_charged(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    agent = Agent([WIDE, DEEP])
    summary = go(cfg, FakeBox(better, agent))
    assert summary["finished"]
    made = trial_plans(cfg)
    plans = [body["plan"] for body in made]
    assert [p["change_class"] for p in plans] == ["recipe", "recipe"]
    assert [p["changed"] for p in plans] == [{"width": 96}, {"depth": 3}]
    assert [p["proposal"] for p in plans] == [digest(canonical(one)) for one in (WIDE, DEEP)]
    asked = next(b for b in of_kind(cfg, "plan") if b["plan"]["purpose"] == "propose")
    assert all(p["asked"] == asked["digest"] and p["jobs"] == TRAINED for p in plans)
    names = [body["digest"] for body in made]
    allowed = [b["plan"] for b in of_kind(cfg, "decision") if b["allow"]]
    assert set(names) <= set(allowed)
    looks = [b for b in of_kind(cfg, "look") if b["plan"] in names]
    assert [b["split"] for b in looks] == ["feedback", "feedback"]
    starts = [b for b in of_kind(cfg, "start") if b["job"]["plan"] in names]
    assert len(starts) == 4 and all("arm agent" in b["accounts"] for b in starts)
    (door,) = of_kind(cfg, "door")
    assert (door["door"], door["asked"], door["attempt"]) == ("trial", 2, 0)
    assert not {b["plan"] for b in of_kind(cfg, "champion")} & set(names)
    told = [answer for _, answer in agent.answers[0]]
    assert [one["plan"] for one in told] == names and [one["left"] for one in told] == [2, 1]
    assert set(told[0]) == {"plan", "outcome", "score", "failure", "left"}
    assert verify(tmp_path / "runs" / "t")["jobs"] > 0


TRAINED = [{"role": "train", "count": 1}, {"role": "predict", "count": 1}]


def test_a_score_is_told_as_the_ladder_releases_it(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    agent = Agent([WIDE, DEEP])
    go(cfg, FakeBox(lambda order: 0.95 if order.recipe.width == 96 else 0.1, agent))
    first, second = [answer for _, answer in agent.answers[0]]
    assert first["outcome"] == "better" and round(first["score"], 2) == first["score"]
    assert second["outcome"] == "not better" and second["score"] is None


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_an_agent_in_a_box_keeps_what_is_better(tmp_path, go, kind):
    fast = ["task=fast", "task.planned_cpu_us=100000", "task.train_items=500"]
    cfg = config(tmp_path, *AGENT, *fast)
    mandate(cfg)
    assert go(cfg, real_box(kind))["finished"]
    tried = [body["plan"]["changed"] for body in trial_plans(cfg)]
    candidates = [
        b["plan"]["changed"] for b in of_kind(cfg, "plan") if b["plan"]["purpose"] == "candidate"
    ]
    assert len(tried) == 3 and candidates and all(one in tried for one in candidates)
    (door,) = of_kind(cfg, "door")
    assert 3 < door["asked"] <= 3 * 14 and door["outside"] == door["malformed"] == 0
    verify(tmp_path / "runs" / "t")


PATCH = {
    "hypothesis": "a comment",
    "knobs": {},
    "edits": [
        {"file": "models/train.py", "search": "import torch\n", "replace": "import torch \n"}
    ],
}


def test_without_a_covering_mandate_a_trial_needs_a_person_and_nobody_is_asked(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)  # of classes recipe, propose and promote
    agent = Agent([PATCH, WIDE])
    assert go(cfg, FakeBox(better, agent))["finished"]
    assert messages(agent) == ["needs a person", "better"]
    made = trial_plans(cfg)
    assert [b["plan"]["change_class"] for b in made] == ["patch", "recipe"]
    waits = made[0]["digest"]
    assert not [b for b in of_kind(cfg, "request") if b["plan"] == waits]
    assert not [b for b in of_kind(cfg, "start") if b["job"]["plan"] == waits]
    assert not [b for b in of_kind(cfg, "look") if b["plan"] == waits]
    verify(tmp_path / "runs" / "t")


def test_a_trial_that_the_gate_refuses_is_not_trained(tmp_path, go, monkeypatch):
    cfg = config(tmp_path, *AGENT, "study.most_changes=1")
    mandate(cfg)
    monkeypatch.setattr("loop.propose.draft.need_few_changes", lambda *_: None)
    agent = Agent([{"hypothesis": "two", "knobs": {"width": 96, "depth": 3}}])
    go(cfg, FakeBox(better, agent))
    (made,) = trial_plans(cfg)
    assert "at most 1 may be" in messages(agent)[0]
    assert not [b for b in of_kind(cfg, "start") if b["job"]["plan"] == made["digest"]]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (SAME, "changes nothing"),
        ([], "it should be"),
        ({"hypothesis": "x", "knobs": {"magic": 1}}, "magic"),
        ({"hypothesis": "x", "knobs": {"width": 7}}, "width"),
        ({**WIDE, "basis": "f" * 64}, "no plan of this study"),
        ({**WIDE, "edits": [{"file": "/etc/passwd", "search": "a", "replace": "b"}]}, "file"),
        ({"hypothesis": "x", "knobs": {"width": 96, "depth": 3, "heads": 2}}, "at most 2"),
    ],
)
def test_a_request_that_is_no_proposal_is_refused_and_costs_no_look(tmp_path, go, request_, reason):
    cfg = config(tmp_path, *AGENT, "study.most_changes=2")
    mandate(cfg)
    agent = Agent([request_])
    go(cfg, FakeBox(better, agent))
    assert agent.answers[0][0][0] == 400 and reason in messages(agent)[0], messages(agent)
    assert not trial_plans(cfg)


def nested(levels):
    """A list in a list, so many times."""
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "request_",
    [
        {**WIDE, "predicted_gain": 2**60},
        {"hypothesis": 2**60, "knobs": {"width": 2**70}},
        {"hypothesis": "x", "knobs": {"width": nested(100)}},
        nested(45),
        {**WIDE, "predicted_gain": 1e308},
        {"hypothesis": "x", "knobs": {"width": [96]}},
        {"hypothesis": "\ud800", "knobs": {"width": 96}},
        None,
    ],
)
def test_no_request_of_an_agent_ends_the_study(tmp_path, go, request_):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    agent = Agent([request_, WIDE])
    assert go(cfg, FakeBox(better, agent))["finished"]
    assert [status for status, _ in agent.answers[0]][1] == 200
    verify(tmp_path / "runs" / "t")


CAPS = {"trials of a generation": [WIDE, DEEP, WIDE, DEEP], "requests of a job": [SAME] * 13}


@pytest.mark.parametrize("stands", [True, False])
@pytest.mark.parametrize("defence", CAPS)
def test_each_cap_of_the_door_is_needed(tmp_path, go, monkeypatch, defence, stands):
    if not stands:
        source = Path(trials.__file__).read_text()
        namespace = {"__name__": trials.__name__, "__file__": trials.__file__}
        exec(compile(instead(source, defence, "if False:"), "trials", "exec"), namespace)
        monkeypatch.setattr(doors, "TrialDoor", namespace["TrialDoor"])
    cfg = config(tmp_path, *AGENT, "budget.looks.feedback=500")
    mandate(cfg)
    agent = Agent(CAPS[defence])
    go(cfg, FakeBox(better, agent))
    last = messages(agent)[-1]
    assert ("are used" in last or "none is left" in last) == stands
    assert messages(agent)[-2].count("used") == messages(agent)[-2].count("left") == 0


def test_equal_requests_are_trials_of_their_own(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    agent = Agent([WIDE, WIDE])
    go(cfg, FakeBox(better, agent))
    names = [answer["plan"] for _, answer in agent.answers[0]]
    assert len(set(names)) == 2 and names == [b["digest"] for b in trial_plans(cfg)]


def test_a_lost_attempt_is_answered_from_the_record_by_bytes_and_occurrence(tmp_path, go):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    agent = Agent([WIDE, DEEP], [DEEP, WIDE, WIDE], ends=["box", "ok"])
    go(cfg, FakeBox(better, agent))
    first, second = [[answer["plan"] for _, answer in answers] for answers in agent.answers]
    assert second[:2] == first[::-1] and second[2] not in first
    assert [b["digest"] for b in trial_plans(cfg)] == [*first, second[2]]
    starts = [b["job"]["plan"] for b in of_kind(cfg, "start")]
    assert all(starts.count(name) == 2 for name in first)  # one training, one prediction
    assert [b["attempt"] for b in of_kind(cfg, "door")] == [0, 1]
    verify(tmp_path / "runs" / "t")


def test_a_trial_never_becomes_champion(tmp_path, go, monkeypatch):
    cfg = config(tmp_path, *AGENT)
    mandate(cfg)
    real = cycle.generation

    def promotes(campaign, number):
        real(campaign, number)
        name = next(n for n, p in campaign.facts().plans.items() if p.purpose == "trial")
        cycle.promote(campaign, campaign.planned(name))

    monkeypatch.setattr("loop.course.generation", promotes)
    with pytest.raises(Denied, match=r"\(promote\) is not of this study"):
        go(cfg, FakeBox(better, Agent([WIDE])))


def test_an_agent_without_trials_has_no_door(tmp_path, go):
    cfg = config(tmp_path, *AGENT, "proposer.trials=0")
    mandate(cfg)
    seen = []

    def script(execution):
        if execution.role == "agent":
            seen.append(execution.doors)
            return outcome(files={"proposals.jsonl": json.dumps(WIDE).encode()})
        return None

    go(cfg, FakeBox(better, script))
    assert seen == [None]


def test_trials_count_in_the_looks_and_in_the_compute_that_a_study_plans(tmp_path):
    without, with_three = (config(tmp_path, *AGENT, f"proposer.trials={n}") for n in (0, 3))
    assert with_three.trials("agent") == without.trials("agent") + 3
    assert with_three.worst("agent", 1) == without.worst("agent", 1) + 3
    assert with_three.trials("local") == without.trials("local")
