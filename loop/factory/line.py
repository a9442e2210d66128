"""The line of a factory: a campaign of an arm such as lights_out, period by period.

A period begins with a change of the live service. It passes the gate of class patch, then the
layers of its arm; then it is released, and real clients meet it until the period ends. Where
satisfaction falls the service is taken back. Nobody waits by a clock. Begin with `run_line`.
"""

from typing import Literal

from configs.arms import Layer, variant
from configs.entries import ChangeEntry, ReleaseEntry, RollbackEntry, ServedEntry
from configs.errors import BadInput, NoBaseline
from configs.records import Input, Proposal
from configs.settings.factory import Fate, What
from loop.campaign import Act, Campaign, passes_gate, request_decision
from loop.factory.changes import draw_changes, list_held, read_families, review
from loop.factory.serve import (
    Shop,
    is_satisfied,
    list_hours,
    name_job,
    read_bank,
    read_files,
    serve,
)
from loop.facts.places import Invalid
from loop.measure.replicate import PREDICTIONS, WEIGHTS
from loop.plan import Draft, Planned, apply_proposal

FIRST = "the service that people gave"
TOLD: dict[Fate, str] = {
    "edits": "its edits do not fit the live service",
    "gate": "denied by the gate",
    "tests": "stopped by its tests",
    "review": "stopped by its reviewer",
    "scenarios": "stopped by scenarios",
    "release": "its release was denied",
    "canary": "released, and taken back by its canary",
    "watch": "released, and taken back by the watch",
    "live": "live",
}
"""Fate of a change -> the same in words."""


def run_line(campaign: Campaign) -> None:
    """Run the periods of a campaign; finished steps stay as they are."""
    line = Line(campaign)
    for period in range(campaign.running.config.study.generations + 1):
        line.run_period(period)
        campaign.running.checkpoint()


def open_shop(campaign: Campaign) -> Shop:
    """Return what is fixed for the clients of a campaign."""
    running, facts = campaign.running, campaign.facts()
    config, items = running.config, running.items
    predicted, _ = facts.results[campaign.champions()[0].digest, "predict", 0]
    questions, _ = items.questions(campaign.repeat)["feedback"]
    tests, scenarios = read_files(config, running.store)
    secret = items.of(campaign.repeat).secret
    families = read_families(config, running.store)
    return Shop(
        config=config,
        secret=secret,
        bank=read_bank(running.store, questions, predicted.outputs[PREDICTIONS]),
        tests=tests,
        scenarios=scenarios,
        drawn=tuple(draw_changes(config, families, secret)),
    )


class Line:
    """A campaign's line at work."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign, self.shop = campaign, open_shop(campaign)
        self.layers: tuple[Layer, ...] = variant(campaign.arm).line
        base = campaign.champions()[0]
        result, sequence = campaign.facts().results[base.digest, "train", 0]
        self.weights = Input(name=WEIGHTS, digest=result.outputs[WEIGHTS], sequence=sequence)

    def run_period(self, period: int) -> None:
        """Take a change through the layers, then let real clients come until the period ends."""
        if period and len(self.list_changes()) >= period:
            return
        planned = self.make_change(period)
        before = planned.plan.parent if planned else self.find_live()
        stopped: Fate | Literal[""] = "edits"
        if planned:
            stopped = self.find_obstacle(planned, period)
            if not stopped:
                self.release(planned, period)
        if not period and stopped:
            raise NoBaseline(f"{FIRST} was stopped ({stopped}), so the campaign ends")
        fate = self.meet_clients(None if stopped else planned, before, period)
        if period:
            self.tell(planned, period, stopped or fate)

    def list_changes(self) -> list[ChangeEntry]:
        """Return the changes of the finished periods."""
        return self.campaign.facts().line.changes.get(self.campaign.key, [])

    def tell(self, planned: Planned | None, period: int, fate: Fate) -> None:
        """Record what became of the change of a period."""
        drawn, campaign = self.shop.drawn[period - 1], self.campaign
        entry = ChangeEntry(
            arm=campaign.arm,
            repeat=campaign.repeat,
            period=period,
            plan=planned.digest if planned else "",
            family=drawn.family.family,
            planted=drawn.planted,
            fate=fate,
        )
        campaign.running.ledger.append(entry)
        campaign.say(f"{campaign.arm}, period {period}: {entry.family}; {TOLD[fate]}")

    def find_live(self) -> str:
        """Return the live service."""
        recalled = self.campaign.running.gate.refresh().memory.recalled
        return self.campaign.facts().line.live(self.campaign.key, recalled)

    def make_change(self, period: int) -> Planned | None:
        """Record the change of a period once; None where its edits do not fit the live service."""
        campaign, store = self.campaign, self.campaign.running.store
        index = 0 if period else 1  # the baseline has the first place of generation 0
        recorded = campaign.facts().at.get((*campaign.key, period, index))
        if recorded is not None:
            return None if isinstance(recorded, Invalid) else campaign.planned(recorded)
        base = campaign.planned(self.find_live()) if period else campaign.champions()[0]
        files, proposal = store.get_bundle(base.plan.bundle), Proposal(hypothesis=FIRST, knobs={})
        if period:
            proposal = self.shop.drawn[period - 1].proposal
            try:
                files = apply_proposal(base.plan.recipe, files, proposal).files
            except BadInput as error:
                campaign.record_invalid(period, index, error, "")
                return None
        draft = Draft(
            generation=period,
            index=index,
            purpose="service",
            parent=base.digest,
            change_class="patch",
            recipe=base.plan.recipe,
            bundle=campaign.store_bundle(files),
            proposal=proposal,
        )
        return campaign.record(draft)

    def find_obstacle(self, planned: Planned, period: int) -> Fate | Literal[""]:
        """Return the layer that stops a change before its release, or an empty string."""
        campaign = self.campaign
        request_decision(campaign, planned)
        if not passes_gate(campaign, planned):
            return "gate"
        if self.serve(planned, "tests", period).unmet:
            return "tests"
        reviewed = {"review", "weak review"} & set(self.layers)
        if period and reviewed and not self.is_allowed(planned):
            return "review"
        if "scenarios" in self.layers and not self.is_twin_satisfied(planned, period):
            return "scenarios"
        return "" if passes_gate(campaign, planned, "release") else "release"

    def is_allowed(self, planned: Planned) -> bool:
        """Return the answer of the simulated reviewer, which is recorded once."""
        campaign, name = self.campaign, planned.digest
        if name not in campaign.facts().line.reviews:
            config, drawn = self.shop.config, self.shop.drawn[planned.plan.generation - 1]
            entry = review(config, self.shop.secret, name, planned.plan, drawn)
            campaign.running.ledger.append(entry)
        return campaign.facts().line.reviews[name].allow

    def is_twin_satisfied(self, planned: Planned, period: int) -> bool:
        """Play people's scenarios on a twin, up to the restart and after it."""
        jobs = [self.serve(planned, "twin", period)]
        if is_satisfied(self.shop.config, *jobs):
            jobs.append(self.serve(planned, "again", period))
        return is_satisfied(self.shop.config, *jobs)

    def meet_clients(self, new: Planned | None, before: str, period: int) -> Fate:
        """Let the real clients of a period come; return what became of a new service by its end."""
        campaign, config = self.campaign, self.shop.config
        first, live = new is not None and period > 0, new or campaign.planned(before)
        fate: Fate = "live"
        if first and "canary" in self.layers:
            canary = self.serve(live, "canary", period)
            self.serve(campaign.planned(before), "beside", period)
            if not is_satisfied(config, canary) and self.roll_back(live, period):
                fate, live = "canary", campaign.planned(before)
        job = self.serve(live, "live", period, first=first)
        watched = "watch" in self.layers and period > 0
        if watched and not is_satisfied(config, job) and self.roll_back(live, period):
            return "watch" if fate == "live" else fate
        return fate

    def serve(
        self, planned: Planned, what: What, period: int, *, first: bool = False
    ) -> ServedEntry:
        """Run a serve job once; return its record."""
        held = list_held(self.campaign.facts().plans, planned.digest, self.shop.drawn)
        hours = list_hours(self.shop, self.layers, held, what, period, first)
        at = name_job(planned.digest, what, period)
        return serve(self.campaign, planned, self.weights, hours, self.shop, at)

    def release(self, planned: Planned, period: int) -> None:
        """Let a service go live, once; the gate's yes stands in the same transaction."""
        gate, arm, repeat = self.campaign.running.gate, self.campaign.arm, self.campaign.repeat
        if self.is_done(planned, "release"):
            return
        with self.campaign.running.ledger.transaction() as txn:
            gate.refresh(txn)
            by = gate.decide_within(txn, planned.digest, "release").by
            txn.append(
                ReleaseEntry(arm=arm, repeat=repeat, period=period, plan=planned.digest, by=by)
            )

    def roll_back(self, planned: Planned, period: int) -> bool:
        """Take a live service back, once, if a mandate covers it; tell whether it was.

        Raises NeedsHuman where people must decide. The first service has nothing before it.
        """
        campaign, name = self.campaign, planned.digest
        if self.is_done(planned, "rollback"):
            return True
        gate, memory = campaign.running.gate, campaign.running.gate.refresh().memory
        line = campaign.facts().line
        to = line.live(campaign.key, {name, *memory.recalled})
        if not to or not passes_gate(campaign, planned, "rollback"):
            return False
        with campaign.running.ledger.transaction() as txn:
            gate.refresh(txn)
            by = gate.decide_within(txn, name, "rollback").by
            txn.append(
                RollbackEntry(
                    arm=campaign.arm,
                    repeat=campaign.repeat,
                    period=period,
                    plan=name,
                    to=to,
                    by=by,
                )
            )
        return True

    def is_done(self, planned: Planned, act: Act) -> bool:
        """Tell whether a service went live, or was taken back."""
        return planned.digest in self.campaign.facts().line.list_done(act, self.campaign.key)
