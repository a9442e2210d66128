"""One generation, one way: propose, gate, run, score, judge, choose, promote. The picture of DESIGN
as code.
"""

import contextlib
import math
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from safetensors.numpy import save

from configs.arms import CELLS, LARGER, START
from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput, Denied, NeedsHuman
from configs.history import notebook
from configs.objective import Objective
from configs.recipe import Recipe, grid
from configs.records import ChangeClass, Plan, Proposal, Scores, Split, Verdict
from configs.tokens import BUCKETS, pairs
from evals.judge import judge, spend
from evals.metrics import primary, rounded
from loop.measure.replicate import compute_ratio, replicate
from loop.people import stand_in
from loop.plan import change, make, source
from loop.propose.ask import UsedUp, ask
from loop.propose.history import seen, trials_of
from loop.propose.scene import draw
from loop.propose.skill import place, skill
from loop.propose.table import variant
from loop.study import simulated
from loop.study.open import Running
from sandbox.budget import look
from sandbox.canonical import digest

Say = Callable[[str], None]
_BUNDLES = threading.Lock()
LOOKED = {"final": "closing look", "larger": f"closing look at {LARGER} times the planned compute"}
"""Purpose of a closing look -> what it says it is for."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """One arm of one repeat."""

    running: Running
    arm: str
    repeat: int
    cpu: int | None
    say: Say

    def run(self) -> None:
        """Baseline, generations, closing look."""
        if self.arm == START:
            self.start()
            return
        self.baseline()
        for number in range(self.reached(), self.shape()[0] + 1):
            if (self.arm, self.repeat) in self.running.archive.facts().spent or not self.affords(
                number
            ):
                break
            self.generation(number)
        self.final()

    def reached(self) -> int:
        """Return the generation to go on with: the last that has a proposal; those before it are
        over.
        """
        facts = self.running.archive.facts()
        proposed = [
            place[2]
            for place, name in list(facts.at.items())
            if place[:2] == (self.arm, self.repeat)
            and (name.startswith("!") or facts.plans[name].purpose == "candidate")
        ]
        return max([1, *proposed])

    def generation(self, number: int) -> None:
        """Take the loop round once."""
        plans = [name for i in range(self.shape()[1]) if (name := self.propose(number, i))]
        for name in plans:  # people see all that they are asked at once
            self.ask(name, self.plan(name).change_class)
        screened = [
            (name, self.plan(name), self.screen(name)) for name in plans if self.allowed(name)
        ]
        best = choose(screened, self.running.config.objective)
        if (
            best is not None
            and self.confirm(best).answer == "accept"
            and self.allowed(best, "promote")
        ):
            self.promote(best)
        self.say(f"{self.arm}, generation {number}: {self.told(best)}")
        self.running.checkpoint()

    def start(self) -> None:
        """One trial of the notebook that every arm starts from: a uniform draw from the grid,
        screened on feedback.
        """
        config = self.running.config
        base = config.task.baseline
        recipe = draw(
            random.Random(f"{config.study.seed}:{START}:{self.repeat}"),
            base,
            grid(config.task.notebook),
        )
        name = self.record(
            (0, 0),
            "start",
            "",
            base,
            "recipe",
            recipe,
            self.pristine(),
            None,
            Proposal(
                hypothesis="uniform draw for the notebook that every arm starts from", knobs={}
            ),
            notebook=self.notebook(),
        )
        self.ask(name, "recipe")
        if self.allowed(name):
            self.screen(name)

    def baseline(self) -> None:
        """Generation 0: the recipe that people gave, unchanged, is the first champion."""
        recipe = self.running.config.task.baseline
        proposal = Proposal(hypothesis="the recipe that people gave", knobs={})
        name = self.record(
            (0, 0),
            "baseline",
            "",
            recipe,
            "recipe",
            recipe,
            self.pristine(),
            None,
            proposal,
            notebook=self.notebook(),
        )
        if not self.allowed(name):
            raise Denied(
                "without a baseline nothing can be proposed:"
                f" {self.running.gate.refresh().refused[name, 'recipe']}"
            )
        self.screen(name)
        if not self.champions():
            self.running.ledger.append(
                "champion", {"arm": self.arm, "repeat": self.repeat, "plan": name, "generation": 0}
            )

    def propose(self, generation: int, index: int) -> str | None:
        """Ask the arm's proposer once; return the plan's digest, None for an invalid proposal
        (recorded, charged).
        """
        place = (self.arm, self.repeat, generation, index)
        known = self.running.archive.facts().at.get(place)
        if known is not None:
            return None if known.startswith("!") else known
        if place[:2] in self.running.archive.facts().spent:
            return None
        champion, text = self.parent(), ""
        parent = self.plan(champion)
        try:
            text, asked = ask(self, generation, index)
            proposal = parse(Proposal, strict_json(text))
            files = self.running.sandbox.store.get_bundle(parent.bundle)
            risk, recipe, edited = change(parent.recipe, files, proposal)
            need(
                self.running.config.task.notebook or not recipe.notebook,
                "knobs.notebook",
                recipe.notebook,
                "0 in a study without a notebook",
            )
        except UsedUp as error:
            self.running.ledger.append(
                "used-up", {"arm": self.arm, "repeat": self.repeat, "reason": str(error)[:300]}
            )
            return None
        except BadInput as error:
            self.invalid(place, error, text or getattr(error, "text", ""))
            return None
        reference = (parent.bundle, parent.recipe)
        return self.record(
            (generation, index),
            "candidate",
            champion,
            parent.recipe,
            risk,
            recipe,
            self.bundle(edited),
            reference,
            proposal,
            notebook=self.notebook(),
            asked=asked,
            text=self.kept(text),
        )

    def invalid(self, place: tuple[str, int, int, int], error: BadInput, text: str) -> None:
        """Record a proposal that cannot become a plan."""
        where = dict(zip(("arm", "repeat", "generation", "index"), place, strict=True))
        self.running.ledger.append(
            "invalid", {**where, "reason": str(error)[:300], "proposal": self.kept(text)}
        )

    def screen(self, name: str) -> Scores | None:
        """One replicate on feedback, after the gate; one counted look."""
        self.admit(name)
        self.look("feedback", name)
        return replicate(self.running, name, 0, "feedback", self.cpu)

    def confirm(self, name: str) -> Verdict:
        """Paired fresh replicates of candidate and champion on gate, one more until the rule
        decides; one counted look.
        """
        known = self.running.archive.facts().verdicts.get(name)
        if known is not None:
            return known
        study, purpose = self.running.config.study, self.plan(name).purpose
        final, level = purpose != "candidate", self.level(name)
        most = {"final": study.final_replicates, "larger": study.larger_replicates}.get(
            purpose
        ) or study.replicates(self.arm)
        self.look("gate", name)
        mine: list[Scores | None] = []
        theirs: list[Scores | None] = []
        answer = "continue"
        while answer == "continue":
            index = len(mine)
            mine.append(replicate(self.running, name, index + (not final), "gate", self.cpu))
            theirs.append(replicate(self.running, name, index, "gate", self.cpu, champion=True))
            if final and index + 1 < most:  # the closing look estimates; it does not stop early
                continue
            verdict = judge(
                mine,
                theirs,
                self.running.config.objective,
                level=level,
                seed_deviation=self.running.config.deviation(),
                compute=compute_ratio(self.running, name),
                most=most,
            )
            answer = verdict.answer
        self.running.ledger.append("verdict", {"plan": name, "verdict": plain(verdict)})
        return verdict

    def look(self, split: Split, name: str) -> None:
        """Charge one look of a plan at a split, once."""
        facts, after = self.running.archive.facts(), self.running.archive.seen
        if (split, name) not in facts.looked:
            look(self.running.ledger, split, name, after)

    def level(self, name: str) -> float:
        """Return the share of the campaign's alpha that a confirmation gets; the closing look
        promotes nothing and takes one like it.
        """
        facts, config = self.running.archive.facts(), self.running.config
        planned = config.confirmations(self.arm)
        if self.plan(name).purpose != "candidate":
            return spend(config.objective.alpha, planned, ())
        done = facts.levels[self.arm, self.repeat]
        left = (
            self.shape()[0] - self.plan(name).generation + 1
        )  # a generation done anew after an amendment shares what is left
        return spend(config.objective.alpha, max(planned, len(done) + left), done)

    def ask(self, name: str, change_class: str) -> None:
        """Put a plan to people if its gate waits for them; a canary may follow it."""
        try:
            self.running.gate.authority(name, change_class)
        except Denied:
            return
        except NeedsHuman:
            with contextlib.suppress(Denied):
                if self.running.gate.request(name, change_class):
                    stand_in.probe(self.running, name, change_class)

    def allowed(self, name: str, change_class: str = "") -> bool:
        """Tell whether the gate lets a plan (or its promotion) pass, waiting for people as long as
        the study's patience; a no is recorded.
        """
        what, facts = change_class or self.plan(name).change_class, self.running.archive.facts()
        if name in self.running.gate.refresh().recalled:
            return False
        if name in self.champions() or (not change_class and name in facts.granted):
            return True
        until, first = time.monotonic() + self.running.config.gates.patience_seconds, True
        while True:
            try:
                self.running.gate.authority(name, what)
                return True
            except Denied as error:
                self.running.gate.refuse(name, what, str(error))
                return False
            except NeedsHuman:
                self.ask(name, what)
                if (
                    stand_in.answer(self.running) or first
                    # asking may have hit a cap, another campaign may have got the answer: look
                    # again
                ):
                    first = False
                    continue
                if time.monotonic() >= until or self.running.stopped:
                    raise
                time.sleep(0.2)

    def promote(self, name: str) -> None:
        """Pass the promotion gate; the successor becomes champion."""
        if name not in self.champions():
            self.running.gate.decide(name, "promote")
            self.running.ledger.append(
                "champion",
                {
                    "arm": self.arm,
                    "repeat": self.repeat,
                    "plan": name,
                    "generation": self.plan(name).generation,
                },
            )

    def final(self) -> None:
        """The study's own counted looks at gate: champion against baseline on fresh seeds, also at
        more compute; then the last weights' skill.
        """
        study, last = self.running.config.study, self.champions()[-1]
        for after, (purpose, count) in enumerate(
            (("final", study.final_replicates), ("larger", study.larger_replicates)), 1
        ):
            if count and last != self.champions()[0]:
                best, base = self.plan(last), self.plan(self.champions()[0])
                name = self.record(
                    (study.generations + after, 0),
                    purpose,
                    last,
                    best.recipe,
                    "recipe",
                    best.recipe,
                    best.bundle,
                    (base.bundle, base.recipe),
                    Proposal(hypothesis=LOOKED[purpose], knobs={}),
                    notebook=best.notebook,
                )
                if self.allowed(name):
                    self.admit(name)
                    self.confirm(name)
        if self.arm == "self" and study.skill_proposals:
            for number, cell in enumerate(CELLS):
                skill(self, place(study, number), cell)
        if (self.arm, self.repeat) not in self.running.archive.facts().ended:
            self.running.ledger.append("campaign-end", {"arm": self.arm, "repeat": self.repeat})

    def shape(self) -> tuple[int, int]:
        """Return the most generations of the campaign, and the proposals of each."""
        return self.running.config.study.rounds(self.arm)

    def affords(self, generation: int) -> bool:
        """Tell whether the campaign's planned compute holds the worst case of a generation beside
        all earlier ones, whatever a machine charged.
        """
        study, facts = self.running.config.study, self.running.archive.facts()
        if not study.plan_trainings:
            return True
        spent = sum(
            count for at, count in facts.trainings[self.arm, self.repeat].items() if at < generation
        )
        return spent + study.worst(self.arm) <= study.allowance(self.arm)

    def parent(self) -> str:
        """Return the plan that proposals change: the champion, or the baseline where nothing is
        carried on.
        """
        return self.champions()[-1 if variant(self.arm).carry else 0]

    def admit(self, name: str) -> None:
        """Pass the plan's gate once."""
        if name not in self.running.archive.facts().granted:
            self.running.gate.grant(name)

    def record(
        self,
        where: tuple[int, int],
        purpose: str,
        parent: str,
        parent_recipe: Recipe,
        risk: ChangeClass,
        recipe: Recipe,
        bundle: str,
        reference: tuple[str, Recipe] | None,
        proposal: Proposal,
        **more: Any,
    ) -> str:
        """Record a plan once and return its digest."""
        plan = make(
            self.running.config,
            study=self.running.root,
            version=self.running.gate.rules.version,
            place=(self.arm, self.repeat, *where),
            purpose=purpose,
            parent=parent,
            parent_recipe=parent_recipe,
            risk=risk,
            recipe=recipe,
            bundle=bundle,
            reference=reference,
            proposal=proposal,
            **more,
        )
        name = digest(plan)
        if name not in self.running.archive.facts().plans:
            self.running.ledger.append("plan", {"digest": name, "plan": plain(plan)})
        return name

    def notebook(self, how: str = "") -> str:
        """Return the digest of the notebook as it stands (`how`: shown otherwise than in this arm),
        recorded; empty where the study has none.
        """
        config, facts = self.running.config, self.running.archive.facts()
        if not config.task.notebook:
            return ""
        if (
            self.arm == START
            # its trials learn from rows of chance, so that the share costs and disturbs what it
            # will
        ):
            rng = random.Random(f"{config.study.seed}:{START}")
            rows = [
                [rng.randrange(BUCKETS), *pairs(draw(rng, config.task.baseline, grid(True)))]
                for _ in range(config.study.start_trials)
            ]
        else:
            rows = notebook(tuple(seen(self, trials_of(self), how).values()))
        blob = self.running.sandbox.store.put(save({"trials": np.array(rows, np.uint8)}))
        with _BUNDLES:
            if blob not in facts.shown:
                self.running.ledger.append("notebook", {"digest": blob, "trials": len(rows)})
                self.running.archive.facts()
        return blob

    def kept(self, text: str) -> str:
        """Store a proposer's own text; return its digest, nothing for no text."""
        return self.running.sandbox.store.put(text.encode(errors="surrogatepass")) if text else ""

    def champions(self) -> list[str]:
        """Return the plans that were champion, in order."""
        return self.running.archive.facts().champions.get((self.arm, self.repeat), [])

    def plan(self, name: str) -> Plan:
        """Return a recorded plan."""
        return self.running.archive.facts().plans[name]

    def bundle(self, files: dict[str, bytes]) -> str:
        """Store a bundle."""
        with _BUNDLES:
            return self.running.sandbox.store.put_bundle(files)

    def pristine(self) -> str:
        """Store the bundle that people gave."""
        return self.bundle(
            simulated.SOURCE if simulated.simulated(self.running.config) else source()
        )

    def told(self, best: str | None) -> str:
        """Return one line on the generation for people: rounded feedback, and the verdict."""
        facts = self.running.archive.facts()
        if best is None:
            return "no candidate finished its training"
        scores = facts.scores[best, "predict", 0]
        shown = rounded(self.running.config.objective, scores) if scores else "-"
        verdict = facts.verdicts[best]
        beside = (
            ""
            if verdict.hidden is None
            else (
                f" (by a rule that also accepts {verdict.hidden:.0%} of those that hide a failure"
                " in ten runs)"
            )
        )
        return f"best candidate {best[:8]} has {shown} on feedback; {verdict.answer}{beside}"


def choose(screened: Sequence[tuple[str, Plan, Scores | None]], objective: Objective) -> str | None:
    """Return the digest of the plan to confirm, or None if no screening gave a score."""
    scored = [
        (name, plan, s)
        for name, plan, s in screened
        if s is not None and math.isfinite(primary(objective, s))
    ]
    if not scored:
        return None
    return max(
        scored, key=lambda row: (primary(objective, row[2]), -row[2].parameters, -row[1].index)
    )[0]
