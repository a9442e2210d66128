"""The contract for programs: summary.json, made from the ledger alone. Scores name their split; before a counted
closing look only rounded feedback scores appear."""

from collections.abc import Iterable
from typing import Any

from configs.build import plain
from configs.errors import VerificationFailed
from configs.records import Entry, Plan, Scores
from evals.oversight import cost, detection
from loop.archive import Facts
from loop.reviewer import is_canary
from loop.study import read_config
from sandbox import keys
from sandbox.budget import balances
from sandbox.gate import policy
from sandbox.ledger import Ledger


def summary(ledger: Ledger, facts: Facts) -> dict[str, Any]:
    """Return the summary of a finished or running study."""
    config, entries = read_config(ledger), ledger.entries()
    best = champion(facts)
    base = next((n for n, p in facts.plans.items() if p.purpose == "baseline"), "")
    generations: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for name, plan in facts.plans.items():
        generations.setdefault((plan.arm, plan.repeat, plan.generation), []).append(row(facts, name, plan))
    kinds = sorted({e.body["kind"] for e in entries if e.kind == "decision" and e.body["allow"]})
    starts = [e for e in entries if e.kind == "start"]
    return {
        "study": config.study.name,
        "root": entries[0].hash,
        "tier": entries[0].body["tier"],
        "proved": entries[0].body["proved"],
        "box": entries[0].body["box"],
        "decided_by": kinds,
        "finished": facts.closed,
        "baseline": {"plan": base, "recipe": plain(facts.plans[base].recipe) if base else {}, "scores": shown(facts, base, final=True)},
        "champion": {
            "plan": best,
            "arm": facts.plans[best].arm if best else "",
            "generation": facts.plans[best].generation if best else 0,
            "recipe": plain(facts.plans[best].recipe) if best else {},
            "scores": shown(facts, best, final=True),
        },
        "arms": [arm(facts, campaign) for campaign in sorted(facts.champions)],
        "generations": [
            {"index": g, "arm": a, "repeat": r, "plans": plans} for (a, r, g), plans in sorted(generations.items())
        ],
        "accounts": ledger.read(balances),
        "looks": dict(facts.looks),
        "oversight": oversight(ledger),
        "entries": len(entries),
        "wall_seconds": sum(e.body["wall_seconds"] for e in entries if e.kind == "session"),
        "jobs": len(starts),
    }


def oversight(ledger: Ledger) -> dict[str, Any]:
    """Return what deciding cost and caught: signed decisions, human minutes, queue delay, shares by mandate, canaries (with the secret at hand)."""
    entries = ledger.entries()
    asked = {(e.body["plan"], e.body["class"]): e.body["at"] for e in entries if e.kind == "request"}
    signed = [e.body["approval"] for e in entries if e.kind == "approval"]
    told = [{"plan": a["plan"], "class": a["change_class"], "answer": a["answer"], "reviewer": a["reviewer"], "kind": a["kind"],
             "asked": asked.get((a["plan"], a["change_class"]), a["seen"]), "seen": a["seen"], "decided": a["issued"],
             "looked_ms": a["looked_ms"]} for a in signed]  # fmt: skip
    made = [e.body for e in entries if e.kind == "decision"]
    allowed = [b for b in made if b["allow"]]
    classes: dict[str, dict[str, int]] = {}
    for body in made:
        row = classes.setdefault(body["class"], dict.fromkeys(("mandate", "approval", "refused", "person", "external", "simulated", "unattended"), 0))
        row[body["how"] if body["allow"] else "refused"] += 1
        if body["allow"]:
            row[body["kind"]] += 1

    def share(found: Iterable[bool]) -> float:
        return round(sum(found) / len(allowed), 3) if allowed else 0.0

    return {
        **cost(told),
        "by_class": classes,
        "share_by_mandate": share(b["how"] == "mandate" for b in allowed),
        "share_unattended": share(b["kind"] == "unattended" for b in allowed),
        "canaries": _canaries(entries, {a["plan"]: a["answer"] for a in signed}),
        "drills_ms": [e.body["milliseconds"] for e in entries if e.kind == "drill"],
        "incidents": sum(e.kind == "incident" for e in entries),
        "notices": _notices(entries),
        "decisions": told,
    }


def _notices(entries: list[Entry]) -> dict[str, Any]:
    """Return how many notices reached their receiver, how many did not so far, and how long receivers took to acknowledge."""
    tried = [e.body for e in entries if e.kind == "notice"]
    reached = {(b["digest"], b["to"]) for b in tried if b["ok"]}
    delays = sorted(e.body["delay_seconds"] for e in entries if e.kind == "acknowledgement")
    return {
        "delivered": len(reached),
        "undelivered": len({(b["digest"], b["to"]) for b in tried} - reached),
        "failed_attempts": sum(not b["ok"] for b in tried),
        "acknowledged": len(delays),
        "acknowledged_seconds": {"median": delays[len(delays) // 2], "largest": delays[-1]} if delays else None,
    }


def _canaries(entries: list[Entry], answers: dict[str, str]) -> dict[str, Any] | None:
    probes = [e.body for e in entries if e.kind == "probe" and e.body["digest"] in answers]
    try:
        secret = keys.load_secret(entries[0].body["secret"])
    except VerificationFailed:
        return None
    counts = {True: [0, 0], False: [0, 0]}  # canary or twin -> stopped, passed
    for probe in probes:
        counts[is_canary(secret, probe["digest"], probe["commitment"])][answers[probe["digest"]] == "approve"] += 1
    return {**detection(*counts[True], *counts[False]), "declared": policy(entries).config.gates.canaries}


def champion(facts: Facts) -> str:
    """Return the champion of the study: the latest champion with the best rounded feedback score."""
    last = [names[-1] for names in facts.champions.values() if names]
    return max(last, key=lambda n: (_feedback(facts, n) or 0.0, facts.plans[n].generation), default="")


def arm(facts: Facts, campaign: tuple[str, int]) -> dict[str, Any]:
    """Return how one campaign ended: its champion, and the closing look at gate if there was one."""
    names = facts.champions[campaign]
    final = next((n for n, p in facts.plans.items() if p.purpose == "final" and (p.arm, p.repeat) == campaign), "")
    verdict = facts.verdicts.get(final)
    return {
        "arm": campaign[0],
        "repeat": campaign[1],
        "champion": names[-1],
        "accepted": len(names) - 1,
        "feedback": {"baseline": _feedback(facts, names[0]), "champion": _feedback(facts, names[-1])},
        "gate": None if verdict is None else {"gain": verdict.gain, "low": verdict.low, "high": verdict.high,
                                              "level": verdict.level, "answer": verdict.answer},
    }


def row(facts: Facts, name: str, plan: Plan) -> dict[str, Any]:
    """Return one plan for tables: id, change, verdict, scores that may be shown."""
    verdict = facts.verdicts.get(name)
    answer: str = verdict.answer if verdict else "failed" if facts.failures.get(name) else "screened"
    if verdict and any(c.name == "planned compute" and not c.passed for c in verdict.criteria):
        answer = "over budget"
    if plan.purpose == "baseline":
        answer = "baseline"
    if (name, plan.change_class) in facts.denied:
        answer = "denied"
    elif not any(issued == name for issued, _, _ in facts.grants):
        answer = "waiting"
    return {"id": name, "purpose": plan.purpose, "change": {"class": plan.change_class, "knobs": plan.changed},
            "computable": plan.change_class in ("patch", "structural"), "verdict": answer,
            "hidden": verdict.hidden if verdict else None, "scores": shown(facts, name), "failures": list(facts.failures.get(name, []))}  # fmt: skip


def shown(facts: Facts, name: str, final: bool = False) -> dict[str, Any]:
    """Return the scores of a plan that may be shown: rounded feedback; gate only from a closing look."""
    result: dict[str, Any] = {}
    if (value := _feedback(facts, name)) is not None:
        result["feedback"] = {"exact_match": value}
    if final:
        for other, plan in facts.plans.items():
            if plan.purpose == "final" and plan.parent == name:
                result["gate"] = _mean(facts, other, "predict")
            elif plan.purpose == "final" and facts.champions[plan.arm, plan.repeat][0] == name:
                result["gate"] = _mean(facts, other, "champion-predict")
    return result


def _mean(facts: Facts, name: str, role: str) -> dict[str, float]:
    found: list[Scores] = [s for (p, r, _), s in facts.scores.items() if (p, r) == (name, role) and s]
    return {"exact_match": sum(s.exact_match for s in found) / len(found), "replicates": len(found)} if found else {}


def _feedback(facts: Facts, name: str) -> float | None:
    scores = facts.scores.get((name, "predict", 0))
    return round(scores.exact_match, 2) if scores and scores.split == "feedback" else None
