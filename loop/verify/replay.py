"""`heirloop replay`: train a plan again from its recorded bytes and compare the weights."""

from pathlib import Path
from typing import Any

from configs.entries import Entry, StartEntry, lines_of
from configs.errors import BadInput, VerificationFailed
from loop.study.open import open_study
from loop.study.root import config_at, read_config
from sandbox.heads import open_ledger
from sandbox.replay import replay as replay_job


def replay(folder: Path, prefix: str) -> dict[str, Any]:
    """Retrain a plan's first replicate and compare the weights; raises VerificationFailed."""
    config = read_config(open_ledger(folder))
    running = open_study(config_at(config, folder))
    try:
        entry, start = _find_training(running.ledger.entries(), prefix)
        job = start.job
        recorded = running.facts().results[job.plan, "train", job.index][0]
        again = replay_job(running.sandbox, entry)
    finally:
        running.sandbox.box.close()
        running.checkpoint()
    before, after = (r.outputs.get("weights.safetensors", "") for r in (recorded, again))
    if before != after or not after:
        raise VerificationFailed(
            f"the weights differ: recorded {before[:12] or 'none'}, replayed"
            f" {after[:12] or again.detail}; same bytes need the same CPU type and torch build"
        )
    return {
        "plan": job.plan,
        "index": job.index,
        "weights": after,
        "same": True,
        "cpu_seconds": again.charged.cpu_us / 1e6,
    }


def _find_training(entries: list[Entry], prefix: str) -> tuple[Entry, StartEntry]:
    """Return the first training of the plan with this prefix of its digest; raises BadInput."""
    trainings = [
        (entry, start)
        for entry, start in lines_of(entries, StartEntry)
        if start.job.role == "train" and start.job.plan.startswith(prefix)
    ]
    if len({start.job.plan for _, start in trainings}) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin the digest of exactly one trained plan"
            " (`heirloop plans RUN`)"
        )
    return trainings[0]
