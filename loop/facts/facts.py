"""Lineage and population, derived from the ledger by folding its entries. Holds no fact of its
own.
"""

import threading
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from configs.arms import START
from configs.build import parse
from configs.entries import Entry
from configs.records import Grant, JobResult, ModelReply, Plan, Scores, Verdict
from sandbox.decision import body_plan
from sandbox.ledger import Ledger

Slot = tuple[str, str, int]
"""(plan digest, role, index) of a job."""
Campaign = tuple[str, int]
"""(arm, repeat)."""
Place = tuple[str, int, int, int]
"""(arm, repeat, generation, index) of a proposal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invalid:
    """A proposal that became no plan."""

    reason: str
    "why it is invalid"


@dataclass(slots=True)
class Facts:
    """What has happened so far; `fold` adds what is new."""

    plans: dict[str, Plan] = field(default_factory=dict)
    "plan digest -> plan, in order"
    proposed: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    """(arm, repeat) -> digests of its plans, in order; arm `start`: the trials that all arms start
    from
    """
    at: dict[Place, str | Invalid] = field(default_factory=dict)
    "place of a proposal -> digest of its plan, or why it is invalid"
    asks: dict[tuple[str, int, int], str] = field(default_factory=dict)
    "(arm, repeat, generation) -> digest of the propose plan whose jobs write its proposals"
    grants: dict[Slot, Grant] = field(default_factory=dict)
    "(plan, role, index) -> latest grant"
    granted: set[str] = field(default_factory=set)
    "plans that have a grant"
    started: set[str] = field(default_factory=set)
    "nonces of grants that were consumed"
    results: dict[Slot, tuple[JobResult, int]] = field(default_factory=dict)
    "(plan, role, index) -> latest result and its ledger sequence"
    trainings: dict[Campaign, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    "(arm, repeat) -> trainings and propose jobs of each generation"
    answers: dict[tuple[str, int], ModelReply] = field(default_factory=dict)
    "(propose plan, index) -> latest answer of an outside model"
    scores: dict[Slot, Scores | None] = field(default_factory=dict)
    "(plan, predict role, index) -> scores, None for a failed replicate"
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    "plan -> reasons of failed replicates"
    handed: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of the proposals that people handed in, in order"
    taken: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of the texts that became plans or invalid proposals"
    spent: set[Campaign] = field(default_factory=set)
    "campaigns whose recorded proposals are used up"
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    "plan -> verdict"
    levels: dict[Campaign, list[float]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> levels that its confirmations of candidates have used, in order"
    denied: set[tuple[str, str]] = field(default_factory=set)
    "(plan, class) that a reviewer said no to"
    champions: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> plan digests that were champion, in order"
    data: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    "(plan, replicate) -> digest of its training file, ledger sequence"
    shown: dict[str, tuple[str, int]] = field(default_factory=dict)
    "digest of a notebook, or propose plan -> digest of what it is shown, ledger sequence"
    looks: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    "split -> looks at it"
    looked: set[tuple[str, str]] = field(default_factory=set)
    "(split, plan) of every look"
    openings: dict[str, dict[str, Any]] = field(default_factory=dict)
    "plan -> what an opening of sealed showed"
    probes: dict[str, str] = field(default_factory=dict)
    "digest of a canary or its twin -> commitment to which it is"
    ended: set[Campaign] = field(default_factory=set)
    "campaigns that reached their end"
    closed: bool = False
    "whether the study ended"
    lean: bool = False
    """whether grants, results and confirming scores of finished generations are forgotten: a loop
    that goes on asks for none of them
    """
    crowned: set[str] = field(default_factory=set)
    "plans that were champion"
    whole: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "lean: (arm, repeat) -> candidates and propose plans of which nothing is forgotten"

    def fold(self, entry: Entry) -> None:
        """Add one entry."""
        body, kind = entry.body, entry.kind
        if kind == "plan":
            plan = body_plan(body)
            self.plans[body["digest"]] = plan
            self.proposed[plan.arm, plan.repeat].append(body["digest"])
            if self.lean and plan.purpose in ("candidate", "propose"):
                # Measures after the last generation look back, and propose plans begin none.
                if plan.purpose == "candidate":
                    self._forget(plan)
                self.whole[plan.arm, plan.repeat].append(body["digest"])
            if plan.purpose == "propose":
                self.asks[plan.arm, plan.repeat, plan.generation] = body["digest"]
            else:
                self.at[plan.arm, plan.repeat, plan.generation, plan.index] = body["digest"]
                self.taken[plan.arm, plan.repeat] += [plan.proposal] if plan.proposal else []
        elif kind == "invalid":
            place = body["arm"], body["repeat"], body["generation"], body["index"]
            self.at[place] = Invalid(reason=body["reason"])
            self.taken[body["arm"], body["repeat"]] += (
                [body["proposal"]] if body["proposal"] else []
            )
        elif kind == "handed":
            self.handed[body["arm"], body["repeat"]].append(body["digest"])
        elif kind == "used-up":
            self.spent.add((body["arm"], body["repeat"]))
        elif kind == "grant":
            grant = parse(Grant, body["grant"])
            self.grants[grant.plan, grant.role, grant.index] = grant
            self.granted.add(grant.plan)
        elif kind in ("start", "call"):
            self.started.add(body["grant"]["nonce"])
        elif kind == "answer":
            self.answers[body["plan"], body["index"]] = parse(ModelReply, body["answer"])
        elif kind == "job":
            self._count(body)
            self.results[body["plan"], body["role"], body["index"]] = (
                parse(JobResult, body["result"]),
                entry.sequence,
            )
        elif kind == "score":
            found = parse(Scores, body["scores"]) if body["scores"] else None
            self.scores[body["plan"], body["role"], body["index"]] = found
            if found is None:
                self.failures[body["plan"]].append(body["reason"])
        elif kind == "verdict":
            self.verdicts[body["plan"]] = verdict = parse(Verdict, body["verdict"])
            plan = self.plans[body["plan"]]
            if plan.purpose == "candidate":
                self.levels[plan.arm, plan.repeat].append(verdict.level)
        elif kind == "decision":
            if not body["allow"]:
                self.denied.add((body["plan"], body["class"]))
        elif kind == "champion":
            self.champions[body["arm"], body["repeat"]].append(body["plan"])
            self.crowned.add(body["plan"])
        elif kind == "recall":
            for names in self.champions.values():
                names[:] = [name for name in names if name not in body["plans"]]
        elif kind == "amended":
            self._reopen()
        elif kind == "data":
            self.data[body["plan"], body["index"]] = (body["digest"], entry.sequence)
        elif kind in ("notebook", "history"):
            self.shown[body["digest" if kind == "notebook" else "plan"]] = (
                body["digest"],
                entry.sequence,
            )
        elif kind == "look":
            self.looks[body["split"]] += 1
            self.looked.add((body["split"], body["plan"]))
        elif kind == "opening":
            self.openings[body["plan"]] = body
        elif kind == "probe":
            self.probes[body["digest"]] = body["commitment"]
        elif kind == "campaign-end":
            self.ended.add((body["arm"], body["repeat"]))
        elif kind == "end":
            self.closed = True

    def _count(self, body: dict[str, Any]) -> None:
        plan = self.plans[body["plan"]]
        counts = body["role"] in ("train", "champion-train", "propose") and plan.purpose in (
            "baseline",
            "candidate",
            "propose",
        )
        if counts and (body["plan"], body["role"], body["index"]) not in self.results:
            self.trainings[plan.arm, plan.repeat][plan.generation] += 1

    def _forget(self, plan: Plan) -> None:
        """Forget what only the generations before a plan's needed; screening scores, failures and
        the weights of champions stay.
        """
        mine = self.whole[plan.arm, plan.repeat]
        for name in [name for name in mine if self.plans[name].generation < plan.generation]:
            mine.remove(name)
            for job in self.plans[name].jobs:
                for index in range(job.count):
                    slot = (name, job.role, index)
                    if grant := self.grants.pop(slot, None):
                        self.started.discard(grant.nonce)
                    first = (job.role, index) == ("train", 0)
                    if not (
                        first
                        and (
                            name in self.crowned
                            or (slot in self.results and self.results[slot][0].status != "ok")
                        )
                    ):
                        self.results.pop(slot, None)
                    if (job.role, index) != ("predict", 0):
                        self.scores.pop(slot, None)
                    self.data.pop((name, index), None)

    def _reopen(self) -> None:
        """After an amendment every campaign does its unfinished generation anew: old plans were for
        another study root.
        """
        last: dict[Campaign, int] = {}
        for plan in self.plans.values():
            last[plan.arm, plan.repeat] = max(plan.generation, last.get((plan.arm, plan.repeat), 0))
        kept = {name for names in self.champions.values() for name in names}
        for place, name in list(self.at.items()):
            if place[2] == last.get(place[:2]) and name not in kept and place[:2] not in self.ended:
                del self.at[place]
                self.asks.pop(place[:3], None)

    def trials(self, campaign: Campaign) -> dict[str, Plan]:
        """Return the trials of the start and a campaign's baseline and candidates by digest, in
        order.
        """
        first = [
            name
            for key in sorted(key for key in list(self.proposed) if key[0] == START)
            for name in list(self.proposed[key])
        ]
        own = [
            name
            for name in list(self.proposed.get(campaign, ()))
            if self.plans[name].purpose in ("baseline", "candidate")
        ]
        return {name: self.plans[name] for name in dict.fromkeys((*first, *own))}


def fold_entries(entries: Iterable[Entry]) -> Facts:
    """Return the facts of entries that are at hand: a whole ledger is then read once."""
    found = Facts()
    for entry in entries:
        found.fold(entry)
    return found


class FactsReader:
    """Facts that follow a ledger; safe to read from several threads."""

    def __init__(self, ledger: Ledger, lean: bool = False) -> None:
        self._ledger, self._facts, self._lock = ledger, Facts(lean=lean), threading.Lock()
        self.seen = 0
        "ledger sequence to which the facts are folded"

    def facts(self) -> Facts:
        """Return the facts, brought up to the ledger's head."""
        with self._lock:
            for entry in self._ledger.since(self.seen):
                self._facts.fold(entry)
                self.seen = entry.sequence
            return self._facts
