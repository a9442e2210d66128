"""An agent runs again, and its doors answer from the record: nobody trains, nobody is asked."""

import json

import pytest
from conftest import ROOT, on, real_box
from fakes import FakeBox, outcome
from stub_model import say, stub
from studies import better, config, entries, mandate

from configs.errors import BadInput, VerificationFailed
from loop.verify.replay import replay
from loop.verify.run import verify

EXAMPLE = ROOT / "docs" / "examples" / "trial_agent.py"
WIDE = {"hypothesis": "wider", "knobs": {"width": 96}}
SAME = {"hypothesis": "nothing", "knobs": {}}
CHAT = {"model": "default", "messages": [{"role": "user", "content": "hello"}]}
ASKS = [("trial", WIDE), ("model", CHAT), ("trial", SAME), ("model", CHAT)]


def settings(tmp_path, url="http://127.0.0.1:1/v1", *more):
    return config(
        tmp_path,
        "study.arms=[agent]",
        "proposer=agent-llm",
        f"proposer.file={EXAMPLE}",
        f"proposer.llm.url={url}",
        "proposer.calls=3",
        "proposer.trials=2",
        "budget.tokens=500000",
        "study.generations=1",
        *more,
    )


class Agent:
    """A script of the fake box: the agent asks at its doors, then hands out what it heard."""

    def __init__(self, asks, **left):
        self.asks, self.left, self.heard = asks, left, []

    def __call__(self, execution):
        if execution.role != "agent":
            return None
        doors = execution.doors._doors
        self.heard = [doors[name]._handle(request) for name, request in self.asks]
        notes = b"\n".join(one.body for one in self.heard)
        files = {"proposals.jsonl": json.dumps(WIDE).encode(), "notes": notes}
        return outcome(files={**files, **self.left})


def asked_plan(cfg):
    plans = [e.body for e in entries(cfg) if e.kind == "plan"]
    return next(b["digest"] for b in plans if b["plan"]["purpose"] == "propose")


def again(tmp_path, go, cfg, agent):
    """Replay the recorded agent on a box that runs this script; return the answer and the box."""
    box = FakeBox(better, agent)
    return go(cfg, box, lambda _: replay(tmp_path / "runs" / "t", asked_plan(cfg))), box


def recorded(tmp_path, go, server):
    cfg = settings(tmp_path, server.url)
    mandate(cfg)
    go(cfg, FakeBox(better, Agent(ASKS)))
    return cfg


def test_a_replayed_agent_hears_what_it_heard_without_trainings_and_without_the_model(tmp_path, go):
    with stub(say("one"), say("two")) as server:
        cfg = recorded(tmp_path, go, server)
        asked = len(server.asked)
        agent = Agent(ASKS)
        answer, box = again(tmp_path, go, cfg, agent)
        assert answer["same"] and len(server.asked) == asked == 2
    assert [execution.role for execution in box.ran] == ["agent"]
    assert [one.status for one in agent.heard] == [200, 200, 400, 200]
    assert b"one" in agent.heard[1].body and b"two" in agent.heard[3].body
    verify(tmp_path / "runs" / "t")


@pytest.mark.parametrize(
    "asks",
    [
        [*ASKS, ("model", CHAT)],
        [*ASKS, ("trial", WIDE)],
        [("model", {**CHAT, "seed": 1})],
        [("trial", {**WIDE, "hypothesis": "another"})],
    ],
)
def test_another_request_in_a_replay_is_diverged_and_goes_nowhere(tmp_path, go, asks):
    with stub(say("one"), say("two"), say("three")) as server:
        cfg = recorded(tmp_path, go, server)
        count, agent = len(server.asked), Agent(asks)
        plans = [e.body["digest"] for e in entries(cfg) if e.kind == "plan"]
        with pytest.raises(VerificationFailed, match="diverged: the agent asked 1 times"):
            again(tmp_path, go, cfg, agent)
        assert len(server.asked) == count
    assert agent.heard[-1].status == 409 and b"diverged" in agent.heard[-1].body
    assert [e.body["digest"] for e in entries(cfg) if e.kind == "plan"] == plans


def test_other_proposals_from_the_same_answers_are_a_difference(tmp_path, go):
    with stub(say("one"), say("two")) as server:
        cfg = recorded(tmp_path, go, server)
        with pytest.raises(VerificationFailed, match="seed what is random"):
            again(tmp_path, go, cfg, Agent(ASKS, notes=b"other"))


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_an_agent_in_a_box_is_replayed(tmp_path, go, kind):
    fast = ["task=fast", "task.planned_cpu_us=100000", "task.train_items=500", "proposer.calls=0"]
    cfg = settings(tmp_path, "http://127.0.0.1:1/v1", *fast)
    mandate(cfg)
    run = tmp_path / "runs" / "t"
    assert go(cfg, real_box(kind))["finished"]
    before = sum(e.kind == "start" for e in entries(cfg))
    box = real_box(kind)
    assert go(cfg, box, lambda _: replay(run, asked_plan(cfg)))["same"]
    assert sum(e.kind == "start" for e in entries(cfg)) == before
    verify(run)


def test_a_plan_that_nobody_trained_and_no_agent_asked_is_refused(tmp_path, go):
    with stub(say("one"), say("two")) as server:
        cfg = recorded(tmp_path, go, server)
        with pytest.raises(BadInput, match="should begin the digest of exactly one"):
            go(cfg, FakeBox(better), lambda _: replay(tmp_path / "runs" / "t", "zz"))
