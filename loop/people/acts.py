"""What people do to a run from outside its loop: look, decide, resume, deploy, roll back, recall,
amend, acknowledge, export.
"""

from pathlib import Path
from typing import Any

from configs.build import plain
from configs.errors import BadInput
from loop.facts.facts import FactsReader
from loop.facts.scores import best_champion, open_scores
from loop.people.requests import open_gate, subject_of
from sandbox import incident
from sandbox.canonical import canonical, digest
from sandbox.ledger import Ledger
from sandbox.store import Store


def resume(folder: Path, who: str) -> dict[str, Any]:
    """Let a stopped, paused or slowed study go on if the reviewers that it names say so; raises
    NeedsHuman until they do.

    A study that pins no reviewer is resumed by whoever can run this, and the entry says that nobody
    signed.
    """
    gate = open_gate(folder)
    if not gate.halted:
        raise BadInput(
            f"{folder} is neither stopped, paused nor slowed; there is nothing to resume"
        )
    by: list[str] = []
    if gate.named():
        gate.request(gate.halted, "resume")
    with (
        gate.ledger.transaction() as txn
    ):  # no newer stop can come between the decision and what rests on it
        gate.refresh(txn)
        if gate.named():
            by = list(gate.decide_within(txn, gate.halted, "resume").by)
        why = "signed by the reviewers" if by else "unsigned: the study names no reviewer"
        txn.append("control", {"what": "resume", "who": who, "why": why, "per_hour": 0})
    (folder / "STOP").unlink(missing_ok=True)
    return {"resumed": True, "decisions": by}


def deploy(folder: Path, plan: str = "") -> dict[str, Any]:
    """Copy a champion's weights and card to `deployed/`, under a decision of class deploy that is
    used up by it.

    Raises NeedsHuman until people decided. `plan` empty: the study's champion; a former deployment
    is rolled back to by its plan.
    """
    gate, archive = open_gate(folder), FactsReader(Ledger.file(folder / "ledger.sqlite"))
    facts = archive.facts()
    name = plan or best_champion(facts, gate.rules.config.objective)
    if not any(name in names for names in facts.champions.values()):
        raise BadInput(
            f"{name[:12] or 'nothing'} is no champion of this study; only champions are deployed"
        )
    gate.request(name, "deploy")
    said = gate.decide(name, "deploy")
    weights = facts.results[name, "train", 0][0].outputs["weights.safetensors"]
    one = facts.plans[name]
    card = canonical(
        {
            "study": gate.rules.root,
            "plan": name,
            "weights": weights,
            "recipe": plain(one.recipe),
            "objective": one.objective,
            "scores": open_scores(facts, name, gate.rules.config.objective),
            "computable": gate.computable(one),
            "decided_by": said.reviewer_kind,
            "decisions": list(said.by),
        }
    )
    target = folder / "deployed"
    target.mkdir(exist_ok=True)
    for file, data in (
        ("weights.safetensors", Store(folder / "store").get(weights)),
        ("card.json", card),
    ):
        (target / f".{file}").write_bytes(data)
        (target / f".{file}").replace(target / file)
    gate.ledger.append(
        "deploy", {"plan": name, "weights": weights, "card": digest(card), "by": list(said.by)}
    )
    return {"plan": name, "folder": str(target), "kind": said.reviewer_kind}


def rollback(folder: Path) -> dict[str, Any]:
    """Deploy what was deployed before; it takes a decision of its own, as deploying does."""
    told = [
        e.body["plan"]
        for e in Ledger.file(folder / "ledger.sqlite").entries()
        if e.kind == "deploy"
    ]
    gone = open_gate(folder).recalled
    before = [name for name in told if name != told[-1] and name not in gone]
    if not before:
        raise BadInput(f"{folder} has no earlier deployment to roll back to")
    return deploy(folder, before[-1])


def recall(folder: Path, prefix: str, who: str, why: str) -> list[str]:
    """Quarantine a successor and its descendants: they can be neither parent nor champion, and
    leave `deployed/`. Returns their plans.
    """
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    if name not in gate.plans or gate.plans[name].purpose == "baseline":
        raise BadInput(
            f"PLAN is {prefix!r}; it should be a successor, and not the baseline that people gave"
        )
    found = [name]
    for other, plan in gate.plans.items():  # a parent is always recorded before its children
        if plan.parent in found:
            found.append(other)
    with gate.ledger.transaction() as txn:
        first = txn.append("recall", {"plan": name, "plans": found, "who": who, "why": why})
        incident.report(
            txn,
            f"recalled by a person: {why[:100]}",
            kind="incident",
            severity="medium",
            detector="a person",
            reporter=who,
            plan=name,
            chain=(first.sequence,),
            containment=f"{len(found)} plans quarantined",
        )
    deployed = [e.body["plan"] for e in gate.ledger.entries() if e.kind == "deploy"]
    if deployed and deployed[-1] in found:
        (folder / "deployed" / "weights.safetensors").unlink(missing_ok=True)
        (folder / "deployed" / "card.json").write_bytes(
            canonical({"plan": deployed[-1], "recalled": why})
        )
    return found
