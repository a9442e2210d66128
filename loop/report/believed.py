"""What can be believed and what cannot: figures with interval and n, the words, and what stands
against them. Silence is never turned into a no.
"""

from collections.abc import Iterator
from typing import Any

from loop.instruments.measure import WITHOUT
from loop.report.evidence import Index
from loop.report.happened import interval
from loop.report.shape import Line, Table, table
from loop.report.study import Told

MISSING: dict[str, str] = {
    "cannot tell": (
        "the interval holds the neutral value or is unbounded, there are fewer than 10 repeats, or"
        " a score is at its ceiling"
    ),
    "not measured": "the twin, the rung or the reference is missing",
    "not exercised": "the stage had no events, or a half of the study no accept",
    "undefined": "the denominator is no proven gain",
    "not evaluable": "a part was not exercised",
}
"""Word -> what it says, as docs/instruments.md has it."""
SINGLE = 10
"""Champions that get a sentence each; of more, one sentence an arm."""
TABLED = (
    "automation",
    "stages",
    "funnel",
    "promise",
    "beside",
    "efficiency",
    "yield",
    *(f"{e}{WITHOUT}" for e in ("efficiency", "yield")),
)
"""Parts of the instruments that have a table of their own."""


def believed(
    told: Told, index: Index, name: str
) -> tuple[tuple[list[Line], list[Table]], tuple[list[Line], list[Table]]]:
    """Return the sections `believed` and `unbelieved` of one study."""
    figures = [
        (what, interval(told, one), _rests(what, index)) for what, one in _figures(told.figures)
    ]
    holds = [one for one in figures if one[1][5] in ("", "at least", "above", "below")]
    fails = [one for one in figures if one not in holds]
    yes, no = list(_holds(told, index)), list(_fails(told, index))
    no += [
        Line(text=f"{word}: {text}.")
        for word, text in MISSING.items()
        if any(row[5] == word for _, row, _ in fails)
    ]
    if not yes and not holds:
        yes = [
            Line(
                text="Nothing: no figure of this study has an interval that decides anything.",
                ledger=index.of("study"),
            )
        ]
    made = [
        table(
            "figures",
            [(what, *row) for what, row, _ in part if row[0] is not None or row[1] is not None],
            [at for _, row, at in part if row[0] is not None or row[1] is not None],
            name,
        )
        for part in (holds, fails)
    ]
    sign = told.figures.get("warning sign", {}) if told.config.study.warning else {}
    return (yes, made[:1]), (
        no,
        [
            made[1],
            table("missing", _bare(told, fails), "", name),
            table("sign", sign.items(), index.of("warning") or index.of("study"), name),
        ],
    )


def _bare(
    told: Told, fails: list[tuple[str, tuple[Any, ...], str]]
) -> Iterator[tuple[str, str, str]]:
    """Yield (figure, word, arms) of figures that have neither value nor bound."""
    found, arms = dict[tuple[str, str], list[str]](), told.figures["arms"]
    for what, row, _ in fails:
        if row[0] is None and row[1] is None:
            arm, _, part = what.partition(", ")
            found.setdefault((part, row[5]) if arm in arms and part else (what, row[5]), []).append(
                arm
            )
    for (part, word), of in found.items():
        yield (
            part,
            word,
            (
                "all arms"
                if len(of) == len(arms) > 1
                else ", ".join(of)
                if of[0] in arms
                else "the study"
            ),
        )


def _figures(found: dict[str, Any], at: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, figure) of the instruments without a table of their own."""
    for name, value in found.items():
        where = f"{at}, {name}" if at and at not in ("arms", "between") else str(name)
        if name in TABLED or not isinstance(value, dict):
            continue
        if "word" in value:
            yield where, value
        else:
            yield from _figures(value, where)


def _rests(what: str, index: Index) -> str:
    return index.arm(what.split(",")[0], "verdicts")


def _holds(told: Told, index: Index) -> Iterator[Line]:
    """Yield what a person may repeat: gains of champions on fresh seeds, and the words that are
    proven.
    """
    ended = [
        (at, a) for at, s in enumerate(told.summaries if told.closed else ()) for a in s["arms"]
    ]
    better = [
        (at, a)
        for at, a in ended
        if a["gate"] and a["gate"]["gain"] is not None and a["gate"]["low"] > 0
    ]
    if len(better) <= SINGLE:
        yield from (_better(told, index, at, a) for at, a in better)
    else:
        for arm in sorted({a["arm"] for _, a in better}):
            mine, all_ = (sum(a["arm"] == arm for _, a in part) for part in (better, ended))
            yield Line(
                text=(
                    f"Arm {arm}: in {mine} of {all_} campaigns the champion is better than the"
                    " baseline on gate, on fresh seeds, each with an interval above 0 (table"
                    " Arms)."
                ),
                ledger=index.of(f"verdicts of {arm}"),
            )
    for word, said in told.figures.get("words", {}).items():
        if said:
            yield Line(text=f"The loop may be called {word}.", ledger=index.of("verdicts of self"))


def _better(told: Told, index: Index, at: int, a: dict[str, Any]) -> Line:
    gate, little = (
        a["gate"],
        "; flagged computable, so that it proves little" if a["computable"] else "",
    )
    which = f"Arm {a['arm']}, repeat {a['repeat']}" + (
        f" of {told.folders[at].name}" if len(told.runs) > 1 else ""
    )
    ends = (
        f"{gate['gain']:.3f} ({gate['low']:.3f} to {gate['high']:.3f}, level {gate['level']:g},"
        " fresh seeds)"
    )
    return Line(
        text=(
            f"{which}: this champion is better than the baseline on gate by {ends}{little}. It is"
            " one draw of the arm, not the arm's gain."
        ),
        ledger=index.of(f"verdicts of {a['arm']}"),
    )


def _fails(told: Told, index: Index) -> Iterator[Line]:
    root, s = index.of("study"), told.summaries
    if not told.closed:
        yield Line(
            text="No gain: the study has not ended, and scores on gate stay closed until then.",
            ledger=root,
            warn=True,
        )
    arms = told.figures["arms"]
    if not arms:
        yield Line(text="Nothing of any arm: no campaign has begun.", ledger=root)
    elif told.closed and not any(a["accepted"] for one in s for a in one["arms"]):
        yield Line(
            text=(
                "That anything got better: no change was accepted in any campaign; every gain is 0."
            ),
            ledger=index.of("end") or root,
        )
    unsaid = [
        word
        for word, said in told.figures.get(
            "words", dict.fromkeys(("amplifying", "lossy", "self-closed"), False)
        ).items()
        if not said
    ]
    if unsaid:
        yield Line(
            text=(
                f"{', '.join(unsaid)}: not shown. This is no proof of the contrary: a word needs"
                " every part of its rule."
            ),
            ledger=root,
        )
    for row in told.figures.get("conditions", ()):
        value = row["figure"]
        yield Line(
            text=f"Condition “{row['condition']}”: {row['reads']} ({_short(value)}).",
            ledger=index.of("verdicts of self") or root,
        )
    for arm, found in arms.items():
        if grown := found.get("growth"):
            more = (
                "no number of generations"
                if grown["more"] is None
                else f"{grown['more']} generations more"
            )
            yield Line(
                text=(
                    f"Arm {arm}: growth of the mean curve reads {grown['best']}; {more} would tell"
                    " the two best models apart. No forecast."
                ),
                ledger=index.of(f"verdicts of {arm}"),
            )
    if "self" in arms:
        reads = told.figures["between"]["gain ratio reads"]
        yield Line(
            text=f"Gain ratio of self beside refit and random: {reads}.",
            ledger=index.arm("self", "verdicts"),
        )
    yield Line(
        text=(
            "Feedback scores: one training each, rounded, and what is confirmed is chosen by them."
            " Claims and hypotheses of proposers are shown and never judged."
        ),
        ledger=root,
    )
    if any(a["computable"] for one in s for a in one["arms"]):
        yield Line(
            text=(
                "Gains flagged computable: code that a model wrote could compute the answers of"
                " this task."
            ),
            ledger=root,
            warn=True,
        )
    yield Line(
        text=(
            "Anything about other scales: these are tiny nets, and the instruments say what they"
            " say of this loop alone."
        ),
        ledger=root,
    )


def _short(one: dict[str, Any]) -> str:
    if one["value"] is None:
        return one["word"] or "no value"
    ends = (
        f"{one['low']:.3g} to {one['high']:.3g}"
        if one["low"] is not None and one["high"] is not None
        else "no interval"
    )
    return f"{one['value']:.3g}, {ends}, n {one['n']}"
