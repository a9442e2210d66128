"""Which ledger entries does a number rest on? Named sets, made in a single pass over each ledger.

The list of cited entries stays small, however long the ledger is.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from operator import attrgetter

from configs.entries import (
    ChangeEntry,
    DecisionEntry,
    Entry,
    InvalidEntry,
    PlanEntry,
    ReleaseEntry,
    ReviewEntry,
    RollbackEntry,
    ScoreEntry,
    ServedEntry,
    VerdictEntry,
)
from loop.instruments.run import Run
from loop.report.shape import Cited
from sandbox.charges import SETTLING, settlement

Place = tuple[int, int]
"""Number of the run, and sequence of the entry."""
LISTED = 24
"""Entries of a set that are listed with kind and hash; a larger set stands as spans."""
SPANS = 400
"""Spans of a set; beyond it one span encloses all."""
WORDS: dict[str, str] = {
    "study": "study root and amendments",
    "mandate": "mandates",
    "settle": "settled charges",
    "job": "jobs",
    "session": "sessions",
    "look": "looks",
    "opening": "openings of sealed",
    "decision": "decisions",
    "approval": "signed decisions",
    "incident": "incidents and their amendments",
    "control": "orders, pauses and recalls",
    "drill": "drills",
    "notice": "notices and acknowledgements",
    "probe": "canaries and twins",
    "reviewed": "reviews of claims",
    "account": "accounts and limits",
    "end": "ends of campaigns and study",
    "warning": "readings of the warning sign",
    "accord": "accords and their beats",
}
"""Set of entries -> its name in words."""
KINDS: dict[str, str] = {
    "study": "study",
    "amended": "study",
    "mandate": "mandate",
    "job": "job",
    "session": "session",
    "look": "look",
    "opening": "opening",
    "decision": "decision",
    "approval": "approval",
    "incident": "incident",
    "incident-amended": "incident",
    "control": "control",
    "pause": "control",
    "recall": "control",
    "drill": "drill",
    "notice": "notice",
    "acknowledgement": "notice",
    "probe": "probe",
    "reviewed": "reviewed",
    "reviews-end": "reviewed",
    "account": "account",
    "limit": "account",
    "campaign-end": "end",
    "end": "end",
    "warning": "warning",
    "accord": "accord",
    "beat": "accord",
}
"""Kind of entry -> its set."""
OF_ARM: dict[str, str] = {
    "plan": "plans",
    "invalid": "plans",
    "score": "scores",
    "verdict": "verdicts",
    "decision": "decisions",
    "served": "services",
    "review": "services",
    "release": "services",
    "rollback": "services",
    "change": "services",
}
"""Kind of entry -> the set of its arm."""


class Index:
    """The entries of the runs, by the numbers that rest on them.

    `cited` holds the sets in use.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, self.cited = runs, dict[str, Cited]()
        self._sets: dict[str, list[Place]] = {}
        self._plans: dict[str, list[Place]] = {}
        for number, run in enumerate(runs):
            for entry in run.entries:
                self._add(number, run, entry)

    def _add(self, number: int, run: Run, entry: Entry) -> None:
        place = (number, entry.sequence)
        if entry.kind in SETTLING and settlement(entry.fact):
            _add_place(self._sets, "settle", place)
        if entry.kind in KINDS:
            _add_place(self._sets, KINDS[entry.kind], place)
        if entry.kind not in OF_ARM:
            return
        name, arm = _subject(entry)
        plan = run.facts.plans.get(name)
        if plan:
            arm = plan.arm
            _add_place(self._plans, f"{number}:{name}", place)
        if arm:
            _add_place(self._sets, f"{OF_ARM[entry.kind]} of {arm}", place)

    def of(self, name: str, run: int | None = None) -> str:
        """Cite a set, of a run or of all; return its name, or nothing where it is empty."""
        words = WORDS.get(name, name)
        if run is None or len(self._runs) == 1:
            # A set of all runs is long; it is read once.
            places = [] if name in self.cited else self._sets.get(name, [])
            return self._cite(name, words, places)
        places = [place for place in self._sets.get(name, ()) if place[0] == run]
        return self._cite(f"{name}, run {run}", words, places)

    def arm(self, arm: str, entries: str) -> str:
        """Cite an arm's plans, scores, verdicts or decisions.

        Where it has no such entries, cite its plans or the study root.
        """
        return self.of(f"{entries} of {arm}") or self.of(f"plans of {arm}") or self.of("study")

    def plan(self, run: int, name: str) -> str:
        """Cite the record of a plan: the plan, its decisions, scores and verdict."""
        short = name[:12]
        places = self._plans.get(f"{run}:{name}", [])
        return self._cite(f"plan {run}:{short}", f"plan {short}", places)

    def entry(self, run: int, sequence: int, words: str) -> str:
        """Cite an entry."""
        return self._cite(f"entry {run}:{sequence}", words, [(run, sequence)])

    def _cite(self, name: str, words: str, places: Sequence[Place]) -> str:
        if places and name not in self.cited:
            self.cited[name] = Cited(
                what=words,
                spans=tuple(_spans(places)),
                entries=len(places),
                listed=tuple(self._list(places)) if len(places) <= LISTED else (),
            )
        return name if name in self.cited else ""

    def _list(self, places: Sequence[Place]) -> Iterator[tuple[int, int, str, str]]:
        for run, sequence in places:
            entries = self._runs[run].entries
            number = attrgetter("sequence")
            first = bisect_left(entries, sequence, key=number)
            facts = entries[first : bisect_right(entries, sequence, key=number)]
            yield run, sequence, ", ".join(fact.kind for fact in facts), facts[0].hash[:12]


def _add_place(sets: dict[str, list[Place]], name: str, place: Place) -> None:
    """Add an entry to a set, once: it may hold several facts of a kind."""
    places = sets.setdefault(name, [])
    if places[-1:] != [place]:
        places.append(place)


def _subject(entry: Entry) -> tuple[str, str]:
    """Return the plan digest and the arm in an entry."""
    match entry.fact:
        case PlanEntry(digest=digest):
            return digest, ""
        case ScoreEntry(plan=digest) | VerdictEntry(plan=digest) | DecisionEntry(plan=digest):
            return digest, ""
        case ServedEntry(plan=digest) | ReviewEntry(plan=digest):
            return digest, ""
        case InvalidEntry(arm=arm) | ReleaseEntry(arm=arm) | RollbackEntry(arm=arm):
            return "", arm
        case ChangeEntry(arm=arm):
            return "", arm
    return "", ""


def _spans(places: Sequence[Place]) -> list[tuple[int, int, int]]:
    """Return (run, first, last) of neighbours; where there are too many, a span a run."""
    spans = list[tuple[int, int, int]]()
    for run, sequence in places:
        if spans and (spans[-1][0], spans[-1][2] + 1) == (run, sequence):
            spans[-1] = (run, spans[-1][1], sequence)
        else:
            spans.append((run, sequence, sequence))
    return spans if len(spans) <= SPANS else _enclosing(spans)


def _enclosing(spans: Sequence[tuple[int, int, int]]) -> list[tuple[int, int, int]]:
    first, last = dict[int, int](), dict[int, int]()
    for run, begin, end in spans:
        first[run] = min(begin, first.get(run, begin))
        last[run] = max(end, last.get(run, end))
    return [(run, first[run], last[run]) for run in sorted(first)]
