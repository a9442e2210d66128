"""The door `trial` of an agent: it asks to train a candidate, and gets its score on feedback.

A request is a proposal (docs/proposers.md), and becomes a plan of purpose `trial` with the class of
its change. The gate decides on it at once: where people would have to, the door says so and nobody
is asked. The trial is trained and scored once, with a counted look, and charged to the arm. What
comes back is rounded, and told by the Ladder where it is on. A trial never becomes champion.

An attempt of a lost job asks again: a request of the same bytes gets the recorded trial, the first
of them the first, and costs nothing.
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Protocol

from configs.build import parse
from configs.errors import Denied
from configs.records import Plan, Proposal, Purpose
from loop.campaign import Campaign
from loop.measure.jobs import Replicate
from loop.measure.replicate import draw_data, measure
from loop.plan import Draft, Planned
from loop.propose.history import list_trials
from sandbox.canonical import canonical, digest
from sandbox.door.doors import Reply, refuse

PATH = "/v1/trials"
"""Of its requests."""
REQUESTS = 4
"""Requests of an attempt for each trial that it may have, the refused and repeated included."""


class DraftTrial(Protocol):
    """Makes the draft of a proposal at a place (generation, number); raises BadInput for none."""

    def __call__(
        self,
        place: tuple[int, int],
        purpose: Purpose,
        proposal: Proposal,
        /,
        *,
        text: str,
        asked: str,
    ) -> Draft: ...


@dataclass(slots=True, kw_only=True)
class TrialDoor:
    """The door of one attempt of an agent's job."""

    campaign: Campaign
    "the agent's campaign"
    asked: Planned
    "the propose plan of its job"
    draft: DraftTrial
    "makes the draft of a trial"
    count: int = 0
    "requests so far"
    used: Counter[str] = field(default_factory=Counter)
    "digest of a request -> how often it was asked"

    def answer(self, request: Any) -> Reply:
        """Answer a request with the outcome of its trial.

        Raises BadInput for no proposal, and where the gate or the budget says no.
        """
        most = self.campaign.running.config.proposer.trials
        self.count += 1
        if self.count > REQUESTS * most:  # defence: requests of a job
            return refuse(403, f"a generation may ask {REQUESTS * most} times; none is left")
        planned = self._find_recorded(request)
        if planned is None and len(self._recorded()) >= most:  # defence: trials of a generation
            return refuse(403, f"a generation has {most} trials, and all are used")
        planned = planned or self._record(request)
        pass_alone(self.campaign, planned)
        self._measure(planned)
        trial = list_trials(self.campaign)[planned.digest]
        told = {
            "plan": planned.digest,
            "outcome": trial.outcome,
            "score": trial.score,
            "failure": trial.failure,
            "left": most - len(self._recorded()),
        }
        return Reply(status=200, body=json.dumps(told).encode())

    def _recorded(self) -> list[str]:
        """Return the digests of the generation's trials, in order."""
        facts = self.campaign.facts()
        names = facts.proposed[self.campaign.key]
        return [name for name in names if is_trial_of(facts.plans[name], self.asked.digest)]

    def _find_recorded(self, request: Any) -> Planned | None:
        """Return the recorded trial of the same bytes that this attempt has not asked for yet."""
        text = digest(canonical(request))
        plans = self.campaign.facts().plans
        same = [name for name in self._recorded() if plans[name].proposal == text]
        number = self.used[text]
        self.used[text] += 1
        return self.campaign.planned(same[number]) if number < len(same) else None

    def _record(self, request: Any) -> Planned:
        """Record the plan of a new trial; raise BadInput for a request that is no proposal."""
        proposal, text = parse(Proposal, request), canonical(request).decode()
        place = (self.asked.plan.generation, len(self._recorded()))
        asked = self.asked.digest
        draft = self.draft(place, "trial", proposal, text=text, asked=asked)
        return self.campaign.record(draft)

    def _measure(self, planned: Planned) -> None:
        """Train the trial and score it on feedback, with a counted look."""
        running = self.campaign.running
        replicate = Replicate(planned=planned, index=0)
        self.campaign.look("feedback", planned, draw_data(running, replicate))
        measure(running, replicate, "feedback", self.campaign.cpu)


def is_trial_of(plan: Plan, asked: str) -> bool:
    """Tell whether a plan is a trial that the job of a propose plan asked for."""
    return plan.purpose == "trial" and plan.asked == asked


def pass_alone(campaign: Campaign, planned: Planned) -> None:
    """Take the gate's decision on a plan without asking people.

    Raises Denied for a no, NeedsHuman where people would have to decide.
    """
    gate = campaign.running.gate
    if planned.digest in gate.refresh().memory.recalled:
        raise Denied("it or an ancestor was recalled")
    if planned.digest in campaign.facts().granted:
        return
    try:
        if flaw := gate.find_flaw(planned.digest):
            raise Denied(flaw)
        gate.authority(planned.digest, planned.plan.change_class)
    except Denied as error:
        gate.refuse(planned.digest, planned.plan.change_class, str(error))
        raise
    gate.grant(planned.digest)
