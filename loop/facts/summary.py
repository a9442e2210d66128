"""The contract for programs: summary.json, made from the ledger alone. Scores name their split;
before a counted closing look only rounded feedback scores appear.
"""

import math
from collections.abc import Iterable, Mapping, Set
from typing import Any

from configs.build import plain
from configs.entries import Entry
from configs.errors import VerificationFailed
from configs.objective import METRICS, Objective, objective_text
from configs.records import SPLITS, Plan, Scores
from configs.settings.config import Config
from evals.metrics import measured, primary, rounded, skill, spread
from evals.oversight import cost, detection
from loop.facts.canaries import is_canary
from loop.facts.facts import Facts
from sandbox import keys
from sandbox.budget import balances, look_account
from sandbox.decision import policy
from sandbox.gate.mandate import computable
from sandbox.ledger import Ledger


def summary(ledger: Ledger, facts: Facts) -> dict[str, Any]:
    """Return the summary of a finished or running study."""
    entries, accounts = ledger.entries(), ledger.read(balances)
    config = policy(entries).config
    objective, best = config.objective, champion(facts, config.objective)
    base = next((n for n, p in facts.plans.items() if p.purpose == "baseline"), "")
    granted, firsts = (
        facts.granted,
        {n: p for n, p in facts.plans.items() if p.purpose == "baseline"},
    )
    generations: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for name, plan in facts.plans.items():
        generations.setdefault((plan.arm, plan.repeat, plan.generation), []).append(
            row(facts, name, plan, config, granted, firsts)
        )
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
        "objective": {"metric": objective.metric, "text": objective_text(objective)},
        "baseline": {
            "plan": base,
            "recipe": plain(facts.plans[base].recipe) if base else {},
            "scores": shown(facts, base, objective, final=True),
        },
        "champion": {
            "plan": best,
            "arm": facts.plans[best].arm if best else "",
            "generation": facts.plans[best].generation if best else 0,
            "recipe": plain(facts.plans[best].recipe) if best else {},
            "computable": (
                computable(config.task.name, facts.plans[best], facts.plans) if best else False
            ),
            "scores": shown(facts, best, objective, final=True),
        },
        "arms": [arm(facts, campaign, config) for campaign in sorted(facts.champions)],
        "generations": [
            {"index": g, "arm": a, "repeat": r, "plans": plans}
            for (a, r, g), plans in sorted(generations.items())
        ],
        "accounts": accounts,
        "looks": {
            split: {k: accounts[look_account(split)]["looks"][k] for k in ("spent", "limit")}
            for split in SPLITS
        },
        "openings": list(facts.openings.values()),
        "oversight": oversight(entries),
        "entries": len(entries),
        "wall_seconds": sum(e.body["wall_seconds"] for e in entries if e.kind == "session"),
        "jobs": len(starts),
    }


def oversight(entries: list[Entry]) -> dict[str, Any]:
    """Return what deciding cost and caught: signed decisions, human minutes, queue delay, shares by
    mandate, canaries (with the secret at hand).
    """
    asked = {
        (e.body["plan"], e.body["class"]): e.body["at"] for e in entries if e.kind == "request"
    }
    signed = [e.body["approval"] for e in entries if e.kind == "approval"]
    told = [
        {
            "plan": a["plan"],
            "class": a["change_class"],
            "answer": a["answer"],
            "reviewer": a["reviewer"],
            "kind": a["kind"],
            "asked": asked.get((a["plan"], a["change_class"]), a["seen"]),
            "seen": a["seen"],
            "decided": a["issued"],
            "looked_ms": a["looked_ms"],
        }
        for a in signed
    ]
    made = [e.body for e in entries if e.kind == "decision"]
    allowed = [b for b in made if b["allow"]]
    classes: dict[str, dict[str, int]] = {}
    for body in made:
        row = classes.setdefault(
            body["class"],
            dict.fromkeys(
                ("mandate", "approval", "refused", "person", "external", "simulated", "unattended"),
                0,
            ),
        )
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
    """Return how many notices reached their receiver, how many did not so far, and how long
    receivers took to acknowledge.
    """
    tried = [e.body for e in entries if e.kind == "notice"]
    reached = {(b["digest"], b["to"]) for b in tried if b["ok"]}
    delays = sorted(e.body["delay_seconds"] for e in entries if e.kind == "acknowledgement")
    return {
        "delivered": len(reached),
        "undelivered": len({(b["digest"], b["to"]) for b in tried} - reached),
        "failed_attempts": sum(not b["ok"] for b in tried),
        "acknowledged": len(delays),
        "acknowledged_seconds": (
            {"median": delays[len(delays) // 2], "largest": delays[-1]} if delays else None
        ),
    }


def _canaries(entries: list[Entry], answers: dict[str, str]) -> dict[str, Any] | None:
    probes = [e.body for e in entries if e.kind == "probe" and e.body["digest"] in answers]
    try:
        secret = keys.load_secret(entries[0].body["secret"])
    except VerificationFailed:
        return None
    counts = {True: [0, 0], False: [0, 0]}  # canary or twin -> stopped, passed
    for probe in probes:
        counts[is_canary(secret, probe["digest"], probe["commitment"])][
            answers[probe["digest"]] == "approve"
        ] += 1
    return {
        **detection(*counts[True], *counts[False]),
        "declared": policy(entries).config.gates.canaries,
    }


def champion(facts: Facts, objective: Objective) -> str:
    """Return the champion of the study: the latest champion with the best rounded feedback
    score.
    """
    last = [names[-1] for names in facts.champions.values() if names]
    sign = 1 if objective.direction == "up" else -1

    def rank(name: str) -> tuple[float, int]:
        value = feedback(facts, name, objective)
        return (-math.inf if value is None else sign * value), facts.plans[name].generation

    return max(last, key=rank, default="")


def arm(facts: Facts, campaign: tuple[str, int], config: Config) -> dict[str, Any]:
    """Return how one campaign ended: its champion, and the closing look at gate if there was
    one.
    """
    names, objective = facts.champions[campaign], config.objective
    final = next(
        (
            n
            for n, p in facts.plans.items()
            if p.purpose == "final" and (p.arm, p.repeat) == campaign
        ),
        "",
    )
    verdict = facts.verdicts.get(final)
    return {
        "arm": campaign[0],
        "repeat": campaign[1],
        "champion": names[-1],
        "computable": computable(config.task.name, facts.plans[names[-1]], facts.plans),
        "accepted": len(names) - 1,
        "feedback": {
            "baseline": feedback(facts, names[0], objective),
            "champion": feedback(facts, names[-1], objective),
        },
        "skill": _skill(facts, campaign, objective),
        "gate": (
            None
            if verdict is None
            else {
                "gain": verdict.gain,
                "low": verdict.low,
                "high": verdict.high,
                "level": verdict.level,
                "answer": verdict.answer,
            }
        ),
    }


def _skill(facts: Facts, campaign: tuple[str, int], objective: Objective) -> dict[str, Any]:
    """Return how a proposer's claims rank against what feedback showed: its predicted gains and the
    gains over each parent's score.
    """
    pairs = [
        (plan.predicted_gain, primary(objective, mine) - primary(objective, before))
        for name, plan in facts.trials(campaign).items()
        if plan.predicted_gain is not None
        and (mine := facts.scores.get((name, "predict", 0)))
        and (before := facts.scores.get((plan.parent, "predict", 0)))
    ]
    found = skill([claimed for claimed, _ in pairs], [gain for _, gain in pairs])
    return {"claims": len(pairs), "rank_correlation": None if found is None else round(found, 2)}


def row(
    facts: Facts,
    name: str,
    plan: Plan,
    config: Config,
    granted: Set[str],
    firsts: Mapping[str, Plan],
) -> dict[str, Any]:
    """Return one plan for tables: id, change, verdict, scores that may be shown. `granted`: plans
    that got a grant; `firsts`: the baselines.
    """
    verdict = facts.verdicts.get(name)
    answer: str = (
        verdict.answer if verdict else "failed" if facts.failures.get(name) else "screened"
    )
    if verdict and any(c.name == "planned compute" and not c.passed for c in verdict.criteria):
        answer = "over budget"
    if plan.purpose == "baseline":
        answer = "baseline"
    if plan.purpose == "skill" and answer == "screened":
        answer = "measured"
    if plan.purpose == "unseal":
        answer = "opened" if name in facts.openings else "opening"
    if (name, plan.change_class) in facts.denied:
        answer = "denied"
    elif name not in granted:
        answer = "waiting"
    return {
        "id": name,
        "purpose": plan.purpose,
        "change": {"class": plan.change_class, "knobs": plan.changed},
        "computable": computable(config.task.name, plan, firsts),
        "verdict": answer,
        "shown": feedback(facts, name, config.objective),
        "hidden": verdict.hidden if verdict else None,
        "scores": shown(facts, name, config.objective),
        "failures": list(facts.failures.get(name, [])),
    }


def shown(facts: Facts, name: str, objective: Objective, final: bool = False) -> dict[str, Any]:
    """Return the scores of a plan that may be shown, by split and metric: rounded feedback; gate
    only from a closing look.
    """
    result: dict[str, Any] = {}
    if (value := feedback(facts, name, objective)) is not None:
        result["feedback"] = {objective.metric: value}
    if final:
        for other, plan in facts.plans.items():
            if plan.purpose == "final" and plan.parent == name:
                result["gate"] = _closing(facts, other, "predict", objective)
            elif plan.purpose == "final" and facts.champions[plan.arm, plan.repeat][0] == name:
                result["gate"] = _closing(facts, other, "champion-predict", objective)
    return result


def _closing(facts: Facts, name: str, role: str, objective: Objective) -> dict[str, Any]:
    """Return every metric's mean over the replicates of a closing look, each slice, and the primary
    metric's spread over seeds.
    """
    found: list[Scores] = [
        s for (p, r, _), s in facts.scores.items() if (p, r) == (name, role) and s
    ]
    if not found:
        return {}
    names = [n for n in METRICS if n not in ("weighted", "spread")] + (
        [objective.metric] if objective.metric == "weighted" else []
    )
    means = {
        n: sum(measured(s, n, weights=objective.weights) for s in found) / len(found) for n in names
    }
    parts = {n: sum(s.slices.get(n, math.nan) for s in found) / len(found) for n in found[0].slices}
    wide = spread([primary(objective, s) for s in found])
    kept = {n: v for n, v in {**means, "spread": wide}.items() if math.isfinite(v)}
    return {
        **kept,
        "slices": {n: v for n, v in parts.items() if math.isfinite(v)},
        "replicates": len(found),
    }


def feedback(facts: Facts, name: str, objective: Objective) -> float | None:
    """Return a plan's score on feedback, rounded as people are shown it; None without one."""
    scores = facts.scores.get((name, "predict", 0))
    if scores is None or scores.split != "feedback":
        return None
    value = rounded(objective, scores)
    return value if math.isfinite(value) else None
