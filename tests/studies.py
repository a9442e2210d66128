"""Small studies on a box that computes nothing, and the people who decide on them."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fakes import FakeBox, written

from configs.build import plain
from loop import session, settings
from loop.command.study import read_summary
from loop.facts.reader import FactsReader
from loop.measure import confirm
from loop.people import requests
from loop.propose.table import PROPOSERS
from loop.report import make
from loop.verify.run import verify_and_record
from sandbox import keys
from sandbox.ledger import Ledger
from sandbox.unsigned import new_approval, new_mandate

SMALL = [
    "task=addition-v1",
    "task.held_out=100",
    "task.train_items=500",
    "study.generations=2",
    "study.proposals=2",
    "study.arms=[local]",
    "study.confirm_replicates=8",
    "study.name=t",
    "study.most_changes=0",
    "box.parallel=1",  # tests count jobs, and script the next
]
HUMAN = ["autonomy=assisted", "gates=attended"]
SCRIPT = [*HUMAN, "reviewer=scripted"]
real_judge = confirm.judge


@cache
def compose_cached(*overrides):
    """Compose settings once a worker: Hydra takes a tenth of a second for it."""
    return settings.compose_settings(overrides)


def config(tmp_path, *overrides):
    """Return the settings of a small study below a folder."""
    if any("/" in one for one in overrides):  # files are read, and pinned in the home
        return settings.compose_settings([*SMALL, f"runs={tmp_path}/runs", *overrides])
    return replace(compose_cached(*SMALL, *overrides), runs=f"{tmp_path}/runs")


def mandate(cfg, *, caps=None, hours_ago=0, kind="unattended"):
    key = Ed25519PrivateKey.generate()
    made = plain(new_mandate(cfg, caps or cfg.gates.unattended, kind, kind, keys.public_hex(key)))
    made["issued"] -= hours_ago * 3600
    made["expires"] -= hours_ago * 3600
    return put_mandate(cfg, keys.sign(made, key, "mandate"))


def put_mandate(cfg, envelope):
    folder = keys.home() / "mandates"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{cfg.study.name}-x.json").write_bytes(envelope)
    return envelope


def better(order):
    """Anything of another depth, width or batch than the baseline's is far better."""
    return (
        0.1
        if (order.recipe.depth, order.recipe.batch_size, order.recipe.width) == (2, 64, 64)
        else 0.95
    )


def read_facts(folder):
    """Return the facts of a run, folded from its ledger now."""
    return FactsReader(Ledger.at(folder)).facts()


def entries(cfg):
    return Ledger.at(Path(cfg.runs) / cfg.study.name).entries()


def execute(cfg, publish=make.summarize):
    """Run a study, and verify its record at the end, as the command does; return the summary."""
    summary = session.execute(cfg, publish)
    verify_and_record(Path(cfg.runs) / cfg.study.name)
    return summary


def publishing(cfg):
    """Run a study as the command does: with its report drawn at the end and at each stop."""
    return execute(cfg, make.publish)


def page_of(folder):
    """Draw the report of a run; return its page."""
    make.again(folder)
    return (folder / "report.html").read_text()


def gate_of(cfg):
    return requests.open_gate(Path(cfg.runs) / cfg.study.name)


def approve(
    cfg, plan, what, answer="approve", key="ada", changes=None, mangle=lambda envelope: envelope
):
    """Sign a decision on a recorded subject and hand it in; return why it was refused, or
    nothing.
    """
    gate, half = gate_of(cfg), next(k for k in keys.public_keys() if k["name"] == key)
    made = plain(
        new_approval(gate.memory.rules, gate.memory.subjects[plan], what, answer, "", 1, half)
    ) | (changes or {})
    return gate.admit(
        mangle(keys.sign(made, keys.open_key(key, "correct horse"), "approval")), "approval"
    )


def waiting(cfg):
    return [
        p["id"]
        for g in read_summary(Path(cfg.runs) / cfg.study.name)["generations"]
        for p in g["plans"]
        if p["verdict"] == "waiting"
    ]


def bodies(cfg, kind="decision"):
    return [e.body for e in entries(cfg) if e.kind == kind]


def champions(cfg):
    return [e.body["plan"] for e in entries(cfg) if e.kind == "champion"]


def patches(monkeypatch, lines):
    """Let the proposer add `lines` harmless lines to train.py, a proposal."""
    count = iter(range(10**6))

    def propose(view):
        n = next(count)
        text = "".join(f"_X{n}_{i} = {i}\n" for i in range(lines))
        edit = {"file": "models/train.py", "search": "def main(", "replace": f"{text}\n\ndef main("}
        return json.dumps({"hypothesis": "one more constant", "knobs": {}, "edits": [edit]})

    monkeypatch.setitem(PROPOSERS, "local", written(propose))


def accept(verdict):
    return verdict if verdict.answer == "continue" else replace(verdict, answer="accept")


class Cut(Exception):
    """The box is gone: the study stays unfinished."""


def play(tmp_path, go, name="t", *more, jobs=10**9):
    cfg = config(tmp_path, f"study.name={name}", "study.generations=3", *more)
    mandate(cfg)
    box = FakeBox(better)

    def script(_):
        if len(box.ran) > jobs:
            raise Cut
        return None

    box.script = script
    if jobs < 10**9:
        with pytest.raises(Cut):
            go(cfg, box)
    else:
        go(cfg, box)
    return tmp_path / "runs" / name
