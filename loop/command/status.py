"""`heirloop status`: where a run stands and who has to act, or a line for each run of a folder."""

from pathlib import Path
from typing import Any

import click

from configs.entries import Entry, PauseEntry, StartEntry, facts_of
from configs.errors import HeirloopError
from configs.settings.config import Config
from loop.command.failure import explain
from loop.facts.facts import Facts
from loop.facts.reader import FactsReader
from loop.facts.summary import describe_proof, make_summary
from loop.people.advice import list_voters
from loop.people.requests import open_gate
from loop.terminal import AS_JSON, FOLDER, print_pairs, print_table
from sandbox import control, incident
from sandbox.address import has_ledger, list_runs
from sandbox.budget import balances
from sandbox.decision import unix
from sandbox.gate import Gate

HALTS = {"stop": "stopped", "pause": "paused", "drill": "in a drill"}
RECENT = 40
"""Starts of jobs that tell the pace."""


@click.command()
@FOLDER
@AS_JSON
def status(folder: Path, as_json: bool) -> None:
    """Show where a run stands, or each run of a folder of runs."""
    runs = [] if has_ledger(folder) else list_runs(folder)
    if runs:
        head = ["run", "state", "generation", "jobs left", "time left"]
        print_table([_list_run(run) for run in runs], head, as_json)
        return
    gate = open_gate(folder)
    facts = FactsReader(gate.ledger).facts()
    result = make_summary(gate.ledger, facts)
    proof = describe_proof(result["box"], result["proved"])
    cpu = result["accounts"]["root"]["cpu_us"]
    state, generation, jobs, left = describe(folder, gate, facts)
    values = {
        "state": state,
        "finished": result["finished"],
        "generation": generation,
        "jobs left": jobs,
        "time left": left,
        "tier": f"{result['tier']}, {proof}",
        "entries": result["entries"],
        "plans": sum(len(generation["plans"]) for generation in result["generations"]),
        "CPU-seconds": f"{cpu['spent'] / 1e6:.1f} of {cpu['limit'] / 1e6:.0f}",
        "champion": result["champion"]["plan"][:12],
        "decided by": ", ".join(result["decided_by"]),
    }
    outside = incident.outside(control.read_root(folder), folder)
    if outside:
        values["incidents outside the run"] = "; ".join(f"{i.id} {i.root_cause}" for i in outside)
    print_pairs(values, ["what", "value"], as_json)


def _list_run(folder: Path) -> list[Any]:
    """Return the row of a run; a run that cannot be read has the reason, and hides no other."""
    try:
        gate = open_gate(folder)
        return [folder.name, *describe(folder, gate, FactsReader(gate.ledger).facts())]
    except (HeirloopError, OSError, ValueError) as error:
        return [folder.name, explain(error)[0], "-", "-", "-"]


def describe(folder: Path, gate: Gate, facts: Facts) -> tuple[str, str, str, str]:
    """Return the state of a run, its generation, the jobs left and the time left."""
    config, entries = gate.memory.rules.config, gate.ledger.entries()
    account = gate.ledger.read(balances)["root"]["jobs"]
    runs = bool(control.holder(folder))
    rest = account["limit"] - account["spent"] - account["reserved"]
    return (
        _describe_state(gate, facts, entries, runs),
        _describe_generation(config, facts),
        f"{rest} of {account['limit']}",
        _describe_time(config, entries) if runs and not facts.closed else "-",
    )


def _describe_state(gate: Gate, facts: Facts, entries: list[Entry], runs: bool) -> str:
    if facts.closed:
        return "ended"
    if gate.memory.halt:
        return HALTS.get(gate.memory.halt, gate.memory.halt)
    pending, going = gate.pending(), "running" if runs else "not running"
    if pending:
        voters = sorted({name for p in pending for name in list_voters(gate, p.change_class)})
        whom = " or ".join(voters) or "nobody: no pinned key may decide"
        first = f"plan {pending[0].subject[:12]} ({pending[0].change_class})"
        return f"{going}, waiting for {whom}: {len(pending)} requests, first {first}"
    if runs:
        slow = gate.memory.per_hour
        return f"running, slowed to {slow} jobs an hour" if slow else "running"
    paused = [fact.reason for fact in facts_of(entries, PauseEntry)]
    return f"not running: {paused[-1]}" if paused else "not running; the same command goes on"


def _describe_generation(config: Config, facts: Facts) -> str:
    """Return the least and the most generation of the campaigns, of all."""
    reached = {campaign: 0 for campaign in facts.champions}
    for plan in list(facts.plans.values()):
        if plan.purpose == "candidate":
            key = (plan.arm, plan.repeat)
            reached[key] = max(reached.get(key, 0), plan.generation)
    low, high = min(reached.values(), default=0), max(reached.values(), default=0)
    span = str(low) if low == high else f"{low} to {high}"
    return f"{span} of {config.study.generations}"


def _describe_time(config: Config, entries: list[Entry]) -> str:
    """Return the time left, from the pace of the last jobs and the expected number."""
    from loop.calibrate.forecast import forecast  # loads scipy, which takes a second

    starts = [unix(entry) for entry in entries if entry.kind == StartEntry.kind]
    if len(starts) < RECENT:
        return "not known yet"
    expected, recent = forecast(config, False).jobs, starts[-RECENT:]
    seconds = (recent[-1] - recent[0]) / (RECENT - 1)
    return f"about {max(0, expected - len(starts)) * seconds / 60:.0f} minutes"
