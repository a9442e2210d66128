"""What a run recorded, as the records that evals/ measures: gains, decisions, plans, rungs, skill.

Several runs of one study that differ in seed are its repeats. Scores on gate stay closed until a
study has ended, so that a running one has its funnel, its automation and its human cost alone. It
refuses runs that differ in any other setting: they are no repeats of one study.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.arms import CELLS, START, variant
from configs.build import plain
from configs.errors import BadInput
from configs.objective import METRICS, Objective
from configs.records import Entry, Plan, Scores
from configs.settings.config import Config
from evals.amplify import Skill
from evals.arms import Gain
from evals.closure import Actor, Effort, Event, Stage
from evals.loss import Fate, Held, PlanFact, Rung
from evals.metrics import log_odds, primary
from loop.facts.facts import Facts, folded
from loop.facts.summary import oversight
from loop.propose.table import proposer
from sandbox.canonical import digest
from sandbox.decision import policy, unix
from sandbox.ledger import Ledger

ALONE = ("study.name", "study.seed", "runs", "tracker.kind", "tracker.mode")
"""Settings in which repeats of one study may differ."""


BETWEEN = 1000
"""Repeat numbers of one run; the next run's begin after them."""


WRITERS: dict[str, Actor] = {
    "trusted": "fixed program",
    "record": "fixed program",
    "outside": "outside model",
    "people": "person",
    "script": "person",
}


DECIDERS: dict[tuple[str, str], Actor] = {
    ("mandate", "unattended"): "unattended rule",
    ("mandate", "person"): "standing rule",
    ("mandate", "external"): "standing rule",
    ("approval", "person"): "person",
    ("approval", "external"): "person",
}
"""(how, kind) of a decision -> who decided; whatever else is a simulated reviewer, in mandates too.
"""


SIMULATED = ("simulated",)


RULES = ("tripwire", "warning sign")
"""Who pauses by a rule that people set before; every other order is a person's."""


SET: tuple[Stage, ...] = ("set objective", "set budget")


ACTS: dict[str, Stage] = {"promote": "promote", "deploy": "deploy", "amend": "amend"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What the runs recorded."""

    config: Config
    "the study's configuration, of the first run"
    gains: tuple[Gain, ...]
    "verified gain on an unbounded scale, per campaign and generation"
    events: dict[str, tuple[Event, ...]]
    "arm -> decisions"
    plans: dict[str, tuple[PlanFact, ...]]
    "arm -> what became of its proposals, in the objective's unit"
    held: dict[str, tuple[Held, ...]]
    "arm -> gains per rung, on the unbounded scale"
    effort: Effort
    "what people did, one value per run"
    efforts: dict[str, Effort]
    """arm -> what people did on its own plans, one value per repeat in ascending order; the start
    that arms share is nobody's
    """
    simulated: dict[str, Effort]
    "the same of simulated reviewers, whose minutes are drawn and not waited for"
    acts: int
    """live acts of people: decisions on plans, proposals handed in, orders to stop, pause, slow or
    resume, recalls
    """
    lived: int
    "generations that all campaigns began"
    skills: tuple[Skill, ...]
    """how well the last weights of arm self propose, and their twins (loop/skill.py); log-odds per
    proposal where the metric is a share
    """
    tops: dict[str, tuple[float, ...]]
    "arm -> the last champions' scores in the closing look, raw; empty while a study runs"
    clock: tuple[tuple[float, float, float], ...]
    """per run: wall seconds that the oldest request of people waited, that jobs computed, that it
    took
    """


def records(folders: Sequence[Path]) -> Records:
    """Return the records of runs of one study.

    Raises BadInput where settings beyond ALONE differ or a run is named twice, VerificationFailed
    for a broken ledger.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadInput(f"RUN is {', '.join(map(str, folders))}; it should name each run once")
    return records_of([(str(folder), Ledger.file(folder / "ledger.sqlite")) for folder in folders])


def records_of(named: Sequence[tuple[str, Ledger]]) -> Records:
    """Return the same of ledgers, each with the name that a refusal calls it by."""
    read = [Run(number, ledger) for number, (_, ledger) in enumerate(named)]
    for run, (name, _) in zip(read, named, strict=True):
        if settings(run.config) != settings(read[0].config):
            raise BadInput(
                f"{name} has other settings than {named[0][0]} and is no repeat of its study; see"
                " them side by side: heirloop compare"
            )
    return gather(read)


def settings(config: Config) -> dict[str, Any]:
    """Return a configuration without what may differ between repeats of one study."""
    found: dict[str, Any] = plain(config)
    for path in ALONE:
        group, _, field = path.partition(".")
        if field:
            del found[group][field]
        else:
            del found[group]
    return found


def gather(read: Sequence["Run"]) -> Records:
    """Return the records of ledgers that were read; the settings are the same in all."""
    first = read[0].config
    arms = sorted({arm for run in read for arm, _ in run.campaigns})
    each = [oversight(run.entries) for run in read]
    return Records(
        config=first,
        gains=tuple(g for run in read for g in run.gains()),
        events={arm: tuple(e for run in read for e in run.events(arm)) for arm in arms},
        plans={arm: tuple(p for run in read for p in run.plans(arm)) for arm in arms},
        held={arm: tuple(h for run in read for h in run.held(arm)) for arm in arms},
        effort=_effort(
            [_live(o) for o in each],
            setup_minutes=math.fsum(run.setup_minutes() for run in read),
            mandates=sum(
                e.kind == "mandate" and e.body["mandate"]["kind"] == "person"
                for run in read
                for e in run.entries
            ),
        ),
        efforts={
            arm: _effort(
                [
                    d
                    for run, o in zip(read, each, strict=True)
                    for d in run.decided_on(arm, _live(o))
                ]
            )
            for arm in arms
        },
        simulated={
            arm: _effort(
                [
                    d
                    for run, o in zip(read, each, strict=True)
                    for d in run.decided_on(arm, _live(o, SIMULATED))
                ]
            )
            for arm in arms
        },
        acts=sum(run.acts() + len(_live(o)) for run, o in zip(read, each, strict=True)),
        lived=sum(run.last(*campaign) for run in read for campaign in run.campaigns),
        skills=tuple(s for run in read if run.facts.closed for s in run.skills()),
        tops={
            arm: tuple(t for run in read if run.facts.closed for t in run.tops(arm)) for arm in arms
        },
        clock=tuple(run.clock(told) for run, told in zip(read, each, strict=True)),
    )


class Run:
    """One ledger, read once; its repeats are numbered from `number` x BETWEEN."""

    def __init__(self, number: int, ledger: Ledger, facts: Facts | None = None) -> None:
        self.base, self.ledger = number * BETWEEN, ledger
        self.entries: list[Entry] = ledger.entries()
        self.facts: Facts = facts or folded(self.entries)
        self.config: Config = policy(self.entries).config
        self.campaigns = [key for key in sorted(self.facts.champions) if key[0] != START]
        objective = self.config.objective
        share = METRICS[objective.metric].share
        self.unbounded = replace(objective, scale="log_odds") if share else objective
        self.spent = _spent(self.facts, self.entries)
        self.scored, self.cpu_us = _by_plan(self.facts)
        self.candidates: dict[tuple[str, int, int], list[str]] = {}
        self.finals: dict[tuple[str, int, str], str] = {}
        for name, plan in self.facts.plans.items():
            if plan.purpose == "candidate":
                self.candidates.setdefault((plan.arm, plan.repeat, plan.generation), []).append(
                    name
                )
            elif plan.purpose in ("final", "larger"):
                self.finals[plan.arm, plan.repeat, plan.purpose] = name
        self.decided = [e for e in self.entries if e.kind in ("decision", "verdict")]
        self._plans: dict[str, list[PlanFact]] = {}

    def gains(self) -> Iterator[Gain]:
        """The corrected gains of accepted plans, added up; the last generation of a finished
        campaign stands with the closing look on fresh seeds.

        Where nothing is carried on, an accept stands alone, from the baseline.
        """
        for arm, repeat in self.campaigns if self.facts.closed else ():
            given = self.config.study.allowance(arm) * self.config.compute(arm)
            last, total, spent, kept = (
                self.last(arm, repeat),
                0.0,
                self.spent.get((arm, repeat, 0), 0),
                set(self.facts.champions[arm, repeat]),
            )
            for generation in range(1, last + 1):
                spent += self.spent.get((arm, repeat, generation), 0)
                found = [
                    self._gained(n)
                    for n in self.candidates.get((arm, repeat, generation), ())
                    if n in kept
                ]
                total = total + math.fsum(found) if variant(arm).carry else (found or [total])[-1]
                value = total if generation < last else self._closing(arm, repeat, self.unbounded)
                yield Gain(
                    arm=arm,
                    repeat=self.base + repeat,
                    generation=generation,
                    planned_cpu_us=spent,
                    value=value,
                    allotted_cpu_us=given,
                )

    def last(self, arm: str, repeat: int) -> int:
        """Return the last generation that a campaign began."""
        most: int = self.config.study.generations
        return max(
            (g for a, r, g, _ in self.facts.at if (a, r) == (arm, repeat) and g <= most), default=0
        )

    def _gained(self, name: str) -> float:
        """Return a plan's gain on the unbounded scale, moved by as much as its verdict's gain was
        by the winner's-curse correction.

        A share's correction counts on log-odds by their slope there, 1 / (p (1 - p)) at the pairs'
        mean share p.
        """
        verdict, found = self.facts.verdicts[name], self._paired(name, self.unbounded)
        if verdict.corrected is None or verdict.gain is None:
            return found
        shift = verdict.corrected - verdict.gain
        if not shift or self.unbounded == self.config.objective:
            return found + shift
        scores = [s for side in self._sides(name).values() for s in side.values()]
        p, least = self._top(scores), 0.5 / scores[0].items
        p = min(max(p if self.config.objective.direction == "up" else -p, least), 1 - least)
        return found + shift / (p * (1 - p))

    def _paired(self, name: str, objective: Objective) -> float:
        """Return the mean paired gain of a plan's replicates on gate; NaN without any."""
        found = self._sides(name)
        both = [
            primary(objective, found["predict"][i])
            - primary(objective, found["champion-predict"][i])
            for i in found["predict"].keys() & found["champion-predict"].keys()
        ]
        return sum(both) / len(both) if both else math.nan

    def acts(self) -> int:
        """Return what people did beside decisions on plans: proposals that they handed in, orders,
        recalls.
        """
        handed = sum(
            e.kind == "handed" and _writer(e.body["arm"]) == "person" for e in self.entries
        )
        ordered = sum(
            e.kind == "control" and e.body["what"] != "drill-end" and e.body["who"] not in RULES
            for e in self.entries
        )
        return int(handed + ordered + sum(e.kind == "recall" for e in self.entries))

    def _sides(self, name: str) -> dict[str, dict[int, Scores]]:
        """Return a plan's scores on gate by role and number of the pair."""
        sides: dict[str, dict[int, Scores]] = {"predict": {}, "champion-predict": {}}
        screened = self.facts.plans[name].purpose == "candidate"
        for role, index, scores in self.scored.get(name, ()):
            if scores.split == "gate" and role in sides:
                sides[role][index - (role == "predict" and screened)] = scores
        return sides

    def _closing(
        self, arm: str, repeat: int, objective: Objective, purpose: str = "final"
    ) -> float:
        """Return champion against baseline in a closing look; 0 where the baseline is champion
        still.
        """
        if len(set(self.facts.champions[arm, repeat])) == 1:
            return 0.0
        final = self.finals.get((arm, repeat, purpose))
        return self._paired(final, objective) if final else math.nan

    def _shifted(self, name: str) -> tuple[float, float]:
        """Return (gain on the unbounded scale, champion's raw score) of a closing look on the
        task's slices outside its distribution.

        A score there is the mean exact match of the slices; NaN without any, or for another metric.
        """
        if self.config.objective.metric != "exact_match":
            return math.nan, math.nan
        sides = [
            [
                replace(s, exact_match=math.fsum(s.slices.values()) / len(s.slices))
                for s in side.values()
                if s.slices
            ]
            for side in self._sides(name).values()
        ]
        if not all(sides):
            return math.nan, math.nan
        mine, theirs = (
            math.fsum(primary(self.unbounded, s) for s in side) / len(side) for side in sides
        )
        return mine - theirs, self._top(sides[0])

    def _top(self, scores: Sequence[Scores]) -> float:
        """Return the mean raw score; NaN without any."""
        raw = replace(self.config.objective, scale="raw")
        return math.fsum(primary(raw, s) for s in scores) / len(scores) if scores else math.nan

    def tops(self, arm: str) -> Iterator[float]:
        """Yield the last champions' mean scores in the closing look, raw."""
        mine = [
            name for (a, _, purpose), name in self.finals.items() if (a, purpose) == (arm, "final")
        ]
        found = (self._top(list(self._sides(name)["predict"].values())) for name in mine)
        yield from (top for top in found if math.isfinite(top))

    def skills(self) -> Iterator[Skill]:
        """Yield Q of every cell that was measured: the mean paired gain of its proposals on gate.

        A proposal that is unusable or whose own job failed gained 0; one that reviewers refused
        says nothing of the weights and is left out.
        """
        last, kinds = (
            self.config.study.generations,
            {
                "self": (True, True, False),
                "refit": (False, True, False),
                "frozen": (False, False, False),
                "scrambled": (True, True, True),
            },
        )
        for (arm, repeat, generation), asked in self.facts.asks.items():
            number = generation - self.config.study.skill_generation(0)
            if number < 0 or (asked, "propose", 0) not in self.facts.results:
                continue
            recipe, history, scrambled = kinds[list(CELLS)[number]]
            names = [
                self.facts.at.get((arm, repeat, generation, i), "!")
                for i in range(self.config.study.skill_proposals)
            ]
            found = [v for v in map(self._worth, names) if math.isfinite(v)]
            yield Skill(
                repeat=self.base + repeat,
                recipe=last * recipe,
                history=last * history,
                scrambled=scrambled,
                value=math.fsum(found) / len(found) if found else math.nan,
            )

    def _worth(self, name: str) -> float:
        if name.startswith("!") or any(
            self.facts.results[at][0].status != "ok"
            for at in ((name, "train", 0), (name, "predict", 0))
            if at in self.facts.results
        ):
            return 0.0
        return self._paired(name, self.unbounded)

    def setup_minutes(self) -> float:
        """Return minutes from the first signed mandate or the study root, whichever came first, to
        the first job; 0 before that.
        """
        first = next((e for e in self.entries if e.kind == "start"), None)
        signed = [e.body["mandate"]["issued"] for e in self.entries if e.kind == "mandate"]
        return max(0.0, unix(first) - min([unix(self.entries[0]), *signed])) / 60 if first else 0.0

    def decided_on(
        self, arm: str, live: Sequence[Mapping[str, Any]]
    ) -> list[list[Mapping[str, Any]]]:
        """Return the decisions of people on plans of an arm, one list per repeat in ascending
        order.
        """
        found: dict[int, list[Mapping[str, Any]]] = {
            repeat: [] for a, repeat in self.campaigns if a == arm
        }
        for one in live:
            plan = self.facts.plans.get(one["plan"])
            if plan and plan.arm == arm and plan.repeat in found:
                found[plan.repeat].append(one)
        return list(found.values())

    def clock(self, told: Mapping[str, Any]) -> tuple[float, float, float]:
        """Return wall seconds that people's requests waited, that jobs computed, and that the study
        took: sessions, and waits between them.
        """
        sessions = [
            (unix(e) - e.body["wall_seconds"], unix(e)) for e in self.entries if e.kind == "session"
        ]
        waits = [(float(d["asked"]), float(d["decided"])) for d in _live(told)]
        computed = (
            sum(r.charged.wall_us for r, _ in self.facts.results.values())
            / 1e6
            / self.config.box.parallel
        )
        total = _covered([*sessions, *waits]) if sessions else 0.0
        return _covered(waits), min(computed, total), total

    def held(self, arm: str) -> Iterator[Held]:
        """Accepted plans on feedback and gate, the closing look, and what an opening of sealed
        showed, on the unbounded scale.

        Where nothing is carried on, accepted plans are alternatives: the last one alone stands on
        feedback and gate. Where the baseline is champion still, every rung after gate is 0.
        """
        opened = {
            (plan.repeat, name): body
            for name, body in self.facts.openings.items()
            if (plan := self.facts.plans[name]).arm == arm
        }
        for _, repeat in [key for key in self.campaigns if key[0] == arm and self.facts.closed]:
            accepted = [
                p
                for p in self.plans(arm)
                if p.repeat == self.base + repeat and p.fate == "accepted"
            ]
            accepted = (
                accepted
                if variant(arm).carry
                else sorted(accepted, key=lambda p: p.generation)[-1:]
            )
            found: dict[Rung, tuple[float, float]] = {
                "feedback": (
                    math.fsum(self._shown(p.plan, self.unbounded) for p in accepted),
                    math.nan,
                ),
                "gate": (
                    math.fsum(self._paired(p.plan, self.unbounded) for p in accepted),
                    math.nan,
                ),
                "closing": self._looked(arm, repeat, "final"),
            }
            moved, final = (
                len(set(self.facts.champions[arm, repeat])) > 1,
                self.finals.get((arm, repeat, "final")),
            )
            shifted = self._shifted(final) if final else (math.nan, math.nan)
            if (
                math.isfinite(shifted[0])
                if moved
                else self.config.objective.metric == "exact_match"
                and self.config.task.format().slices()
            ):
                found["shifted"] = shifted if moved else (0.0, math.nan)
            if self.config.study.larger_replicates:
                found["large"] = self._looked(arm, repeat, "larger")
            mine = [body for (at, _), body in opened.items() if at == repeat]
            if mine or (
                opened and not moved
            ):  # there is nothing to open where the baseline is champion still
                found["sealed"] = self._opened(mine[0]) if mine else (0.0, math.nan)
            yield from (
                Held(repeat=self.base + repeat, rung=rung, value=value, score=score)
                for rung, (value, score) in found.items()
            )

    def _looked(self, arm: str, repeat: int, purpose: str) -> tuple[float, float]:
        """Return (gain on the unbounded scale, champion's raw score) of a closing look."""
        final = self.finals.get((arm, repeat, purpose))
        score = self._top(list(self._sides(final)["predict"].values())) if final else math.nan
        return self._closing(arm, repeat, self.unbounded, purpose), score

    def _opened(self, body: Mapping[str, Any]) -> tuple[float, float]:
        """Return the same of an opening of sealed, by the means that it tells, since its scores
        never leave the run; NaN where a pair is missing.
        """
        if body["gain"] is None:
            return math.nan, math.nan
        sign = 1 if self.config.objective.direction == "up" else -1
        if self.unbounded == self.config.objective:
            return body["gain"], sign * body["champion_mean"]
        items = next(
            (s.items for s in self.facts.scores.values() if s), 0
        )  # all held-out splits have as many
        mine, theirs = (log_odds(body[side], items) for side in ("champion_mean", "baseline_mean"))
        return sign * (mine - theirs), sign * body["champion_mean"]

    def _shown(self, name: str, objective: Objective) -> float:
        """Return a plan's gain on feedback over its parent's one screening score; NaN where one is
        missing.
        """
        mine, before = (
            self.facts.scores.get((n, "predict", 0)) for n in (name, self.facts.plans[name].parent)
        )
        return (
            primary(objective, mine) - primary(objective, before) if mine and before else math.nan
        )

    def plans(self, arm: str) -> list[PlanFact]:
        """Every proposal of an arm, invalid ones included."""
        if arm not in self._plans:
            self._plans[arm] = list(self._told(arm))
        return self._plans[arm]

    def _told(self, arm: str) -> Iterator[PlanFact]:
        seen, (most, parallel) = (
            set[str](),
            (self.config.study.generations, self.config.study.rounds(arm)[1]),
        )
        for (a, repeat, generation, index), name in self.facts.at.items():
            if (
                a != arm
                or generation > most
                or (not name.startswith("!") and self.facts.plans[name].purpose != "candidate")
            ):
                continue
            place: dict[str, Any] = {
                "repeat": self.base + repeat,
                "generation": generation,
                "author": _writer(arm),
                "parallel": parallel,
            }
            around = self.spent.get((arm, repeat, -generation), 0) // parallel
            if name.startswith("!"):
                yield PlanFact(
                    plan=f"{arm}:{repeat}:{generation}:{index}",
                    fate="invalid",
                    around_cpu_us=around,
                    **place,
                )
                continue
            plan = self.facts.plans[name]
            what = f"{repeat}:{plan.bundle}:{digest(plain(plan.recipe))}"
            yield self._fact(
                name, plan, {**place, "around_cpu_us": around, "duplicate": what in seen}
            )
            seen.add(what)

    def _fact(self, name: str, plan: Plan, more: Mapping[str, Any]) -> PlanFact:
        verdict = self.facts.verdicts.get(name) if self.facts.closed else None
        shown = self._shown(name, self.config.objective) if self.facts.closed else math.nan
        gate, corrected, gained = (
            (verdict.gain, verdict.corrected, self._gained(name)) if verdict else (None, None, None)
        )
        return PlanFact(
            plan=name,
            fate=self._fate(name, plan),
            cpu_us=self.cpu_us.get(name, 0),
            promised=plan.predicted_gain,
            feedback=shown if math.isfinite(shown) else None,
            gate=gate,
            corrected=corrected,
            gained=gained,
            replicates=verdict.replicates if verdict else 0,
            **more,
        )

    def _fate(self, name: str, plan: Plan) -> Fate:
        verdict = self.facts.verdicts.get(name)
        if (name, plan.change_class) in self.facts.denied or (
            verdict and verdict.answer == "accept" and (name, "promote") in self.facts.denied
        ):
            return "refused"
        if verdict is None:
            return "crashed" if self.facts.failures.get(name) else "superseded"
        if verdict.answer == "accept":
            return "accepted"
        if any(c.name == "planned compute" and not c.passed for c in verdict.criteria):
            return "over budget"
        return (
            "inconclusive"
            if verdict.answer == "inconclusive"
            else "crashed"
            if self.facts.failures.get(name)
            else "no effect"
        )

    def events(self, arm: str) -> Iterator[Event]:
        """Decisions on an arm's plans, with the worst case of CPU that each released; what people
        set for the whole study with its root limit.
        """
        total = self.config.budget.amount().cpu_us
        yield from (
            Event(stage=stage, actor="person", cpu_us=total, repeat=self.base) for stage in SET
        )
        writer, begun = _writer(arm), set[str]()
        for entry in self.decided:
            body = entry.body
            plan = self.facts.plans.get(str(body.get("plan")))
            if entry.kind == "decision" and body["class"] == "amend" and body["allow"]:
                yield Event(stage="amend", actor=_decider(body), cpu_us=total, repeat=self.base)
            if (
                plan is None
                or plan.arm != arm
                or plan.purpose not in ("candidate", "propose")
                or plan.generation > self.config.study.generations
            ):
                continue
            released: dict[str, int] = {
                "cpu_us": plan.requested.cpu_us,
                "repeat": self.base + plan.repeat,
            }
            if entry.kind == "verdict":
                yield Event(stage="accept", actor="fixed program", **released)
            elif body["allow"]:
                starts = body["class"] == plan.change_class and body["plan"] not in begun
                charged = self.cpu_us.get(body["plan"], 0) if starts else 0
                begun |= {body["plan"]} if starts else set()
                yield Event(
                    stage=ACTS.get(body["class"], "approve"),
                    actor=_decider(body),
                    charged_us=charged,
                    **released,
                )
                if body["class"] == plan.change_class and plan.purpose == "candidate":
                    yield Event(stage="propose", actor=writer, **released)
                    yield Event(stage="train", actor="fixed program", **released)
                    yield Event(stage="evaluate", actor="fixed program", **released)


def _by_plan(facts: Facts) -> tuple[dict[str, list[tuple[str, int, Scores]]], dict[str, int]]:
    """Return each plan's scores as (role, index, scores), and what its jobs were charged, in
    CPU-microseconds.
    """
    scored, cpu = dict[str, list[tuple[str, int, Scores]]](), dict[str, int]()
    for (name, role, index), scores in facts.scores.items():
        if scores:
            scored.setdefault(name, []).append((role, index, scores))
    for (name, _, _), (result, _) in facts.results.items():
        cpu[name] = cpu.get(name, 0) + result.charged.cpu_us
    return scored, cpu


def _live(
    told: Mapping[str, Any], kinds: tuple[str, ...] = ("person", "external")
) -> list[dict[str, Any]]:
    """Return the decisions of a summary's oversight that people took, or whoever is of these
    kinds.
    """
    return [d for d in told["decisions"] if d["kind"] in kinds]


def _effort(live: Sequence[Sequence[Mapping[str, Any]]], **more: Any) -> Effort:
    """Return what people did, of their decisions in as many groups as it shall have values."""
    return Effort(
        decisions=tuple(map(len, live)),
        minutes=tuple(sum(d["looked_ms"] for d in group) / 60_000 for group in live),
        queue_seconds=tuple(
            math.fsum(max(0.0, d["decided"] - d["asked"]) for d in group) for group in live
        ),
        **more,
    )


def _covered(spans: Iterable[tuple[float, float]]) -> float:
    """Return the seconds that intervals (begin, end) cover; what overlaps counts once."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total, until = total + max(0.0, end - max(begin, until)), max(until, end)
    return total


def _writer(arm: str) -> Actor:
    found = proposer(arm)
    return WRITERS.get(found.where) or ("fixed program" if found.program else "lineage")


def _decider(body: Mapping[str, Any]) -> Actor:
    return DECIDERS.get((body["how"], body["kind"]), "simulated reviewer")


def _spent(facts: Facts, entries: Sequence[Entry]) -> dict[tuple[str, int, int], int]:
    """Return the CPU of each (arm, repeat, generation), and of its proposing alone under the
    negative generation.

    Trainings count as planned; predicting and proposing have no plan of their own and count as
    charged.
    """
    found: dict[tuple[str, int, int], int] = {}

    def add(arm: str, repeat: int, generation: int, cpu_us: int) -> None:
        found[arm, repeat, generation] = found.get((arm, repeat, generation), 0) + cpu_us

    for (name, role, _), (result, _) in facts.results.items():
        plan = facts.plans[name]
        if plan.purpose not in ("baseline", "candidate", "propose"):
            continue
        asked = plan.purpose == "propose"
        cpu = plan.planned_cpu_us if role.endswith("train") and not asked else result.charged.cpu_us
        add(plan.arm, plan.repeat, plan.generation, cpu)
        if asked:
            add(plan.arm, plan.repeat, -plan.generation, cpu)
    places = {f"propose:{place}": place for place in facts.at}
    for entry in entries:
        if entry.kind == "settle" and entry.body["key"] in places:
            arm, repeat, generation, _ = places[entry.body["key"]]
            for sign in (1, -1):
                add(arm, repeat, sign * generation, entry.body["spent"]["cpu_us"])
    return found
