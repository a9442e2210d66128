"""What report.json holds, as records: sections of sentences and tables, and the ledger entries that
each rests on (docs/report.md).

The page is drawn from these records and from nothing else, so that whatever it shows is in
report.json too.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

VERSION = 1
INTERVAL = ("value", "low", "high", "n", "unit", "reads")
"""Columns of a measured figure: estimate, ends of its 95 % interval, repeats or events, unit, and
the word that forbids to read it alone.
"""
SECTIONS: dict[str, str] = {
    "asked": "What was asked",
    "allowed": "What was allowed",
    "happened": "What happened",
    "believed": "What can be believed",
    "unbelieved": "What cannot be believed",
    "methods": "Methods",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One table of the report."""

    title: str
    "heading"
    columns: tuple[str, ...]
    "names of the columns, with units; `differs` has one more per study"
    note: str = ""
    "how to read it; shown below it"
    figure: bool = False
    "whether it is drawn; the rows are then the figure's data and are shown as CSV"


TABLES: dict[str, Kind] = {
    "runs": Kind(
        title="Runs",
        columns=(
            "study",
            "number",
            "run",
            "seed",
            "state",
            "tier",
            "entries",
            "jobs",
            "wall seconds",
            "root",
        ),
    ),
    "differs": Kind(
        title="What differs",
        columns=("setting",),
        note="Every setting in which the studies differ, names and places left out.",
    ),
    "task": Kind(title="Task and shape", columns=("setting", "value")),
    "budget": Kind(
        title="Budget",
        columns=("resource", "limit", "spent", "unit"),
        note="Limits and charges are added up over the runs.",
    ),
    "rules": Kind(
        title="Gates",
        columns=("class of change", "rule", "whose yes counts"),
        note=(
            "mandate: a standing approval is enough; approve: a decision on that very plan; deny:"
            " never."
        ),
    ),
    "mandates": Kind(
        title="Mandates",
        columns=("kind", "by", "classes", "jobs", "CPU-seconds", "hours", "granted"),
    ),
    "files": Kind(
        title="The study's own files",
        columns=("field", "path", "digest", "code"),
        note="Trusted code, pinned by the study root.",
    ),
    "arms": Kind(
        title="Arms",
        columns=(
            "arm",
            "repeat",
            "accepted",
            "baseline, feedback",
            "champion, feedback",
            "held-out gain on gate",
            "low",
            "high",
            "flag",
            "claims against gains, rank correlation",
            "claims",
        ),
        note=(
            "The gain is champion against baseline in the closing look, on fresh seeds; empty: no"
            " change accepted, or no closing look yet."
        ),
    ),
    "scores": Kind(
        title="Feedback score per generation",
        figure=True,
        columns=("arm", "generation", "champion, mean", "low", "high", "repeats"),
        note=(
            "Line: the champion's score, mean over repeats, with its 95 % interval (none below 2"
            " repeats). Dots: every trial. Scores rest on one training each and are rounded; what"
            " is best among many is luckier than it is good."
        ),
    ),
    "trials": Kind(title="Trials", columns=("arm", "repeat", "generation", "feedback")),
    "gains": Kind(
        title="Verified gain at equal planned compute",
        figure=True,
        columns=("arm", "planned CPU-seconds", "gain", "low", "high", "repeats"),
        note=(
            "Gain on gate over the baseline, without the winner's curse; where a campaign has"
            " ended, its closing look on fresh seeds. Bars: 95 % interval over repeats (none below"
            " 2), arms set side by side at each budget."
        ),
    ),
    "closing": Kind(
        title="Closing look at gate", columns=("metric", "what it is", "baseline", "champion")
    ),
    "lineage": Kind(
        title="Lineage",
        figure=True,
        columns=("arm", "repeat", "generation", "plan", "parent", "fate", "feedback"),
        note=(
            "A line a campaign, from the baseline on: champions lie on the line, below it what was"
            " tried, tied to its parent."
        ),
    ),
    "burn": Kind(
        title="Budget burn-down",
        figure=True,
        columns=("run", "ledger entry", "CPU-seconds left"),
        note="What the study's root account had left.",
    ),
    "accounts": Kind(
        title="Accounts", columns=("account", "CPU-seconds spent", "limit", "jobs", "limit of jobs")
    ),
    "funnel": Kind(
        title="Funnel",
        figure=True,
        columns=("arm", "fate", "plans", "share", "CPU-seconds"),
        note=(
            "How each proposal ended. superseded: another plan of its generation was confirmed; no"
            " effect: rejected on gate."
        ),
    ),
    "promise": Kind(
        title="Promise",
        columns=("arm", "part", *INTERVAL),
        note=(
            "A rejected plan's promise falls whole into its fate; an accepted one's = over-claim +"
            " proxy gap + winner's curse + verified gain. Parts that are 0 in every repeat are left"
            " out. A plan that predicted nothing stands with the mean gain of earlier generations."
        ),
    ),
    "rungs": Kind(
        title="Gain per rung",
        figure=True,
        columns=("arm", "rung", "gain", "low", "high", "repeats"),
        note=(
            "Accepted gains on feedback and on gate, both selected on; then champion against"
            " baseline on fresh seeds (closing), on sealed, outside the training distribution"
            " (shifted), and with four times the compute on both sides (large). Hollow: without an"
            " interval."
        ),
    ),
    "retention": Kind(
        title="Retention",
        columns=("arm", "step", *INTERVAL),
        note="Share of the gain that the next rung still shows; loss = 1 - product.",
    ),
    "automation": Kind(
        title="Automation per stage",
        figure=True,
        columns=("arm", "stage", *INTERVAL),
        note=(
            "1 - the share of compute that people released; what only people do stands in the table"
            " alone. There is no mean: a cron job has 1 at most stages, and stands beside it. A"
            " simulated reviewer is no person; what the vector would be, had they been people, is"
            " told apart."
        ),
    ),
    "stages": Kind(title="Who did what", columns=("arm", "stage", "who", "controlled by")),
    "efficiency": Kind(
        title="Efficiency",
        columns=("arm", "part", *INTERVAL),
        note=(
            "E = gain per accept x accepts per plan / CPU per plan; its change is -(smaller +"
            " harder + costlier), noisier is a part of costlier. Oversight is charged no CPU: what"
            " it costs stands as human cost."
        ),
    ),
    "budgets": Kind(
        title="Efficiency by budget",
        columns=(
            "study",
            "times the smallest",
            "planned CPU-seconds a campaign",
            "arm",
            "counted",
            *INTERVAL,
        ),
        note=(
            "Verified gain per CPU-second of all plans, with proposing and oversight counted or"
            " not; studies of one task and objective alone."
        ),
    ),
    "calibration": Kind(
        title="Promised against verified",
        figure=True,
        columns=("arm", "plan", "promised", "verified"),
        note=(
            "Accepted plans whose proposer predicted a gain. On the dashed line a promise is kept."
        ),
    ),
    "decisions": Kind(
        title="Decisions by class",
        columns=(
            "class",
            "mandate",
            "approval",
            "refused",
            "person",
            "external",
            "simulated",
            "unattended",
        ),
    ),
    "oversight": Kind(title="Oversight", columns=("what", "measured")),
    "signed": Kind(
        title="Signed decisions",
        columns=(
            "plan",
            "class",
            "answer",
            "reviewer",
            "kind",
            "seconds since asked",
            "seconds looked",
        ),
    ),
    "canaries": Kind(
        title="Canaries",
        columns=(
            "canaries stopped (hits)",
            "canaries passed (misses)",
            "twins stopped (false blocks)",
            "twins passed",
            "d′ (95 %)",
            "criterion (95 %)",
        ),
        note=(
            "Requests followed by a canary and its benign twin, which can never run. A miss means"
            " nothing without the false blocks beside it: whoever denies everything misses none."
        ),
    ),
    "looks": Kind(title="Looks at held-out data", columns=("split", "looks", "limit")),
    "openings": Kind(
        title="Openings of sealed",
        columns=(
            "opening",
            "plan",
            "champion",
            "metric",
            "gain over the baseline",
            "low",
            "high",
            "pairs",
            "flag",
        ),
    ),
    "incidents": Kind(
        title="Incidents",
        columns=("id", "title", "kind", "severity", "detector", "detected at", "versions"),
    ),
    "plans": Kind(
        title="Plans",
        columns=(
            "arm",
            "repeat",
            "generation",
            "plan",
            "change",
            "feedback",
            "verdict",
            "flag",
            "failures",
        ),
    ),
    "figures": Kind(title="Figures", columns=("what", *INTERVAL)),
    "missing": Kind(title="Figures that are only a word", columns=("figure", "reads", "of")),
    "sign": Kind(
        title="Warning sign",
        columns=("part", "reads"),
        note="Registered before the first generation; every part must be crossed.",
    ),
    "deviations": Kind(
        title="Deviations from what was registered", columns=("when", "what", "who", "why")
    ),
}
"""Table -> its columns. The one list of them: report.json, the page and docs/report.md follow it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One sentence or paragraph."""

    text: str
    "the sentence"
    ledger: str = ""
    "name in `evidence` of the entries that it rests on; empty: it tells no number"
    warn: bool = False
    "whether it warns"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of one kind."""

    name: str
    "a name of the table list"
    study: str = ""
    "the study that it is of, where the page tells of several"
    unit: str = ""
    "unit of the columns that are in the objective's unit; empty: none is"
    columns: tuple[str, ...]
    "names of the columns, with units"
    rows: tuple[tuple[Any, ...], ...]
    "text, numbers or null; null where there is no value, never 0"
    ledger: tuple[str, ...]
    "per row the name in `evidence` of the entries that it rests on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of the page."""

    name: str
    "asked, allowed, happened, believed, unbelieved or methods"
    lines: tuple[Line, ...]
    "sentences, above the tables"
    tables: tuple[Table, ...]
    "tables and figures"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cited:
    """Ledger entries that something rests on."""

    what: str
    "what they are"
    spans: tuple[tuple[int, int, int], ...]
    "(number of the run from 0, first sequence, last sequence)"
    entries: int
    "how many; fewer than the spans hold where these enclose others"
    listed: tuple[tuple[int, int, str, str], ...]
    "(run, sequence, kind, start of its hash) of each, where they are few"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """report.json, whole."""

    version: int = VERSION
    "version of this shape"
    title: str
    "heading"
    studies: tuple[str, ...]
    "names of the studies; runs that differ in seed and name alone are repeats of one"
    sections: tuple[Section, ...]
    "in the page's order"
    evidence: dict[str, Cited]
    "name -> ledger entries"
    instruments: dict[str, Any]
    "study -> what `heirloop instruments --json` prints (docs/instruments.md)"


def table(
    name: str,
    rows: Iterable[Sequence[Any]],
    ledger: str | Iterable[str],
    study: str = "",
    columns: Sequence[str] = (),
    unit: str = "",
) -> Table:
    """Return a table of the list; numbers that are not finite become null. `ledger`: one name for
    all rows, or one per row.
    """
    kept = tuple(
        tuple(None if isinstance(v, float) and not math.isfinite(v) else v for v in row)
        for row in rows
    )
    named = (ledger,) * len(kept) if isinstance(ledger, str) else tuple(ledger)
    heads = tuple(columns) or TABLES[name].columns
    assert len(named) == len(kept) and all(len(row) == len(heads) for row in kept), name
    return Table(name=name, study=study, unit=unit, columns=heads, rows=kept, ledger=named)
