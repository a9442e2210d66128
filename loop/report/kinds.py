"""The tables of the report, with their columns. The page and docs/report.md follow this list."""

from loop.report.kind import INTERVAL, TableKind
from loop.report.kinds_champions import CHAMPIONS
from loop.report.kinds_happened import HAPPENED
from loop.report.kinds_paper import PAPER

TABLES: dict[str, TableKind] = {
    "runs": TableKind(
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
    "differs": TableKind(
        title="What differs",
        columns=("setting",),
        note="Every setting in which the studies differ, names and places left out.",
    ),
    "task": TableKind(title="Task and shape", columns=("setting", "value")),
    "budget": TableKind(
        title="Budget",
        columns=("resource", "limit", "spent", "unit"),
        note="Limits and charges are added up over the runs.",
    ),
    "rules": TableKind(
        title="Gates",
        columns=("class of change", "rule", "whose yes counts"),
        note=(
            "mandate: a standing approval is enough; approve: a decision on that very plan; deny:"
            " never."
        ),
    ),
    "mandates": TableKind(
        title="Mandates",
        columns=("kind", "by", "classes", "jobs", "CPU-seconds", "hours", "granted"),
    ),
    "files": TableKind(
        title="The study's own files",
        columns=("field", "path", "digest", "code"),
        note="Trusted code, pinned by the study root.",
    ),
    **HAPPENED,
    **CHAMPIONS,
    **PAPER,
    "claims": TableKind(
        title="Registered claims",
        columns=(
            "claim",
            "says",
            "value",
            "low",
            "high",
            "n",
            "unit",
            "p",
            "p, family",
            "power",
            "reads",
        ),
        note=(
            "Said before the first generation. Interval: 95 %, and 90 % where it asks whether a"
            " value lies within a bound. p: the smallest level at which that interval shows the"
            " claim, then over the family of all registered claims (Holm). Power: the probability"
            " that an interval as wide shows the smallest effect of interest. Not shown is no proof"
            " of the contrary."
        ),
    ),
    "figures": TableKind(title="Figures", columns=("what", *INTERVAL)),
    "truth": TableKind(
        title="Measured beside true",
        columns=("arm", "instrument", "measured", "true", "low", "high", "n", "unit"),
        note=(
            "Of a study on a table alone. True: by the means of the table, over all its folds. The"
            " interval is that of the measured figure, or of the true where there is no other."
        ),
    ),
    "missing": TableKind(title="Figures that are only a word", columns=("figure", "reads", "of")),
    "sign": TableKind(
        title="Warning sign",
        columns=("part", "reads"),
        note="Registered before the first generation; every part must be crossed.",
    ),
    "deviations": TableKind(
        title="Deviations from what was registered", columns=("when", "what", "who", "why")
    ),
}
"""Table -> its heading and its columns."""
