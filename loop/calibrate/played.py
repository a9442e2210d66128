"""An open study that is played in memory: its plans and its measurements on a table.

`Played` stands where the loop has its `Running`, so the loop's own functions serve it: seeds,
levels, histories, compute ratios. Plans have readable names instead of digests, and nothing is
granted or written. in_memory.py plays whole studies with it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import cast

from configs.recipe import Recipe
from configs.records import (
    CONFIRM,
    Amount,
    JobCount,
    JobResult,
    Plan,
    Proposal,
    Purpose,
    Scores,
    Split,
    Verdict,
)
from configs.settings.config import Config
from evals.folds import columns_of
from evals.judge import judge
from evals.table import PLANNED, Drawn, Row, Unlisted, World
from loop.campaign import Campaign
from loop.cycle import Screened
from loop.facts.facts import Facts
from loop.facts.places import Place
from loop.measure.jobs import Replicate, seed_of
from loop.measure.replicate import compute_ratio
from loop.plan import Draft, Planned, make_plan
from loop.study.items import RepeatItems, draw_items
from loop.study.root import FORMAT, plain_secret
from loop.study.running import Running

PLAYED = "played in memory"
"""Study and bundle of every plan that was played."""


class OpenGate:
    """The gate of a study that is played, for those who ask it: nobody recalls anything."""

    recalled: frozenset[str] = frozenset()

    @property
    def memory(self) -> "OpenGate":
        """Its memory."""
        return self

    def refresh(self) -> "OpenGate":
        """Return the gate, as it always stands."""
        return self


@dataclass(slots=True, kw_only=True)
class Played:
    """An open study that is played: it stands where the loop has its `Running`."""

    config: Config
    "settings of the study"
    world: World
    "the table that answers"
    learns: bool = False
    "whether a newer recipe reads better: it draws more drafts of a proposal"
    reads: Callable[[Recipe], int] | None = None
    "drafts of a proposal by the recipe that reads, in a world where recipes decide; None: `learns`"
    cautions: bool = True
    "whether an accept gets its corrected gain"
    known: Facts = field(default_factory=lambda: Facts(format=FORMAT))
    "everything that happened"
    held_out: dict[int, RepeatItems] = field(default_factory=dict)
    "repeat -> its secret and held-out folds"
    recipes: dict[Recipe, Recipe] = field(default_factory=dict)
    "recipe -> the same record for all its plans; records that are one compare at once"
    proposing_us: dict[Place, int] = field(default_factory=dict)
    "place of a proposal by a program -> CPU-microseconds charged for it"
    templates: dict[tuple[str, Purpose], Plan] = field(default_factory=dict)
    "(arm, purpose) -> a plan with all that its other plans share"
    charges: dict[int, tuple[JobResult, JobResult]] = field(default_factory=dict)
    "id of a row -> the records of its training and of its predictions"

    @property
    def gate(self) -> OpenGate:
        """A gate that lets all pass."""
        return OpenGate()

    @property
    def items(self) -> "Played":
        """The held-out items of every repeat."""
        return self

    def of(self, repeat: int) -> RepeatItems:
        """Return the items of a repeat, dealt when they are first needed."""
        if repeat not in self.held_out:
            task, secret = self.config.task.format(), plain_secret(self.config)
            self.held_out[repeat] = draw_items(task, secret, repeat, FORMAT)
        return self.held_out[repeat]

    def facts(self) -> Facts:
        """Return everything that happened."""
        return self.known

    def campaign(self, arm: str, repeat: int) -> Campaign:
        """Return a campaign of the study, for the loop's own functions."""
        return Campaign(cast(Running, self), arm, repeat, None, lambda text: None)


def make_draft(
    purpose: Purpose,
    generation: int,
    index: int,
    recipe: Recipe,
    *,
    parent: Planned | None = None,
    beside: Planned | None = None,
    proposal: Proposal | None = None,
    jobs: tuple[JobCount, ...] = (),
) -> Draft:
    """Return the draft of a plan. Its changes count against `parent`, it is measured `beside`."""
    return Draft(
        generation=generation,
        index=index,
        purpose=purpose,
        recipe=recipe,
        bundle=PLAYED,
        proposal=proposal or Proposal(hypothesis=purpose, knobs={}),
        parent=parent.digest if parent else "",
        parent_recipe=parent.plan.recipe if parent else None,
        reference=(PLAYED, beside.plan.recipe) if beside else None,
        jobs=jobs,
    )


def record(played: Played, campaign: Campaign, draft: Draft) -> Planned:
    """Record the plan of a draft under a readable name instead of its digest."""
    plan = replace(
        _template(played, campaign.arm, draft),
        repeat=campaign.repeat,
        generation=draft.generation,
        index=draft.index,
        parent=draft.parent,
        recipe=played.recipes.setdefault(draft.recipe, draft.recipe),
        predicted_gain=draft.proposal.predicted_gain,
        reference_recipe=draft.reference[1] if draft.reference else None,
    )
    name = f"{plan.purpose}:{plan.arm}:{plan.repeat}:{plan.generation}:{plan.index}"
    known = played.known
    known.plans[name] = plan
    known.proposed[campaign.key].append(name)
    if plan.purpose == "select":
        known.selecting.add(plan, name)
    elif plan.purpose != "propose":
        known.at[*campaign.key, plan.generation, plan.index] = name
    return Planned(digest=name, plan=plan)


def _template(played: Played, arm: str, draft: Draft) -> Plan:
    """Return a plan of this purpose in an arm; steps and the list of changes are left out."""
    if (arm, draft.purpose) not in played.templates:
        whole = make_plan(played.config, draft, study=PLAYED, version=1, arm=arm, repeat=0)
        short = replace(whole, changed={}, steps=0, reference_steps=0)
        played.templates[arm, draft.purpose] = short
    return played.templates[arm, draft.purpose]


def screen(played: Played, planned: Planned) -> Screened:
    """Train a replicate and score it on feedback."""
    scores = measure(played, Replicate(planned=planned, index=0), "feedback")
    return Screened(planned=planned, scores=scores)


def confirm(played: Played, campaign: Campaign, planned: Planned) -> Verdict:
    """Return the verdict on a plan, pair by pair as in loop/measure/confirm.py."""
    config, level = played.config, campaign.level(planned.plan)
    candidate = planned.plan.purpose == "candidate"
    study, objective = config.study, config.objective
    most = study.replicates(campaign.arm) if candidate else study.final_replicates
    least = min(objective.first_look, most) if candidate else most
    sides: tuple[list[Scores | None], list[Scores | None]] = ([], [])
    while True:
        index = len(sides[0])
        own = Replicate(planned=planned, index=index + candidate)
        beside = Replicate(planned=planned, index=index, champion=True)
        pair = [measure(played, one, CONFIRM) for one in (own, beside)]
        for side, scores in zip(sides, pair, strict=True):
            side.append(scores)
        # Before the first look the judge wants another pair, unless a replicate failed.
        if index + 1 < least and (not candidate or None not in pair):
            continue
        verdict = judge(
            *sides,
            objective,
            level=level,
            seed_deviation=config.deviation(),
            compute=compute_ratio(cast(Running, played), planned),
            most=most,
            effect=campaign.effect(planned.plan),
            cautions=played.cautions and candidate,
        )
        if verdict.answer != "continue":
            played.known.verdicts[planned.digest] = verdict
            if candidate:
                played.known.levels[campaign.key].append(verdict.level)
            return verdict


def measure(played: Played, replicate: Replicate, split: Split) -> Scores | None:
    """Return the scores of a replicate, drawn from the table; None after a failure."""
    known, planned, index = played.known, replicate.planned, replicate.index
    plan, name = planned.plan, planned.digest
    if plan.purpose in ("baseline", "candidate", "select"):
        known.trainings[plan.arm, plan.repeat][plan.generation] += 1
    seed, scores = seed_of(cast(Running, played), replicate), None
    try:
        drawn = played.world.draw(replicate.recipe, PLANNED, seed)
        training, prediction = _charge(played, drawn.row)
        failure = drawn.row.failure
    except Unlisted as error:
        training, failure = make_result(0, 0, "program", str(error)[:300]), str(error)[:300]
    known.results[name, replicate.train_role, index] = training, 0
    if failure:
        known.failures[name].append(failure)
    else:
        known.results[name, replicate.predict_role, index] = prediction, 0
        scores = _score(played, drawn, split, plan.repeat, plan.planned_cpu_us)
    known.scores[name, replicate.predict_role, index] = scores
    return scores


def _score(played: Played, drawn: Drawn, split: Split, repeat: int, planned_us: int) -> Scores:
    """Return the scores of a replicate on a split.

    Only bits mean something on a table; the box's file keeps them to about 1e-7.
    """
    table, columns = played.world.table, columns_of(played.of(repeat).splits[split])
    return Scores(
        split=split,
        items=len(columns),
        exact_match=0.0,
        token_accuracy=0.0,
        log_odds=0.0,
        parameters=0,
        planned_cpu_us=planned_us,
        measured_cpu_us=drawn.row.cpu_us,
        inference_cpu_us=drawn.row.predict_cpu_us,
        slices=dict.fromkeys(table.slices, 0.0),
        bits=float(drawn.bits[columns].sum()) / len(columns),
        slice_bits=dict(zip(table.slices, drawn.bits[table.folds :].tolist(), strict=True)),
    )


def _charge(played: Played, row: Row) -> tuple[JobResult, JobResult]:
    """Return the records of a training and of its predictions, charged as recorded."""
    if id(row) not in played.charges:
        status = "program" if row.failure else "ok"
        whole = row.cpu_us + row.startup_cpu_us
        played.charges[id(row)] = (
            make_result(whole, row.startup_cpu_us, status, row.failure),
            make_result(row.predict_cpu_us, 0, "ok", ""),
        )
    return played.charges[id(row)]


def make_result(cpu_us: int, startup_us: int, status: str, detail: str) -> JobResult:
    """Return the record of a job with its charge; any status but `ok` is the program's failure."""
    return JobResult(
        status="ok" if status == "ok" else "program",
        detail=detail,
        charged=Amount(cpu_us=cpu_us, wall_us=cpu_us, jobs=1),
        startup_cpu_us=startup_us,
        charged_by="table",
        peak_bytes=0,
        outputs={},
        log="",
        box="table",
    )
