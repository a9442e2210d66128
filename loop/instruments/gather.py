"""The records of one study, gathered from its runs.

Example: `read_records([Path("runs/a"), Path("runs/b")])` reads two runs that differ in seed as
repeats of one study. Runs that differ in any other setting are refused. Scores on confirm stay
closed until a study has ended.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from configs.arms import LONGER, REFERENCE, variant
from configs.build import plain
from configs.errors import BadInput
from configs.settings.config import Config
from evals.ablation import Champion
from evals.amplify import Skill
from evals.arms import Gain
from evals.closure import Event
from evals.drift import Drift
from evals.factory.figures import Shift
from evals.faults import Befallen, Bereft
from evals.loss import PlanFact
from evals.oversight import SignedDecision
from evals.pace import Effort
from evals.programs import Compared
from evals.proposing import Proposing
from evals.retention import Held
from evals.writeups import Claim, Novelty
from loop.facts.oversight import signed_decisions
from loop.instruments.champions import read_champions
from loop.instruments.closure import (
    PEOPLE,
    SIMULATED,
    count_acts,
    count_mandates,
    group_by_repeat,
    of_kinds,
    read_events,
    setup_minutes,
    sum_effort,
    wall_seconds,
)
from loop.instruments.drift import read_drift
from loop.instruments.factory import read_shifts
from loop.instruments.faults import read_bereft, read_faults
from loop.instruments.gains import (
    baseline_level,
    longer_gain,
    read_gains,
    read_luck,
    read_skills,
    read_tops,
)
from loop.instruments.losses import read_plans, read_rungs
from loop.instruments.programs import read_compared
from loop.instruments.proposing import read_proposing
from loop.instruments.references import read_references
from loop.instruments.run import Run
from loop.instruments.writeups import read_claims, read_novelty
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger

ALONE = ("study.name", "study.seed", "runs", "tracker.kind", "tracker.mode", "task.table")
"""Settings in which repeats of one study may differ; a table counts by its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """The records of a study, as the instruments need them."""

    config: Config
    "the study's configuration, of the first run"
    gains: tuple[Gain, ...]
    "verified gain on an unbounded scale, per campaign and generation"
    events: dict[str, tuple[Event, ...]]
    "arm -> decisions"
    plans: dict[str, tuple[PlanFact, ...]]
    "arm -> fates of its proposals, in the objective's unit"
    held: dict[str, tuple[Held, ...]]
    "arm -> gains per rung, on the unbounded scale"
    faults: dict[str, tuple[Befallen, ...]] = field(default_factory=dict)
    "arm -> the faults of production of each campaign; empty where they spare it, or there are none"
    bereft: dict[str, tuple[Bereft, ...]] = field(default_factory=dict)
    "arm -> its campaigns from which a support was withdrawn"
    shifts: dict[str, tuple[Shift, ...]] = field(default_factory=dict)
    "arm -> the campaigns of its factory line"
    programs: dict[str, tuple[Compared, ...]] = field(default_factory=dict)
    "arm -> the best proposer program of each archive beside the first"
    claims: tuple[Claim, ...] = ()
    """claims of the write-ups with their checks (loop/instruments/writeups.py); empty without
    study.writeups, before the end, and without the table
    """
    novelty: tuple[Novelty, ...] = ()
    "how far each write-up is from earlier ones of its campaign"
    references: tuple[Held, ...] = ()
    """gains of reference changes per rung, on the same scale (loop/instruments/references.py)"""
    effort: Effort
    "effort of people, one value per run"
    efforts: dict[str, Effort]
    """arm -> effort of people on its own plans, one value per repeat in ascending order; effort on
    the shared start is left out
    """
    simulated: dict[str, Effort]
    "the same of simulated reviewers; their minutes are drawn and nobody waited"
    acts: int
    """live acts of people: decisions on plans, proposals handed in, orders to stop, pause, slow or
    resume, recalls
    """
    lived: int
    "generations begun by all campaigns"
    skills: tuple[Skill, ...]
    """skill of the last weights of arm self and of their twins (loop/propose/skill.py); log-odds
    per proposal where the metric is a share
    """
    selected: dict[str, tuple[Skill, ...]] = field(default_factory=dict)
    "arm that selects on proposing skill -> the same of its last weights"
    tops: dict[str, tuple[float, ...]]
    "arm -> the last champions' raw scores in the closing look; empty while a study runs"
    luck: dict[str, tuple[tuple[int, float, float, float], ...]] = field(default_factory=dict)
    "arm -> sums of squares of the scores in each plan's pairs (evals.arms.shared_luck)"
    levels: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """arm self and its twin with more compute -> the baseline's level on the unbounded scale, one
    value per repeat in ascending order; empty without the twin
    """
    planned: dict[str, dict[int, float]] = field(default_factory=dict)
    "arm -> repeat -> planned CPU-seconds of its trainings and readings"
    longer: tuple[tuple[float, float], ...] = ()
    """what champion and baseline of arm self gain by four times the compute, one pair per repeat in
    ascending order; NaN where not measured; empty without such a look
    """
    champions: dict[str, tuple[Champion, ...]] = field(default_factory=dict)
    "arm -> its last champions with their changes; empty without study.ablate, and before the end"
    proposing: dict[str, tuple[Proposing, ...]] = field(default_factory=dict)
    "arm -> how its campaigns proposed; empty in a study without a notebook"
    drifts: dict[str, tuple[Drift, ...]] = field(default_factory=dict)
    "arm -> drift in behaviour of its campaigns; empty while a study runs"
    ended: bool = True
    "whether every run has ended"
    clock: tuple[tuple[float, float, float], ...]
    "per run: wall seconds of waiting for people, of jobs, of the whole study"


def read_records(folders: Sequence[Path]) -> Records:
    """Read the records of runs of a study.

    Raises BadInput if settings beyond ALONE differ or a run is named twice, VerificationFailed for
    a broken ledger.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadInput(f"RUN is {', '.join(map(str, folders))}; it should name each run once")
    named = [(str(folder), open_ledger(folder)) for folder in folders]
    return read_ledgers(named)


def read_ledgers(named: Sequence[tuple[str, Ledger]]) -> Records:
    """Read the same of ledgers; a refusal names a ledger by the name given with it."""
    runs = [Run(number, ledger) for number, (_, ledger) in enumerate(named)]
    for run, (name, _) in zip(runs, named, strict=True):
        if shared_settings(run.config) != shared_settings(runs[0].config):
            raise BadInput(
                f"{name} has other settings than {named[0][0]} and is no repeat of its study; see"
                " them side by side: heirloop compare"
            )
    return gather(runs)


def shared_settings(config: Config) -> dict[str, Any]:
    """Return a configuration without the settings in which repeats may differ."""
    shared: dict[str, Any] = plain(config)
    for path in ALONE:
        group, _, field = path.partition(".")
        if field:
            shared[group].pop(field, None)
        else:
            del shared[group]
    return shared


def gather(runs: Sequence[Run]) -> Records:
    """Gather the records of runs with the same settings."""
    arms = sorted({arm for run in runs for arm, _ in run.campaigns} - {REFERENCE})
    ended = [run for run in runs if run.facts.closed]
    signed = [signed_decisions(run.entries) for run in runs]
    live = [of_kinds(decisions) for decisions in signed]
    effort = replace(
        sum_effort(live),
        setup_minutes=_sum_known([setup_minutes(run) for run in runs]),
        mandates=sum(count_mandates(run) for run in runs),
    )
    decided = sum(len(decisions) for decisions in live)
    return Records(
        config=runs[0].config,
        gains=tuple(gain for run in runs for gain in read_gains(run)),
        events={arm: tuple(e for run in runs for e in read_events(run, arm)) for arm in arms},
        plans={arm: tuple(p for run in runs for p in read_plans(run, arm)) for arm in arms},
        held={arm: tuple(h for run in runs for h in read_rungs(run, arm)) for arm in arms},
        **_writeups(ended) if runs[0].config.study.writeups else {},
        references=read_references(runs),
        effort=effort,
        efforts=dict(_efforts(runs, arms, signed, PEOPLE)),
        simulated=dict(_efforts(runs, arms, signed, SIMULATED)),
        acts=sum(count_acts(run) for run in runs) + decided,
        lived=sum(run.last_generation(*campaign) for run in runs for campaign in run.campaigns),
        skills=tuple(skill for run in ended for skill in read_skills(run)),
        selected={
            arm: tuple(skill for run in ended for skill in read_skills(run, arm))
            for arm in arms
            if variant(arm).selects
        },
        faults={arm: tuple(f for run in runs for f in read_faults(run, arm)) for arm in arms},
        bereft={arm: tuple(b for run in runs for b in read_bereft(run, arm)) for arm in arms},
        shifts={
            arm: tuple(one for run in runs for one in read_shifts(run, arm))
            for arm in arms
            if variant(arm).line
        },
        programs={
            arm: tuple(one for run in ended for one in read_compared(run, arm))
            for arm in arms
            if variant(arm).programs
        },
        tops={arm: tuple(t for run in ended for t in read_tops(run, arm)) for arm in arms},
        luck={arm: tuple(p for run in ended for p in read_luck(run, arm)) for arm in arms},
        levels=_levels(ended) if LONGER in arms else {},
        planned={arm: dict(_planned(runs, arm)) for arm in arms},
        longer=tuple(_longer(ended)) if runs[0].config.study.larger_replicates else (),
        champions=_champions(ended, arms) if runs[0].config.study.ablate else {},
        proposing=_proposing(runs, arms) if runs[0].config.task.notebook else {},
        drifts={arm: tuple(d for run in ended for d in read_drift(run, arm)) for arm in arms},
        ended=len(ended) == len(runs),
        clock=tuple(wall_seconds(run, each) for run, each in zip(runs, signed, strict=True)),
    )


def _proposing(runs: Sequence[Run], arms: Sequence[str]) -> dict[str, tuple[Proposing, ...]]:
    return {arm: tuple(p for run in runs for p in read_proposing(run, arm)) for arm in arms}


def _champions(ended: Sequence[Run], arms: Sequence[str]) -> dict[str, tuple[Champion, ...]]:
    return {arm: tuple(c for run in ended for c in read_champions(run, arm)) for arm in arms}


def _writeups(ended: Sequence[Run]) -> dict[str, Any]:
    """Return the claims of write-ups and their novelty."""
    return {
        "claims": tuple(claim for run in ended for claim in read_claims(run)),
        "novelty": tuple(one for run in ended for one in read_novelty(run)),
    }


def _levels(ended: Sequence[Run]) -> dict[str, tuple[float, ...]]:
    """Return the baseline's level in arm self and in its twin with more compute."""
    return {
        arm: tuple(
            baseline_level(run, arm, repeat)
            for run in ended
            for repeat in sorted(other for name, other in run.campaigns if name == arm)
        )
        for arm in ("self", LONGER)
    }


def _planned(runs: Sequence[Run], arm: str) -> Iterator[tuple[int, float]]:
    """Yield each repeat of an arm with its planned CPU-seconds; a reading counts as a training."""
    for run in runs:
        seconds = run.config.compute(arm) / 1e6
        for name, repeat in run.campaigns:
            if name == arm:
                count = sum(run.facts.trainings[arm, repeat].values())
                yield run.base + repeat, count * seconds


def _longer(ended: Sequence[Run]) -> Iterator[tuple[float, float]]:
    """Yield what champion and baseline of each campaign of arm self gain by more compute."""
    for run in ended:
        for arm, repeat in run.campaigns:
            if arm == "self":
                yield longer_gain(run, arm, repeat)


def _sum_known(minutes: Sequence[float | None]) -> float | None:
    """Return the sum, or None where a run knows no minutes."""
    known = [value for value in minutes if value is not None]
    return math.fsum(known) if len(known) == len(minutes) else None


def _efforts(
    runs: Sequence[Run],
    arms: Sequence[str],
    signed: Sequence[Sequence[SignedDecision]],
    kinds: tuple[str, ...],
) -> Iterator[tuple[str, Effort]]:
    """Yield each arm with the effort of some kinds of reviewers on its own plans."""
    for arm in arms:
        groups = list[list[SignedDecision]]()
        for run, decisions in zip(runs, signed, strict=True):
            groups += group_by_repeat(run, arm, of_kinds(decisions, kinds))
        yield arm, sum_effort(groups)
