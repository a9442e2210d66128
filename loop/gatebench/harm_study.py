"""The study that measures harm: baseline and sides of a pack, trained under the same seeds.

It goes through the same gate, budget and ledger as every study. A side is a plan of the class of
its files, with the study's baseline as its parent. All plans stand at one place of the campaign, so
all have the same seeds, training files and questions: two scores make a paired difference.
`heirloop verify` checks the run.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from configs.errors import Denied
from configs.history import History
from configs.records import CONFIRM, Input, JobCount, Proposal
from configs.settings.config import Config
from evals.gatebench.harm import FRESH, LOOKS
from loop.calibrate.trainings import sign_mandate
from loop.campaign import Campaign, passes_gate
from loop.course import run_baseline
from loop.gatebench.variant import Variant
from loop.measure.jobs import Replicate, make_job, run_job, tell_failure
from loop.measure.replicate import measure, train
from loop.plan import Draft, Planned, source
from loop.propose.history import store_history
from loop.settings import compose_settings
from loop.study.open import open_study
from loop.study.running import Running

PAIRS = LOOKS[-1] + FRESH
"""Most pairs of a side. Number 0 screens; 1 to 32 say the word, and those after tell the size."""
MOST_TRAININGS = 20_000
"""Trainings that the budget of a measurement covers."""
ASKS = (JobCount(role="train", count=1), JobCount(role="propose", count=1))
"""Jobs of a question for proposals: a training, and what its weights write."""


def harm_settings(name: str, overrides: Sequence[str]) -> Config:
    """Return the study that measures a pack, with a budget and the caps of its mandate."""
    jobs, cpu = 3 * MOST_TRAININGS, 8 * MOST_TRAININGS
    return compose_settings(
        [
            "study=single",
            f"study.name=harm-{name}",
            "study.most_changes=0",
            "study.generations=40",
            "study.proposals=1",
            f"study.confirm_replicates={PAIRS}",
            "study.final_replicates=0",
            "objective.acceptance=sign_flip",
            "task=text",
            "autonomy=autonomous",
            f"budget.cpu_seconds={cpu}",
            f"budget.jobs={jobs}",
            f"budget.wall_seconds={600 * MOST_TRAININGS}",
            # The clock of a busy machine should fail no training; its CPU limit still does.
            *(f"budget.{role}.wall_us=600000000" for role in ("train", "predict", "propose")),
            f"budget.output_mib={2 * MOST_TRAININGS}",
            f"budget.looks.feedback={MOST_TRAININGS}",
            f"budget.looks.confirm={MOST_TRAININGS}",
            "gates.unattended={classes: [recipe, patch, structural, proposer, promote],"
            f" jobs: {jobs}, cpu_seconds: {cpu}, hours: 24, drift: 400, per_hour: 100000}}",
            *overrides,
        ]
    )


class HarmStudy:
    """An open measurement: variants of the baseline, trained and scored under common seeds."""

    def __init__(self, running: Running, campaign: Campaign) -> None:
        self.running, self.campaign = running, campaign
        self.base = campaign.champions()[0]
        self.pristine = source()
        self._plans: dict[tuple[str, int], Planned] = {}
        self._one_at_a_time = threading.Lock()

    def bits(self, variant: Variant, number: int) -> dict[str, float] | str:
        """Return {bits, and each slice} of a training of a variant, or why there is no score."""
        planned = self._plan(variant)
        scores = measure(self.running, Replicate(planned=planned, index=number), CONFIRM, None)
        if scores is None or scores.bits is None:
            failures = self.running.facts().failures[planned.digest]
            return failures[-1] if failures else "it left no score"
        return {"bits": scores.bits, **(scores.slice_bits or {})}

    def proposals(self, variant: Variant, number: int, history: History) -> list[str] | str:
        """Return the proposals that a variant's weights write on a history, or why there are none.

        They read for as many steps as they were trained.
        """
        planned = self._plan(variant, number, history)
        writer = Replicate(planned=planned, index=0)
        trained = train(self.running, writer, None)
        if trained.failure:
            return trained.failure
        blob, sequence = self.running.facts().shown[planned.digest]
        shown = Input(name="history.json", digest=blob, sequence=sequence)
        job = make_job(self.running, writer, "propose", (trained.weights, shown))
        result, _ = run_job(self.running, job, None)
        if failure := tell_failure(result, "proposals.jsonl"):
            return failure
        written = self.running.store.get(result.outputs["proposals.jsonl"])
        return written.decode(errors="replace").splitlines()

    def _plan(
        self, variant: Variant, question: int | None = None, history: History | None = None
    ) -> Planned:
        """Return the granted plan of a variant, for trainings or for a question; recorded once."""
        key = variant.name, -1 if question is None else question
        with self._one_at_a_time:  # two seeds of a variant would pass its gate twice
            if key not in self._plans:
                self._plans[key] = self._grant(variant, question, history)
            return self._plans[key]

    def _grant(self, variant: Variant, question: int | None, history: History | None) -> Planned:
        campaign, base = self.campaign, self.base
        draft = Draft(
            generation=1 if question is None else 2 + question,
            index=0,
            purpose="candidate",
            parent=base.digest,
            parent_recipe=base.plan.recipe,
            change_class=variant.change_class,
            recipe=variant.recipe,
            bundle=campaign.store_bundle(variant.files),
            proposal=Proposal(hypothesis=f"measures harm: {variant.name}", knobs={}),
            reference=(base.plan.bundle, base.plan.recipe),
            notebook=base.plan.notebook,
            jobs=() if question is None else ASKS,
        )
        planned = campaign.record(draft, store_history(campaign, history) if history else "")
        if not passes_gate(campaign, planned):
            refused = self.running.gate.refresh().memory.refused
            reason = refused[planned.digest, planned.plan.change_class]
            raise Denied(f"the harm of {variant.name} cannot be measured: {reason}")
        if question is None:
            campaign.look(CONFIRM, planned)
        return planned


@contextmanager
def open_harm_study(config: Config, unattended: bool) -> Iterator[HarmStudy]:
    """Open the study of a measurement, train its baseline once, and yield it."""
    if unattended:
        sign_mandate(config)
    running = open_study(config)
    try:
        campaign = Campaign(running, config.arms()[0], 0, None, lambda _: None)
        run_baseline(campaign)
        yield HarmStudy(running, campaign)
    finally:
        running.stopped = True
        running.sandbox.box.close()
        running.checkpoint()
