"""`heirloop replay`: run a plan's job again from its recorded bytes and compare what came out.

A training gives its weights again. An agent gives its proposals and notes again; its doors answer
from the record, without trainings and without the model.
"""

from pathlib import Path
from typing import Any

from configs.entries import DoorEntry, Entry, StartEntry, facts_of, lines_of
from configs.errors import BadInput, VerificationFailed
from configs.records import AGENT, JobResult, module_of
from loop.propose.agent import model, trials
from loop.propose.agent.doors import name_model, open_doors
from loop.study.open import open_study
from loop.study.root import config_at, read_config
from loop.study.running import Running
from sandbox.door.replayed import ReplayedDoor
from sandbox.heads import open_ledger
from sandbox.replay import replay as replay_job

PATHS = {"model": model.PATH, "trial": trials.PATH}
"""Door -> path of its requests."""


def replay(folder: Path, prefix: str) -> dict[str, Any]:
    """Run a plan's first training, or its agent, again.

    Raises VerificationFailed where something else comes out.
    """
    config = read_config(open_ledger(folder))
    running = open_study(config_at(config, folder))
    try:
        entry, start = _find_start(running, prefix)
        job = start.job
        recorded = running.facts().results[job.plan, job.role, job.index][0]
        if job.role == "train":
            return _compare_weights(start, recorded, replay_job(running.sandbox, entry))
        return _replay_agent(running, entry, start, recorded)
    finally:
        running.sandbox.box.close()
        running.checkpoint()


def _compare_weights(start: StartEntry, recorded: JobResult, again: JobResult) -> dict[str, Any]:
    before, after = (r.outputs.get("weights.safetensors", "") for r in (recorded, again))
    if before != after or not after:
        raise VerificationFailed(
            f"the weights differ: recorded {before[:12] or 'none'}, replayed"
            f" {after[:12] or again.detail}; same bytes need the same CPU type and torch build"
        )
    return {
        "plan": start.job.plan,
        "index": start.job.index,
        "weights": after,
        "same": True,
        "cpu_seconds": again.charged.cpu_us / 1e6,
    }


def _replay_agent(
    running: Running, entry: Entry, start: StartEntry, recorded: JobResult
) -> dict[str, Any]:
    """Run an agent again beside doors that answer from the record."""
    entries, attempt = running.ledger.entries(), start.grant.attempt
    settings = running.config.proposer
    given = [name for name, most in (("model", settings.calls), ("trial", settings.trials)) if most]
    doors = {name: ReplayedDoor(b"[]") for name in given}
    for fact in facts_of(entries, DoorEntry):
        if (fact.plan, fact.attempt) == (start.job.plan, attempt):
            doors[fact.door] = ReplayedDoor(running.store.get(fact.transcript))
    handlers = {name: (PATHS[name], door.answer) for name, door in doors.items()}
    beside = open_doors(handlers, name_model(settings))
    try:
        again = replay_job(running.sandbox, entry, beside)
    finally:
        beside.finish()
    if diverged := sum(door.diverged for door in doors.values()):
        raise VerificationFailed(
            f"diverged: the agent asked {diverged} times for what is not in the record; nothing of"
            " it went out"
        )
    if again.outputs != recorded.outputs:
        raise VerificationFailed(
            f"the agent left other files than the recorded ones ({again.detail}); it must do the"
            " same from the same bytes, so seed what is random"
        )
    return {
        "plan": start.job.plan,
        "proposals": again.outputs.get("proposals.jsonl", ""),
        "notes": again.outputs.get("notes", ""),
        "same": True,
        "cpu_seconds": again.charged.cpu_us / 1e6,
    }


def _find_start(running: Running, prefix: str) -> tuple[Entry, StartEntry]:
    """Return the first training of the plan with this prefix, or an agent's last attempt.

    Raises BadInput for no such plan, or several.
    """
    plans = running.facts().plans
    starts = [
        (entry, start)
        for entry, start in lines_of(running.ledger.entries(), StartEntry)
        if start.job.plan.startswith(prefix)
    ]
    trainings = [pair for pair in starts if pair[1].job.role == "train"]
    agents = [
        (entry, start)
        for entry, start in starts
        if start.job.role == "propose" and module_of(plans[start.job.plan], "propose") == AGENT
    ]
    if len({start.job.plan for _, start in trainings + agents}) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin the digest of exactly one plan that was trained,"
            " or of an agent's propose plan (`heirloop plans RUN`)"
        )
    return trainings[0] if trainings else agents[-1]
