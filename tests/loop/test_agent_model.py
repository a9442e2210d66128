"""The door `model`: chats with the study's one model, granted, reserved, settled and stored."""

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT, on, real_box
from defences import instead
from fakes import FakeBox, outcome
from stub_model import propose, say, send, stub
from studies import better, config, entries, mandate, publishing

from configs.errors import BadInput
from loop.propose.agent import doors, model
from loop.verify.run import verify
from sandbox.store import Store

KEY = "sk-canary-4f1d0b7a92"
WIDE = json.dumps({"hypothesis": "wider", "knobs": {"width": 96}}).encode()


def asking(tmp_path, url, *overrides):
    """The settings of a small study whose agent may ask a model."""
    return config(
        tmp_path,
        "study.arms=[agent]",
        "proposer=agent-llm",
        f"proposer.file={ROOT / 'docs' / 'examples' / 'model_agent.py'}",
        f"proposer.llm.url={url}",
        "proposer.calls=3",
        "budget.tokens=500000",
        "study.generations=1",
        *overrides,
    )


def chat(text="hello", **more):
    return {"model": "default", "messages": [{"role": "user", "content": text}], **more}


class Agent:
    """A script of the fake box: in each attempt the agent asks, then it ends as told."""

    def __init__(self, *attempts, ends=()):
        self.attempts, self.ends, self.replies = list(attempts), list(ends), []

    def __call__(self, execution):
        if execution.role != "agent":
            return None
        handler = execution.doors._doors["model"]._handle
        self.replies.append([handler(request) for request in self.attempts.pop(0)])
        if self.ends and (status := self.ends.pop(0)) != "ok":
            return outcome(status=status, detail="lost")
        return outcome(files={"proposals.jsonl": WIDE})


def of_kind(cfg, kind):
    return [e.body for e in entries(cfg) if e.kind == kind]


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_an_agent_in_a_box_asks_the_model_and_never_sees_the_key(tmp_path, go, monkeypatch, kind):
    monkeypatch.setenv("MODEL_KEY", KEY)
    fast = ["task=fast", "task.planned_cpu_us=100000", "task.train_items=500"]
    with stub(propose(depth=3), propose(width=96)) as server:
        named = "proposer.llm.key_variable=MODEL_KEY", "proposer.llm.model=a-model"
        cfg = asking(tmp_path, server.url, *named, *fast)
        mandate(cfg)
        assert go(cfg, real_box(kind))["finished"]
    assert len(server.asked) == 2
    assert all(heads["Authorization"] == f"Bearer {KEY}" for _, heads, _ in server.asked)
    changed = [b["plan"]["changed"] for b in of_kind(cfg, "plan")]
    assert {"depth": 3} in changed and {"width": 96} in changed
    run = tmp_path / "runs" / "t"
    left = [path for path in run.rglob("*") if path.is_file()]
    assert not [path for path in left if KEY.encode() in path.read_bytes()]
    answers = of_kind(cfg, "answer")
    assert [a["answer"]["charged"]["tokens"] for a in answers] == [120, 120]
    assert all("arm agent" in a["accounts"] for a in answers)
    (door,) = of_kind(cfg, "door")
    assert (door["door"], door["asked"], door["malformed"]) == ("model", 2, 0)
    assert verify(run)["jobs"] > 0


def test_an_agent_for_a_small_model_proposes_what_the_model_named_and_nothing_else(tmp_path, go):
    fast = ["task=fast", "task.planned_cpu_us=100000", "task.train_items=500"]
    example = f"proposer.file={ROOT / 'docs' / 'examples' / 'choosing_agent.py'}"
    three = ["study.proposals=3", "proposer.llm.model=a-model", example]
    with stub(say("The 2nd one is best, not 1."), say("None."), say("9")) as server:
        cfg = asking(tmp_path, server.url, *three, *fast)
        mandate(cfg)
        assert go(cfg, real_box("namespace"))["finished"]
    asked = json.loads(server.asked[0][2])["messages"][0]["content"]
    knob, new = re.search(r"^2\. (\w+): .* -> (.*)$", asked, re.M).groups()
    plans = [b["plan"] for b in of_kind(cfg, "plan") if b["plan"]["purpose"] == "candidate"]
    assert [{name: str(value) for name, value in p["changed"].items()} for p in plans] == [
        {knob: new}
    ]
    assert len(server.asked) == 3 and len(asked) < 600


def test_what_goes_out_is_written_anew_from_the_messages_and_the_study_s_settings(tmp_path, go):
    with stub(say("hi")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
        agent = Agent([chat(parts, temperature=2, max_tokens=10**6, user="me", seed=7)])
        go(cfg, FakeBox(better, agent))
    sent = json.loads(server.asked[0][2])
    assert sent == {
        "model": "default",
        "messages": [{"role": "user", "content": "one\ntwo"}],
        "temperature": 0.8,
        "max_tokens": 1500,
        "seed": 7,
        "stream": False,
    }
    (reply,) = agent.replies[0]
    told = json.loads(reply.body)
    assert told["choices"][0]["message"] == {"role": "assistant", "content": "hi"}
    assert told["usage"]["total_tokens"] == 120 and reply.kind == "application/json"


IMAGE = [{"type": "image_url", "image_url": {"url": "http://evil.example/?stolen"}}]
FILE = [{"type": "file", "file": {"file_id": "x"}}]
BAD = {
    "tools": chat(tools=[{"type": "web_search"}]),
    "web_search_options": chat(web_search_options={}),
    "functions": chat(functions=[]),
    "response_format": chat(response_format={"type": "json_object"}),
    "plugins": chat(plugins=[{"id": "web"}]),
    "another model": {**chat(), "model": "other:online"},
    "an address": chat(IMAGE),
    "a file": chat(FILE),
    "two answers": chat(n=2),
    "a stream of another type": chat(stream="yes"),
    "a seed of another type": chat(seed=True),
    "a stop of another type": chat(stop=[1]),
    "a stop without a text": chat(stop=[""]),
    "many stops": chat(stop=["x"] * 17),
    "no messages": {"model": "default", "messages": []},
    "a tool's message": {"model": "default", "messages": [{"role": "tool", "content": "x"}]},
    "a call of a tool": {
        "model": "default",
        "messages": [{"role": "assistant", "content": "x", "tool_calls": []}],
    },
    "a list": [],
    "too long": chat("x" * 30_000),
}


def test_a_request_that_is_no_plain_chat_goes_nowhere(tmp_path, go):
    with stub(say("hi")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        agent = Agent(list(BAD.values()))
        go(cfg, FakeBox(better, agent))
        assert not server.asked and not of_kind(cfg, "call")
    for name, reply in zip(BAD, agent.replies[0], strict=True):
        assert reply.status == 400, name
    assert b"'tools'" in agent.replies[0][0].body


@pytest.mark.parametrize("stands", [True, False])
def test_the_cap_on_calls_is_needed(tmp_path, go, monkeypatch, stands):
    if not stands:
        source = Path(model.__file__).read_text()
        namespace = {"__name__": model.__name__, "__file__": model.__file__}
        changed = instead(source, "calls of a generation", "if False:")
        exec(compile(changed, "model", "exec"), namespace)
        monkeypatch.setattr(doors, "ModelDoor", namespace["ModelDoor"])
    with stub(say("hi")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        agent = Agent([chat(str(number)) for number in range(4)])
        try:
            go(cfg, FakeBox(better, agent))
        except Exception:  # the plan has no grant for a fourth question
            assert not stands
        asked = len(server.asked)
    assert asked == 3  # the grants of the plan are the second wall
    assert not stands or [one.status for one in agent.replies[0]] == [200, 200, 200, 403]


def test_a_stream_is_cut_from_the_whole_answer(tmp_path, go):
    text = "word " * 300
    with stub(say(text)) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        agent = Agent([chat(stream=True)])
        go(cfg, FakeBox(better, agent))
    (reply,) = agent.replies[0]
    lines = reply.body.decode().strip().split("\n\n")
    assert reply.kind == "text/event-stream" and lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    deltas = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks]
    assert "".join(deltas) == text and len(deltas) > 3
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    (answer,) = of_kind(cfg, "answer")
    assert Store(tmp_path / "runs" / "t" / "store").get(answer["answer"]["text"]).decode() == text


def test_an_answer_is_cut_before_the_first_stop_and_stored_and_paid_whole(tmp_path, go):
    whole = "one END two STOP three"
    with stub(say(whole, finish="length")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        stops = (["STOP", "END"], "STOP", ["absent"])
        agent = Agent([chat(number, stop=stop) for number, stop in zip("abc", stops, strict=True)])
        go(cfg, FakeBox(better, agent))
        assert not any(b"STOP" in body for _, _, body in server.asked)
    choices = [json.loads(reply.body)["choices"][0] for reply in agent.replies[0]]
    told = [(one["message"]["content"], one["finish_reason"]) for one in choices]
    assert told == [("one ", "stop"), ("one END two ", "stop"), (whole, "length")]
    store = Store(tmp_path / "runs" / "t" / "store")
    for body in of_kind(cfg, "answer"):
        assert store.get(body["answer"]["text"]).decode() == whole
        assert body["answer"]["charged"]["tokens"] == 120
    assert verify(tmp_path / "runs" / "t")


def test_a_lost_attempt_is_answered_from_the_record_by_bytes_and_occurrence(tmp_path, go):
    with stub(say("first"), say("second"), say("third")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        agent = Agent([chat("a"), chat("a")], [chat("a"), chat("a"), chat("b")], ends=["box", "ok"])
        go(cfg, FakeBox(better, agent))
        assert len(server.asked) == 3
    said = [
        [json.loads(one.body)["choices"][0]["message"]["content"] for one in replies]
        for replies in agent.replies
    ]
    assert said == [["first", "second"], ["first", "second", "third"]]
    verify(tmp_path / "runs" / "t")


def test_a_model_that_fails_is_told_and_paid(tmp_path, go):
    with stub(send(b"no", 500), say("hi")) as server:
        cfg = asking(tmp_path, server.url)
        mandate(cfg)
        agent = Agent([chat(), chat()])
        assert go(cfg, FakeBox(better, agent))["finished"]
    assert [one.status for one in agent.replies[0]] == [502, 200]
    first, second = (a["answer"] for a in of_kind(cfg, "answer"))
    assert (first["status"], first["charged_by"]) == ("busy", "reservation")
    assert second["charged"]["tokens"] == 120 < first["charged"]["tokens"]
    verify(tmp_path / "runs" / "t")


def test_a_question_beyond_the_budget_is_refused_and_the_agent_goes_on(tmp_path, go):
    with stub(send(b"no", 500)) as server:
        cfg = asking(tmp_path, server.url, "budget.tokens=26000")
        mandate(cfg)
        agent = Agent([chat("x" * 20_000), chat("y" * 20_000)])
        go(cfg, FakeBox(better, agent))
        assert len(server.asked) == 1
    assert [one.status for one in agent.replies[0]] == [502, 403]


def test_a_door_without_a_model_or_a_budget_or_a_key_is_refused_before_the_study(
    tmp_path, go, monkeypatch
):
    monkeypatch.delenv("MODEL_KEY", raising=False)
    agent = f"proposer.file={ROOT / 'docs' / 'examples' / 'model_agent.py'}"
    with pytest.raises(BadInput, match=r"proposer\.llm"):
        config(tmp_path, "study.arms=[agent]", "proposer=agent", agent, "proposer.calls=3")
    with pytest.raises(BadInput, match=r"budget\.tokens"):
        asking(tmp_path, "http://127.0.0.1:1/v1", "budget.tokens=100")
    with pytest.raises(BadInput, match="that runtime has no doors"):
        asking(tmp_path, "http://127.0.0.1:1/v1", "box=docker", "+box.runtime=runsc")
    cfg = asking(tmp_path, "http://127.0.0.1:1/v1", "proposer.llm.key_variable=MODEL_KEY")
    mandate(cfg)
    with pytest.raises(BadInput, match="holds no key"):
        go(cfg, FakeBox(better, Agent([])))


def test_the_report_tells_what_a_generation_used_and_left(tmp_path, go):
    with stub(say("hi")) as server:
        cfg = asking(tmp_path, server.url, "proposer.trials=2")
        mandate(cfg)
        agent = Agent([chat("one"), chat("two")])
        go(cfg, FakeBox(better, agent), publishing)
    report = json.loads((tmp_path / "runs" / "t" / "report.json").read_text())
    (happened,) = [one for one in report["sections"] if one["name"] == "happened"]
    (table,) = [one for one in happened["tables"] if one["name"] == "agents"]
    (row,) = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    assert (row["questions"], row["questions left"], row["tokens"]) == (2, 1, 240)
    assert (row["trials"], row["trials left"], row["turned away"]) == (0, 2, 0)
    assert row["CPU-seconds"] == 0.1 and row["CPU-seconds left"] == 14.9
