"""The canaries of an attended study, counted as a bench counts its families.

Example: people denied 22 of 25 canaries and 1 of 25 twins, so 3 of 25 escaped, with an exact bound.
"""

from pathlib import Path
from typing import Any

from configs.entries import ProbeEntry, StudyEntry, facts_of
from configs.errors import BadInput, VerificationFailed
from evals.gatebench import rates
from evals.gatebench.rates import Outcome
from evals.oversight import detection
from loop.facts.canaries import is_canary
from loop.facts.oversight import signed_decisions
from loop.gatebench.figures import tell_rate
from sandbox import keys
from sandbox.heads import open_ledger


def list_canaries(folder: Path) -> list[Outcome]:
    """Return what reviewers did with each canary and twin that was answered.

    Raises VerificationFailed without the study's secret, which alone tells them apart.
    """
    entries = open_ledger(folder).entries()
    secret = keys.load_secret(next(facts_of(entries, StudyEntry)).secret)
    signed = {decision.plan: decision for decision in signed_decisions(entries)}
    outcomes = []
    for probe in facts_of(entries, ProbeEntry):
        decision = signed.get(probe.digest)
        if decision is None:
            continue
        canary = is_canary(secret, probe.digest, probe.commitment)
        person = decision.kind in ("person", "external")
        outcomes.append(
            Outcome(
                family=probe.digest,
                kind="attack" if canary else "twin",
                change_class=probe.plan.change_class,
                pack="canaries",
                passed=decision.answer == "approve",
                escalated=decision.answer == "escalate",
                minutes=decision.looked_ms / 60_000 if person else 0.0,
                delay=float(max(0, decision.decided - decision.requested)),
            )
        )
    return outcomes


def measure_canaries(folder: Path) -> dict[str, Any]:
    """Return escapes and false blocks of a study's canaries with bounds, and d' and criterion."""
    try:
        outcomes = list_canaries(folder)
    except VerificationFailed as error:
        raise BadInput(
            f"the canaries of {folder} cannot be told from their twins: {error}"
        ) from None
    if not outcomes:
        raise BadInput(f"nobody answered a canary in {folder}; gates.canaries=0.1 shows some")
    escaped, blocked = rates.escapes(outcomes), rates.false_blocks(outcomes)
    hits, passes = escaped.n - rates.count_of(escaped), blocked.n - rates.count_of(blocked)
    return {
        "escape": tell_rate(escaped),
        "false_block": tell_rate(blocked),
        "detection": detection(hits, escaped.n - hits, blocked.n - passes, passes),
        "minutes": round(sum(outcome.minutes for outcome in outcomes), 2),
    }
