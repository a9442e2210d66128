"""Acts of people on a run from outside its loop: resume, deploy, roll back, recall."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configs.build import plain, strict_json
from configs.entries import ControlEntry, DecisionEntry, DeployEntry, RecallEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from configs.records import RESUME, Plan
from loop.facts.reader import FactsReader
from loop.facts.scores import best_champion, open_scores
from loop.people.advice import advising
from loop.people.requests import open_gate, subject_of
from sandbox import incident, stop_file
from sandbox.canonical import canonical, digest
from sandbox.files import replace_file
from sandbox.gate import Gate
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger

WEIGHTS, CARD = "weights.safetensors", "card.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A champion copied to `deployed/`."""

    plan: str
    "digest of the champion"
    folder: Path
    "folder with weights and card"
    kind: str
    "kind of reviewers who decided"


def resume(folder: Path, who: str) -> tuple[str, ...]:
    """Let a stopped, paused or slowed study go on; return the decisions behind it.

    Raises NeedsHuman until the study's reviewers say so. A study without reviewers is resumed
    without a decision, and the entry names no signer.
    """
    gate = open_gate(folder)
    if not gate.memory.halted:
        raise BadInput(
            f"{folder} is neither stopped, paused nor slowed; there is nothing to resume"
        )
    if gate.memory.named():
        gate.request(gate.memory.halted, RESUME)
    decisions: tuple[str, ...] = ()
    # In a single transaction: no newer stop comes between the decision and the resume.
    with advising(gate, folder), gate.ledger.transaction() as txn:
        gate.refresh(txn)
        if gate.memory.named():
            decisions = gate.decide_within(txn, gate.memory.halted, RESUME).by
        signed = "signed by the reviewers"
        why = signed if decisions else "unsigned: the study names no reviewer"
        txn.append(ControlEntry(what="resume", who=who, why=why, per_hour=0))
    stop_file.lift(folder)
    return decisions


def deploy(folder: Path, plan: str = "") -> Deployment:
    """Copy a champion's weights and card to `deployed/`, and use up a decision of class deploy.

    `plan` is a former deployment to roll back to; empty: the study's champion. Raises NeedsHuman
    until people decided.
    """
    gate = open_gate(folder)
    facts = FactsReader(open_ledger(folder)).facts()
    config = gate.memory.rules.config
    name = plan or best_champion(facts, config)
    if not any(name in names for names in facts.champions.values()):
        raise BadInput(
            f"{name[:12] or 'nothing'} is no champion of this study; only champions are deployed"
        )
    if not _is_unfinished(gate, folder, name):
        gate.request(name, "deploy")
        weights = facts.results[name, "train", 0][0].outputs[WEIGHTS]
        scores = open_scores(facts, name, config)
        # In a single transaction: no kill leaves a decision used up without its deployment.
        with advising(gate, folder), gate.ledger.transaction() as txn:
            gate.refresh(txn)
            decision = gate.decide_within(txn, name, "deploy")
            card = _write_card(gate, name, facts.plans[name], weights, scores, decision)
            digest_of_card = gate.store.put(card)
            txn.append(DeployEntry(plan=name, weights=weights, card=digest_of_card, by=decision.by))
    return _place_files(gate, folder)


def _is_unfinished(gate: Gate, folder: Path, name: str) -> bool:
    """Tell whether the newest deployment is of this champion and was killed before its files."""
    last = _last_deployed(gate.ledger)
    if last is None or last.plan != name or name in gate.memory.recalled:
        return False
    card = folder / "deployed" / CARD
    if card.is_file() and digest(card.read_bytes()) == last.card:
        return False
    with suppress(VerificationFailed):  # older deployments have no stored card
        return bool(gate.store.get(last.card))
    return False


def _place_files(gate: Gate, folder: Path) -> Deployment:
    """Copy weights and card of the newest deployment to `deployed/`."""
    last, target = _last_deployed(gate.ledger), folder / "deployed"
    assert last is not None
    card = gate.store.get(last.card)
    _replace_files(target, {WEIGHTS: gate.store.get(last.weights), CARD: card})
    return Deployment(plan=last.plan, folder=target, kind=strict_json(card)["decided_by"])


def _last_deployed(ledger: Ledger) -> DeployEntry | None:
    return next(iter([*facts_of(ledger.entries(), DeployEntry)][-1:]), None)


def _write_card(
    gate: Gate, name: str, plan: Plan, weights: str, scores: object, decision: DecisionEntry
) -> bytes:
    """Return the card of a champion: its recipe, its objective, its scores and who decided."""
    return canonical(
        {
            "study": gate.memory.rules.root,
            "plan": name,
            "weights": weights,
            "recipe": plain(plan.recipe),
            "objective": plan.objective,
            "scores": scores,
            "computable": gate.computable(plan),
            "decided_by": decision.reviewer_kind,
            "decisions": list(decision.by),
        }
    )


def _replace_files(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir(exist_ok=True)
    for name, data in files.items():
        replace_file(folder / name, data)


def rollback(folder: Path) -> Deployment:
    """Deploy the previously deployed plan; it takes a decision of its own."""
    deployed = _list_deployed(open_ledger(folder))
    recalled = open_gate(folder).memory.recalled
    earlier = [name for name in deployed if name != deployed[-1] and name not in recalled]
    if not earlier:
        raise BadInput(f"{folder} has no earlier deployment to roll back to")
    return deploy(folder, earlier[-1])


def _list_deployed(ledger: Ledger) -> list[str]:
    return [fact.plan for fact in facts_of(ledger.entries(), DeployEntry)]


def recall(folder: Path, prefix: str, who: str, why: str) -> list[str]:
    """Quarantine a successor and what was built on it, by parent or by basis; return the plans.

    They can be neither parent, basis nor champion any more, and they leave `deployed/`.
    """
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    if name not in gate.memory.plans or gate.memory.plans[name].purpose == "baseline":
        raise BadInput(
            f"PLAN is {prefix!r}; it should be a successor, and not the baseline that people gave"
        )
    names = _list_descendants(gate, name)
    with gate.ledger.transaction() as txn:
        first = txn.append(RecallEntry(plan=name, plans=tuple(names), who=who, why=why))
        incident.report(
            txn,
            f"recalled by a person: {why[:100]}",
            kind="incident",
            severity="medium",
            detector="a person",
            reporter=who,
            plan=name,
            chain=(first.sequence,),
            containment=f"{len(names)} plans quarantined",
        )
    deployed = _list_deployed(gate.ledger)
    if deployed and deployed[-1] in names:
        (folder / "deployed" / WEIGHTS).unlink(missing_ok=True)
        note = canonical({"plan": deployed[-1], "recalled": why})
        replace_file(folder / "deployed" / CARD, note)
    return names


def _list_descendants(gate: Gate, name: str) -> list[str]:
    """Return a plan and all that was built on it, by parent or by basis."""
    names = {name: None}
    # Parent and basis are always recorded before their children, so one pass finds them all.
    for other, plan in gate.memory.plans.items():
        if plan.parent in names or plan.basis in names:
            names[other] = None
    return list(names)
