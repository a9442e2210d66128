"""Record the archives of this folder. This script runs on the code of tag v1 alone.

    git checkout v1 && make setup
    .venv/bin/python tests/ledgers/record.py [NAME ...]

Each archive holds small runs, the home folder that they need, their exports and the figures of v1.
`boxed` trains in the namespace box. The other runs take a box that computes nothing.
Later code reads the archives in `tests/loop/test_recorded.py` and never runs this script.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from acts import (
    HERE,
    PAIRS,
    SMALL,
    Fake,
    at_terminal,
    bodies,
    decide,
    decide_elsewhere,
    export,
    finish,
    heirloop,
    in_box,
    key,
    pack,
    refused,
    run,
    tidy,
    waiting,
)
from fakes import outcome
from loop.reviewer import is_canary
from orders import orders
from stub_model import propose, say, send, stub
from test_recorded import figures

from configs.build import parse, strict_json
from configs.history import History
from configs.job import Outcome
from sandbox import keys
from sandbox.box.base import Execution

PATCH = {
    "file": "models/train.py",
    "search": "warm = int(recipe.warmup * steps)",
    "replace": "warm = int(recipe.warmup * steps) + 10",
}
GATE = '''"""Refuse nets of width 128."""


def gate(plan, change_class):
    return "a net of width 128 is too wide" if plan["recipe"]["width"] == 128 else ""
'''
PROPOSER = '''"""Propose two larger step sizes."""

import json

for rate in (0.01, 0.005):
    print(json.dumps({"hypothesis": f"a step of {rate}", "knobs": {"learning_rate": rate}}))
'''


def boxed() -> None:
    """Train in the namespace box, let a program propose there, and train once more by a replay."""
    Path("proposer.py").write_text(PROPOSER)
    shape = ("study.arms=[command]", "study.start_trials=0", "study.generations=1")
    sizes = ("study.proposals=2", "study.final_replicates=4", "task.held_out=50")
    nets = ("task.train_items=2000", "task.notebook=false", "task.baseline.width=16")
    rest = ("task.baseline.notebook=0", "proposer=command", "proposer.file=proposer.py")
    names = ("study=quickstart", "study.name=boxed", "box=namespace")
    settings = (*names, *shape, *sizes, *nets, *rest)
    heirloop("mandate", "grant", "--unattended", *settings)
    finish(None, *settings)
    with in_box(None):
        heirloop("replay", "runs/boxed", bodies("runs/boxed", "champion")[-1]["plan"])
    export("csv", "runs/boxed")
    export("parquet", "runs/boxed", parquet=True)
    Path("home/secrets").rename("away")
    export("unsigned", "runs/boxed")
    Path("away").rename("home/secrets")


def people() -> None:
    """Let people decide on all: quorums, a denial, an escalation, canaries, own proposals."""
    for name, kind in (("ada", "person"), ("bob", "person"), ("cy", "person"), ("eve", "external")):
        key(name, kind)
    Path("gate.py").write_text(GATE)
    arms = ("study.arms=[human,scripted]", "proposer=human", "study.name=people")
    script = "+proposer.script=[{width: 128},{depth: 3},{depth: 1}]"
    quorums = (
        "gates.approve.patch={of: 2, role: person}",
        "gates.approve.promote={of: 2}",
        "gates.canaries=0.4",
        "gates.counterparty=eve",
        "gates.file=gate.py",
    )
    settings = (*SMALL, *PAIRS, *arms, script, "autonomy=assisted", "gates=attended", *quorums)
    run(Fake(), *settings)
    proposals = (
        {"hypothesis": "wider holds more", "knobs": {"width": 96}, "predicted_gain": 0.2},
        {"hypothesis": "a longer start", "knobs": {}, "edits": [PATCH]},
        {"hypothesis": "larger batches", "knobs": {"batch_size": 128}, "predicted_gain": 0.1},
        {"hypothesis": "flatter", "knobs": {"depth": 1}},
    )
    for proposal in proposals:
        Path("proposal.json").write_text(json.dumps(proposal))
        heirloop("propose", "runs/people", "proposal.json", "--arm", "human")
    subject, what, _ = waiting("runs/people")[0]
    with refused("not signed"):
        decide_elsewhere("runs/people", "ada", subject, what, forged=True)
    while run(Fake(), *settings) is not None:
        _answer_all("runs/people")
    heirloop("keys", "revoke", "cy")
    export("ended", "runs/people")


def _answer_all(folder: str) -> None:
    """Decide on all that waits; export the study the first time that a promotion waits."""
    secret = keys.load_secret(bodies(folder, "study")[0]["secret"])
    probes = {body["digest"]: body["commitment"] for body in bodies(folder, "probe")}
    for subject, what, reason in waiting(folder):
        if what == "promote" and not Path("exports/running").exists():
            export("running", folder, parquet=True)
        if subject in probes:
            canary = is_canary(secret, subject, probes[subject])
            decide(folder, "deny" if canary else "approve", "bob", subject, what)
        else:
            _answer(folder, subject, what, reason)


def _answer(folder: str, subject: str, what: str, reason: str) -> None:
    """Deny the flatter net, pass larger batches on to somebody outside, and approve the others."""
    if reason == "flatter":
        decide(folder, "deny", "cy", subject, what, "it does not say why")
        return
    if reason == "larger batches":
        decide(folder, "escalate", "bob", subject, what, "somebody outside should see it")
        decide(folder, "approve", "eve", subject, what, "seen from outside")
    for name in ("ada", "cy") if what in ("promote", "patch") else ("ada",):
        decide_elsewhere(folder, name, subject, what)


def closed() -> None:
    """Let the champion's weights propose, read a warning sign, and let a stand-in open sealed."""
    shape = ("study.arms=[self]", "task.notebook=true", "study.start_trials=16")
    looks = ("study.larger_replicates=4", "study.skill_proposals=1")
    stages = "automation: {propose: 0.9, deploy: 0.5}"
    sign = f"++study.warning={{repeats: 1, floor: -9, {stages}, cpu_seconds: 1}}"
    budget = ("budget.jobs=1000", "gates.unattended.jobs=1000", "budget.cpu_seconds=4000")
    caps = ("gates.unattended.cpu_seconds=4000", "reviewer=scripted", "study.name=closed")
    settings = (*SMALL, *PAIRS, *shape, *looks, sign, *budget, *caps)
    heirloop("mandate", "grant", "--unattended", *settings)
    finish(Fake(_propose), *settings)
    with in_box(Fake()):
        heirloop("unseal", "runs/closed", "--arm", "self")
    export("csv", "runs/closed")


def _propose(execution: Execution) -> Outcome | None:
    """Write the proposals of a propose job; the box does every other job itself."""
    if execution.role != "propose":
        return None
    history = parse(History, strict_json(execution.files["history.json"], limit=10**7))
    changes = [{"width": 96}, {"depth": 3}, {"batch_size": 128}, {"dropout": 0.1}]
    first = len(history.trials)
    chosen = [changes[(first + i) % 4] for i in range(history.count)]
    lines = [json.dumps({"hypothesis": "more", "knobs": knobs}) for knobs in chosen]
    return outcome(files={"proposals.jsonl": "\n".join(lines).encode()})


def outside() -> None:
    """Let an outside model propose: a busy answer, a refusal, knobs, a patch."""
    key("ada")
    proposal = '{"hypothesis": "a longer start", "knobs": {"depth": 3}}'
    lines = ("<<<<<<< SEARCH", f"    {PATCH['search']}", "=======", f"    {PATCH['replace']}")
    patch = say("\n".join((proposal, *lines, ">>>>>>> REPLACE")))
    replies = [send(b"", 503), propose(width=96), say("I cannot help with that."), patch]
    more = [propose(batch_size=128), propose(depth=1), propose(depth=3), propose(dropout=0.1)]
    with stub(*replies, *more) as server:
        arms = ("study.arms=[llm,evolve-llm]", "proposer=llm", "gates=programs", "box.parallel=1")
        model = (f"proposer.llm.url={server.url}", "proposer.llm.pause_seconds=0")
        prices = ("proposer.llm.prompt_price=1000000", "proposer.llm.answer_price=2000000")
        budget = ("budget.tokens=10000000", "budget.money_micros=100000000", "study.name=outside")
        settings = (*SMALL, *PAIRS, *arms, *model, *prices, *budget, "objective.feedback=rounded")
        heirloop("mandate", "grant", "--unattended", *settings)
        while run(Fake(), *settings) is not None:  # no mandate promotes an edited program
            subject, what, _ = waiting("runs/outside")[0]
            decide("runs/outside", "approve", "ada", subject, what)
    export("csv", "runs/outside")


def planted() -> None:
    """Simulate two studies of one world; their seeds are repeats."""
    shape = ("study.repeats=1", "study.generations=2", "study.confirm_replicates=6")
    rule = ("study.final_replicates=4", "objective.acceptance=paired_t", "objective.alpha=0.3")
    for seed in (1, 2):
        names = (f"study.name=planted-{seed}", f"study.seed={seed}")
        settings = ("study=planted", "task.world=linear", *shape, *rule, *names)
        heirloop("mandate", "grant", "--unattended", *settings)
        finish(None, *settings)
    export("both", "runs/planted-1", "runs/planted-2", parquet=True)


def record(name: str) -> None:
    """Record one archive in a new folder."""
    work = Path(tempfile.mkdtemp())
    os.environ["HEIRLOOP_HOME"] = str(work / "home")
    os.chdir(work)
    RUNS[name]()
    os.chdir(HERE)
    close(work, name)
    shutil.rmtree(work)


def close(work: Path, name: str) -> None:
    """Add the figures of this version to a recorded folder, and pack it."""
    expected = json.dumps(figures(work), indent=1, sort_keys=True)
    tidy(work)
    (work / "expected.json").write_text(expected)
    pack(work, HERE / f"{name}.tar.xz")


RUNS: dict[str, Callable[[], None]] = {
    act.__name__: act for act in (boxed, people, orders, closed, outside, planted)
}

if __name__ == "__main__":
    at_terminal()
    for name in sys.argv[1:] or RUNS:
        print(name)
        record(name)
