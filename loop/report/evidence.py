"""Which ledger entries a number rests on: named sets, one pass over each ledger. What is cited
stays small, however long the ledger is.
"""

from collections.abc import Iterable, Sequence

from configs.records import Entry
from loop.instruments.gather import Run
from loop.report.shape import Cited

LISTED = 24
"""Entries of a set that are listed with kind and hash; larger sets are told as spans."""
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
    "account": "accounts and limits",
    "end": "ends of campaigns and study",
    "warning": "readings of the warning sign",
}
"""Set of entries of a kind -> what they are."""
KINDS: dict[str, str] = {
    "study": "study",
    "amended": "study",
    "mandate": "mandate",
    "settle": "settle",
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
    "account": "account",
    "limit": "account",
    "campaign-end": "end",
    "end": "end",
    "warning": "warning",
}
"""Kind of entry -> its set."""
OF_ARM: dict[str, str] = {
    "plan": "plans",
    "invalid": "plans",
    "score": "scores",
    "verdict": "verdicts",
    "decision": "decisions",
}
"""Kind of entry -> the set of its arm."""


class Index:
    """The entries of one or more runs, by what rests on them; `cited` holds those that were asked
    for.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs, self.cited = runs, dict[str, Cited]()
        self._sets: dict[str, list[tuple[int, int]]] = {}
        self._plans: dict[str, list[tuple[int, int]]] = {}
        for number, run in enumerate(runs):
            for entry in run.entries:
                self._place(number, run, entry)

    def _place(self, number: int, run: Run, entry: Entry) -> None:
        at, body = (number, entry.sequence), entry.body
        if entry.kind in KINDS:
            self._sets.setdefault(KINDS[entry.kind], []).append(at)
        if entry.kind not in OF_ARM:
            return
        name = str(body.get("digest" if entry.kind == "plan" else "plan", ""))
        plan = run.facts.plans.get(name)
        arm = plan.arm if plan else body.get("arm", "")
        if arm:
            self._sets.setdefault(f"{OF_ARM[entry.kind]} of {arm}", []).append(at)
        if plan:
            self._plans.setdefault(f"{number}:{name}", []).append(at)

    def of(self, name: str, run: int | None = None) -> str:
        """Cite a set, of one run or of all; return its name, or nothing where it is empty."""
        whole = run is None or len(self._runs) == 1
        found = (
            []
            if name in self.cited and whole
            else [at for at in self._sets.get(name, ()) if whole or at[0] == run]
        )
        return self._cite(name if whole else f"{name}, run {run}", WORDS.get(name, name), found)

    def arm(self, arm: str, what: str) -> str:
        """Cite an arm's plans, scores, verdicts or decisions; where it has none, what shows that it
        has none.
        """
        return self.of(f"{what} of {arm}") or self.of(f"plans of {arm}") or self.of("study")

    def plan(self, run: int, name: str) -> str:
        """Cite what is recorded of one plan: the plan, its decisions, scores and verdict."""
        return self._cite(
            f"plan {run}:{name[:12]}", f"plan {name[:12]}", self._plans.get(f"{run}:{name}", [])
        )

    def entry(self, run: int, sequence: int, what: str) -> str:
        """Cite one entry."""
        return self._cite(f"entry {run}:{sequence}", what, [(run, sequence)])

    def _cite(self, name: str, what: str, found: Sequence[tuple[int, int]]) -> str:
        if found and name not in self.cited:
            listed = (
                [
                    (run, at, e.kind, e.hash[:12])
                    for run, at in found
                    for e in (self._runs[run].entries[at - 1],)
                ]
                if len(found) <= LISTED
                else []
            )
            self.cited[name] = Cited(
                what=what, spans=tuple(_spans(found)), entries=len(found), listed=tuple(listed)
            )
        return name if name in self.cited else ""


def _spans(found: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Return (run, first, last) of neighbours; one enclosing span a run where there are too
    many.
    """
    spans = list[tuple[int, int, int]]()
    for run, at in found:
        if spans and (spans[-1][0], spans[-1][2] + 1) == (run, at):
            spans[-1] = (run, spans[-1][1], at)
        else:
            spans.append((run, at, at))
    if len(spans) <= SPANS:
        return spans
    return [
        (run, min(a for r, a, _ in spans if r == run), max(b for r, _, b in spans if r == run))
        for run in sorted({r for r, _, _ in spans})
    ]
