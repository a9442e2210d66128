"""A real model proposes: SmolLM2-135M-Instruct, served on loopback by
docs/examples/smollm_server.py from an environment of its own.
"""

import os
import subprocess

import pytest
from conftest import ROOT
from fakes import FakeBox
from studies import better, config, entries, mandate

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.records import Call, ModelReply
from loop.propose.outside.read import read
from loop.verify.run import verify
from sandbox.endpoint import ask
from sandbox.store import Store

PYTHON = ROOT / ".model" / "bin" / "python"
pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(1800),
]  # a generous end; about a minute where nothing else runs


@pytest.fixture(scope="module")
def url():
    """The address of the served model."""
    if not (PYTHON.parent.parent / "ready").exists():
        required = "model" in os.environ.get("HEIRLOOP_REQUIRE_BOX", "").split(",")
        (pytest.fail if required else pytest.skip)(
            "there is no .model; `make .model/ready` installs the model and what loads it"
        )
    server = subprocess.Popen(
        [PYTHON, "docs/examples/smollm_server.py", "0"],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        line = server.stdout.readline()
        assert line.startswith("SmolLM2-135M-Instruct answers at "), line
        yield line.split()[-1]
    finally:
        server.kill()
        server.stdout.close()
        server.wait()


def unreadable(text):
    """Return why an answer is no proposal, read anew; nothing where it is."""
    try:
        read(text, (ROOT / "models" / "train.py").read_text())
    except BadInput as error:
        return str(error)
    return ""


def test_a_real_model_proposes_and_whatever_it_writes_is_charged_and_recorded(tmp_path, go, url):
    cfg = config(
        tmp_path,
        "proposer=smollm",
        "study.arms=[llm]",
        "study.generations=1",
        f"proposer.llm.url={url}",
        "proposer.llm.prompt_bytes=4000",
        "proposer.llm.answer_tokens=80",
        "budget.tokens=100000",
    )
    mandate(cfg)
    assert go(cfg, FakeBox(better))["finished"]
    facts = entries(cfg)
    store = Store(tmp_path / "runs" / "t" / "store")
    answers = [parse(ModelReply, e.body["answer"]) for e in facts if e.kind == "answer"]
    assert [(a.status, a.charged_by) for a in answers] == [("ok", "usage")] * 2
    assert all(500 < a.charged.tokens < 4000 + 80 for a in answers)
    places = [
        e.body["plan"]["index"]
        for e in facts
        if e.kind == "plan" and e.body["plan"]["purpose"] == "candidate"
    ]
    places += [e.body["index"] for e in facts if e.kind == "invalid"]
    assert sorted(places) == [0, 1]  # each answer is a plan or a recorded invalid proposal
    reasons = {e.body["index"]: e.body["reason"] for e in facts if e.kind == "invalid"}
    for index, answer in enumerate(answers):
        reason = unreadable(store.get(answer.text).decode())
        assert not reason or reasons[index] == reason[: len(reasons[index])]
    assert verify(tmp_path / "runs" / "t")

    first = parse(Call, next(e.body["call"] for e in facts if e.kind == "call"))
    again = ask(first.endpoint, store.get(first.body), "", lambda: False)
    assert (
        again.status == "ok"
        and store.get(answers[0].text).decode()
        in strict_json(again.data)["choices"][0]["message"]["content"]
    )
