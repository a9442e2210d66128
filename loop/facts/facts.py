"""The ledger folded into facts: lineage, population, results. It holds no fact of its own.

Example: `fold_entries(entries).champions["self", 0]` are the champions of a campaign.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from configs.arms import START
from configs.entries import (
    AmendedEntry,
    AnswerEntry,
    CampaignEndEntry,
    ChampionEntry,
    DataEntry,
    DecisionEntry,
    EndEntry,
    Entry,
    FaultEntry,
    HandedEntry,
    HistoryEntry,
    InvalidEntry,
    JobEntry,
    LookEntry,
    NotebookEntry,
    OpeningEntry,
    PlanEntry,
    ProbeEntry,
    ProgramEntry,
    RecallEntry,
    ScoreEntry,
    SelectionEntry,
    StudyEntry,
    UsedUpEntry,
    VerdictEntry,
)
from configs.records import CONFIRM, JobResult, ModelReply, Plan, Scores, Verdict, name_split
from loop.facts.lean import forget_before
from loop.facts.places import (
    OF_LINE,
    SELECTING,
    Campaign,
    Invalid,
    Line,
    Place,
    Selecting,
    Slot,
    is_training,
)


@dataclass(slots=True)
class Facts:
    """The facts of a ledger so far; `fold` adds an entry."""

    format: int = 1
    "format of the ledger"
    plans: dict[str, Plan] = field(default_factory=dict)
    "plan digest -> plan, in order"
    proposed: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of its plans, in order; arm `start` holds the trials before all arms"
    at: dict[Place, str | Invalid] = field(default_factory=dict)
    "place of a proposal -> digest of its plan, or the reason against it"
    asks: dict[tuple[str, int, int], str] = field(default_factory=dict)
    "(arm, repeat, generation) -> digest of the propose plan; its jobs write the proposals"
    further_asks: dict[Place, str] = field(default_factory=dict)
    "(arm, repeat, generation, proposer) -> the propose plan of each further proposer at once"
    selecting: Selecting = field(default_factory=Selecting)
    "looks at proposing skill by which champions are chosen; no history holds any of them"
    granted: set[str] = field(default_factory=set)
    "plans that the gate let pass"
    results: dict[Slot, tuple[JobResult, int]] = field(default_factory=dict)
    "(plan, role, index) -> latest result and its ledger sequence"
    trainings: dict[Campaign, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    "(arm, repeat) -> trainings and propose jobs of each generation"
    answers: dict[tuple[str, int], ModelReply] = field(default_factory=dict)
    "(propose plan, index) -> latest reply of an outside model"
    scores: dict[Slot, Scores | None] = field(default_factory=dict)
    "(plan, predict role, index) -> scores, None for a failed replicate"
    failures: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    "plan -> reasons of failed replicates"
    handed: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of proposals handed in by people, in order"
    taken: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of the texts behind plans and invalid proposals"
    spent: dict[Campaign, str] = field(default_factory=dict)
    "campaigns without further recorded proposals -> reason"
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    "plan -> verdict"
    levels: dict[Campaign, list[float]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> levels used by its confirmations of candidates, in order"
    denied: dict[tuple[str, str], str] = field(default_factory=dict)
    "(plan, class) denied by a reviewer, a rule or the study's own gate -> reason"
    champions: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "(arm, repeat) -> digests of its champions, in order"
    data: dict[tuple[str, int], tuple[str, int]] = field(default_factory=dict)
    "(plan, replicate) -> digest of its training file, ledger sequence"
    shown: dict[str, tuple[str, int]] = field(default_factory=dict)
    "digest of a notebook, or propose plan -> digest of its history, ledger sequence"
    looks: dict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    "(repeat, split) -> looks at it"
    looked: set[tuple[str, str]] = field(default_factory=set)
    "(split, plan) of every look"
    openings: dict[str, OpeningEntry] = field(default_factory=dict)
    "unseal plan -> the opening of sealed"
    faults: set[FaultEntry] = field(default_factory=set)
    "faults of production that were drawn"
    line: Line = field(default_factory=Line)
    "what happened on factory lines"
    probes: dict[str, str] = field(default_factory=dict)
    "digest of a canary or its twin -> commitment to its part"
    ended: set[Campaign] = field(default_factory=set)
    "campaigns at their end"
    closed: bool = False
    "whether the study ended"
    lean: bool = False
    "whether results and confirming scores of finished generations are forgotten, as a loop may"
    crowned: set[str] = field(default_factory=set)
    "plans with a time as champion"
    whole: dict[Campaign, list[str]] = field(default_factory=lambda: defaultdict(list))
    "lean: (arm, repeat) -> candidates and propose plans with nothing forgotten"

    def fold(self, entry: Entry) -> None:
        """Add one entry; most kinds change no fact."""
        if fold := _FOLDS.get(entry.kind):
            fold(self, entry.fact, entry.sequence)

    def _fold_study(self, fact: StudyEntry, sequence: int) -> None:
        self.format = fact.format

    def _fold_plan(self, fact: PlanEntry, sequence: int) -> None:
        plan, campaign = fact.plan, (fact.plan.arm, fact.plan.repeat)
        self.plans[fact.digest] = plan
        self.proposed[campaign].append(fact.digest)
        if self.lean and plan.purpose in ("candidate", "trial", "propose", "select"):
            # Measures after the last generation look back, and propose plans begin none.
            if plan.purpose == "candidate":
                forget_before(self, plan)
            self.whole[campaign].append(fact.digest)
        if plan.purpose == "select" or (plan.purpose == "propose" and plan.index >= SELECTING):
            self.selecting.add(plan, fact.digest)
            return
        if plan.purpose == "propose":
            if plan.index:
                self.further_asks[*campaign, plan.generation, plan.index] = fact.digest
            else:
                self.asks[*campaign, plan.generation] = fact.digest
            return
        if plan.purpose != "trial":
            self.at[*campaign, plan.generation, plan.index] = fact.digest
        if plan.proposal:
            self.taken[campaign].append(plan.proposal)

    def _fold_invalid(self, fact: InvalidEntry, sequence: int) -> None:
        campaign = fact.arm, fact.repeat
        at = self.selecting.at if fact.index >= SELECTING else self.at
        at[*campaign, fact.generation, fact.index] = Invalid(reason=fact.reason)
        if fact.proposal:
            self.taken[campaign].append(fact.proposal)

    def _fold_handed(self, fact: HandedEntry, sequence: int) -> None:
        self.handed[fact.arm, fact.repeat].append(fact.digest)

    def _fold_used_up(self, fact: UsedUpEntry, sequence: int) -> None:
        self.spent[fact.arm, fact.repeat] = fact.reason

    def _fold_answer(self, fact: AnswerEntry, sequence: int) -> None:
        self.answers[fact.plan, fact.index] = fact.answer

    def _fold_job(self, fact: JobEntry, sequence: int) -> None:
        slot, plan = (fact.plan, fact.role, fact.index), self.plans[fact.plan]
        if slot not in self.results and is_training(fact.role, plan):
            self.trainings[plan.arm, plan.repeat][plan.generation] += 1
        self.results[slot] = fact.result, sequence

    def _fold_score(self, fact: ScoreEntry, sequence: int) -> None:
        scores = fact.scores
        if scores is not None and scores.split == "gate":
            scores = replace(scores, split=CONFIRM)
        self.scores[fact.plan, fact.role, fact.index] = scores
        if fact.scores is None:
            self.failures[fact.plan].append(fact.reason)

    def _fold_verdict(self, fact: VerdictEntry, sequence: int) -> None:
        self.verdicts[fact.plan] = fact.verdict
        plan = self.plans[fact.plan]
        if plan.purpose == "candidate":
            self.levels[plan.arm, plan.repeat].append(fact.verdict.level)

    def _fold_selection(self, fact: SelectionEntry | ProgramEntry, sequence: int) -> None:
        self.selecting.note(fact)

    def _fold_decision(self, fact: DecisionEntry, sequence: int) -> None:
        if not fact.allow:
            self.denied[fact.plan, fact.change_class] = fact.reason
        elif fact.plan in self.plans and self.plans[fact.plan].change_class == fact.change_class:
            self.granted.add(fact.plan)

    def _fold_champion(self, fact: ChampionEntry, sequence: int) -> None:
        self.champions[fact.arm, fact.repeat].append(fact.plan)
        self.crowned.add(fact.plan)

    def _fold_recall(self, fact: RecallEntry, sequence: int) -> None:
        for champions in self.champions.values():
            champions[:] = [digest for digest in champions if digest not in fact.plans]

    def _fold_amended(self, fact: AmendedEntry, sequence: int) -> None:
        """Reopen the unfinished generation of every campaign: its plans were for another root."""
        last: dict[Campaign, int] = {}
        for plan in self.plans.values():
            campaign = plan.arm, plan.repeat
            last[campaign] = max(plan.generation, last.get(campaign, 0))
        champions = {digest for digests in self.champions.values() for digest in digests}
        for place, proposal in self.at.copy().items():
            campaign = place[:2]
            unfinished = place[2] == last.get(campaign) and campaign not in self.ended
            if unfinished and proposal not in champions:
                del self.at[place]
                self.asks.pop(place[:3], None)
        self.selecting.reopen(last, self.ended)
        for place in list(self.further_asks):
            if place[2] == last.get(place[:2]) and place[:2] not in self.ended:
                del self.further_asks[place]

    def _fold_data(self, fact: DataEntry, sequence: int) -> None:
        self.data[fact.plan, fact.index] = fact.digest, sequence

    def _fold_notebook(self, fact: NotebookEntry, sequence: int) -> None:
        self.shown[fact.digest] = fact.digest, sequence

    def _fold_history(self, fact: HistoryEntry, sequence: int) -> None:
        self.shown[fact.plan] = fact.digest, sequence

    def _fold_look(self, fact: LookEntry, sequence: int) -> None:
        split = name_split(fact.split)
        if plan := self.plans.get(fact.plan):
            self.looks[plan.repeat, split] += 1
        self.looked.add((split, fact.plan))

    def _fold_opening(self, fact: OpeningEntry, sequence: int) -> None:
        self.openings[fact.plan] = fact

    def _fold_probe(self, fact: ProbeEntry, sequence: int) -> None:
        self.probes[fact.digest] = fact.commitment

    def _fold_campaign_end(self, fact: CampaignEndEntry, sequence: int) -> None:
        self.ended.add((fact.arm, fact.repeat))

    def _fold_end(self, fact: EndEntry, sequence: int) -> None:
        self.closed = True

    def trials(self, campaign: Campaign) -> dict[str, Plan]:
        """Return digest -> plan of the start's trials by number, then of a campaign's own in order.

        Its own are the baseline, the candidates and an agent's trials. The start's trials are
        recorded in the order in which they happen to begin.
        """
        digests = list[str]()
        for key in sorted(key for key in list(self.proposed) if key[0] == START):
            # In format 1 every trial of the start is a repeat, and all arms share them all.
            if self.format == 1 or key == (START, campaign[1]):
                digests += sorted(self.proposed[key], key=lambda name: self.plans[name].index)
        for digest in list(self.proposed.get(campaign, ())):
            if self.plans[digest].purpose in ("baseline", "candidate", "trial"):
                digests.append(digest)
        return {digest: self.plans[digest] for digest in dict.fromkeys(digests)}


_FOLDS: dict[str, Callable[[Facts, Any, int], None]] = {
    StudyEntry.kind: Facts._fold_study,
    PlanEntry.kind: Facts._fold_plan,
    InvalidEntry.kind: Facts._fold_invalid,
    HandedEntry.kind: Facts._fold_handed,
    UsedUpEntry.kind: Facts._fold_used_up,
    AnswerEntry.kind: Facts._fold_answer,
    JobEntry.kind: Facts._fold_job,
    ScoreEntry.kind: Facts._fold_score,
    VerdictEntry.kind: Facts._fold_verdict,
    SelectionEntry.kind: Facts._fold_selection,
    ProgramEntry.kind: Facts._fold_selection,
    DecisionEntry.kind: Facts._fold_decision,
    ChampionEntry.kind: Facts._fold_champion,
    RecallEntry.kind: Facts._fold_recall,
    AmendedEntry.kind: Facts._fold_amended,
    DataEntry.kind: Facts._fold_data,
    NotebookEntry.kind: Facts._fold_notebook,
    HistoryEntry.kind: Facts._fold_history,
    LookEntry.kind: Facts._fold_look,
    OpeningEntry.kind: Facts._fold_opening,
    ProbeEntry.kind: Facts._fold_probe,
    FaultEntry.kind: lambda facts, fact, _: facts.faults.add(fact),
    **dict.fromkeys(OF_LINE, lambda facts, fact, _: facts.line.note(fact)),
    CampaignEndEntry.kind: Facts._fold_campaign_end,
    EndEntry.kind: Facts._fold_end,
}
"""Kind of entry -> the method for it; other kinds are not even decoded."""


def fold_entries(entries: Iterable[Entry]) -> Facts:
    """Return the facts of entries at hand."""
    facts = Facts()
    for entry in entries:
        facts.fold(entry)
    return facts
