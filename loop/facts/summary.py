"""summary.json, the contract for programs, made from the ledger alone.

Scores name their split. Before a counted closing look only rounded feedback scores appear.
"""

from collections.abc import Mapping, Set
from typing import Any

from configs.build import plain
from configs.entries import DecisionEntry, Entry, SessionEntry, StartEntry, StudyEntry, facts_of
from configs.objective import Objective, objective_text
from configs.records import Plan, Verdict
from configs.settings.config import Config
from configs.settings.task import SIMULATED
from evals.metrics import primary, skill
from loop.facts.ending import count_generations, describe_end, ended_early
from loop.facts.facts import Facts
from loop.facts.oversight import oversight
from loop.facts.places import Campaign
from loop.facts.scores import best_champion, feedback_score, open_scores
from sandbox.budget import balances, look_account
from sandbox.decision import policy
from sandbox.gate.mandate import computable
from sandbox.ledger import Ledger

STAND_INS = (SIMULATED, "table")
"""Boxes that execute nothing, so that there is nothing to prove of them."""


def describe_proof(box: str, proved: str) -> str:
    """Return what is known of a kind of box; `proved`: the day of the proof, or empty."""
    if box == "table":
        return "it executes nothing itself"
    return (
        f"proved by heirloop doctor on {proved}"
        if proved
        else "heirloop doctor was not run before it"
    )


def make_summary(ledger: Ledger, facts: Facts) -> dict[str, Any]:
    """Return the summary of a finished or running study.

    Baseline and champion are of a single campaign, so their scores can be compared.
    """
    entries, accounts = ledger.entries(), ledger.read(balances)
    config = policy(entries).config
    return {
        **_describe_study(entries, config, facts),
        "baseline": _describe_baseline(facts, config),
        "champion": _describe_champion(facts, config),
        "arms": [_describe_campaign(facts, key, config) for key in sorted(facts.champions)],
        "generations": _list_generations(facts, config),
        "accounts": accounts,
        "looks": {
            split: {k: accounts[look_account(split)]["looks"][k] for k in ("spent", "limit")}
            for split in config.budget.looks.limits()
        },
        "openings": [plain(opening) for opening in facts.openings.values()],
        "oversight": oversight(entries),
        "entries": entries[-1].sequence,
        "wall_seconds": sum(s.wall_seconds for s in facts_of(entries, SessionEntry)),
        "jobs": sum(entry.kind == StartEntry.kind for entry in entries),
    }


def _describe_study(entries: list[Entry], config: Config, facts: Facts) -> dict[str, Any]:
    study = next(facts_of(entries, StudyEntry))
    objective = config.objective
    allowed = [d.reviewer_kind for d in facts_of(entries, DecisionEntry) if d.allow]
    return {
        "study": config.study.name,
        "root": entries[0].hash,
        "tier": study.tier,
        "proved": study.proved,
        "box": study.box,
        "decided_by": sorted(set(allowed)),
        "finished": facts.closed,
        "objective": {"metric": objective.metric, "text": objective_text(objective)},
    }


def _describe_baseline(facts: Facts, config: Config) -> dict[str, Any]:
    best = facts.plans.get(best_champion(facts, config))
    own = facts.champions[best.arm, best.repeat] if best else _baselines(facts)
    digest = next(iter(own), "")
    return {
        "plan": digest,
        "recipe": plain(facts.plans[digest].recipe) if digest else {},
        "scores": open_scores(facts, digest, config, final=True),
    }


def _describe_champion(facts: Facts, config: Config) -> dict[str, Any]:
    digest = best_champion(facts, config)
    scores = open_scores(facts, digest, config, final=True)
    if not digest:
        nobody = {"plan": "", "arm": "", "generation": 0, "recipe": {}, "computable": False}
        return {**nobody, "scores": scores}
    plan = facts.plans[digest]
    return {
        "plan": digest,
        "arm": plan.arm,
        "generation": plan.generation,
        "recipe": plain(plan.recipe),
        "computable": computable(config.task.computed(), plan, facts.plans),
        "scores": scores,
    }


def _describe_campaign(facts: Facts, campaign: Campaign, config: Config) -> dict[str, Any]:
    """Return how a campaign ended: its champion, and its closing look on confirm if there was one.

    `gate` is the older name of `confirm`.
    """
    champions, objective = facts.champions[campaign], config.objective
    finals = [
        digest
        for digest, plan in facts.plans.items()
        if plan.purpose == "final" and (plan.arm, plan.repeat) == campaign
    ]
    verdict = facts.verdicts.get(finals[0]) if finals else None
    return {
        "arm": campaign[0],
        "repeat": campaign[1],
        "champion": champions[-1],
        "computable": computable(config.task.computed(), facts.plans[champions[-1]], facts.plans),
        "accepted": len(champions) - 1,
        "generations": count_generations(facts, campaign, config.study.generations),
        "ending": describe_end(facts, campaign, config),
        "ended_early": ended_early(facts, campaign, config),
        "feedback": {
            "baseline": feedback_score(facts, champions[0], objective),
            "champion": feedback_score(facts, champions[-1], objective),
        },
        "skill": _rank_claims(facts, campaign, objective),
        "confirm": _describe_verdict(verdict) if verdict else None,
        "gate": _describe_verdict(verdict) if verdict else None,
    }


def _describe_verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "gain": verdict.gain,
        "low": verdict.low,
        "high": verdict.high,
        "level": verdict.level,
        "answer": verdict.answer,
    }


def _rank_claims(facts: Facts, campaign: Campaign, objective: Objective) -> dict[str, Any]:
    """Return the rank correlation of predicted gains with gains on feedback over the parent's
    score.
    """
    claims, gains = list[float](), list[float]()
    for digest, plan in facts.trials(campaign).items():
        own = facts.scores.get((digest, "predict", 0))
        parent = facts.scores.get((plan.parent, "predict", 0))
        if plan.predicted_gain is not None and own and parent:
            claims.append(plan.predicted_gain)
            gains.append(primary(objective, own) - primary(objective, parent))
    correlation = skill(claims, gains)
    rounded = None if correlation is None else round(correlation, 2)
    return {"claims": len(claims), "rank_correlation": rounded}


def _list_generations(facts: Facts, config: Config) -> list[dict[str, Any]]:
    baselines = _baselines(facts)
    generations: dict[tuple[str, int, int], list[dict[str, Any]]] = {}
    for digest, plan in facts.plans.items():
        row = _describe_plan(facts, digest, plan, config, facts.granted, baselines)
        generations.setdefault((plan.arm, plan.repeat, plan.generation), []).append(row)
    return [
        {"index": generation, "arm": arm, "repeat": repeat, "plans": plans}
        for (arm, repeat, generation), plans in sorted(generations.items())
    ]


def _baselines(facts: Facts) -> dict[str, Plan]:
    return {d: plan for d, plan in facts.plans.items() if plan.purpose == "baseline"}


def _describe_plan(
    facts: Facts,
    digest: str,
    plan: Plan,
    config: Config,
    granted: Set[str],
    baselines: Mapping[str, Plan],
) -> dict[str, Any]:
    """Return a plan for tables: id, change, verdict, and its open scores."""
    verdict = facts.verdicts.get(digest)
    return {
        "id": digest,
        "purpose": plan.purpose,
        "change": {"class": plan.change_class, "knobs": plan.changed},
        "computable": computable(config.task.computed(), plan, baselines),
        "verdict": _state(facts, digest, plan, granted),
        "shown": feedback_score(facts, digest, config.objective),
        "hidden": verdict.hidden if verdict else None,
        "scores": open_scores(facts, digest, config),
        "failures": list(facts.failures.get(digest, [])),
        "denied": _why_denied(facts, digest, plan),
    }


def _why_denied(facts: Facts, digest: str, plan: Plan) -> str:
    """Return the reason of a plan's denial, or of its promotion's; empty where there is none."""
    own = facts.denied.get((digest, plan.change_class))
    return own or facts.denied.get((digest, "promote"), "")


def _state(facts: Facts, digest: str, plan: Plan, granted: Set[str]) -> str:
    """Return the word for a plan's state: the last decision of people or the judge."""
    if (digest, plan.change_class) in facts.denied:
        return "denied"
    if digest not in granted:
        return "waiting"
    if plan.purpose == "unseal":
        return "opened" if digest in facts.openings else "opening"
    if plan.purpose == "baseline":
        return "baseline"
    verdict = facts.verdicts.get(digest)
    if verdict is None:
        if facts.failures.get(digest):
            return "failed"
        return "measured" if plan.purpose in ("skill", "select", "ablation") else "screened"
    if any(c.name == "planned compute" and not c.passed for c in verdict.criteria):
        return "over budget"
    denied = verdict.answer == "accept" and (digest, "promote") in facts.denied
    return "denied" if denied else verdict.answer
