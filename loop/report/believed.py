"""Sections `believed` and `unbelieved`: figures with interval and n, proven words, and doubts.

Silence is never turned into a no.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from loop.instruments.arm import WITHOUT
from loop.report.claims import claim_lines, claim_tables
from loop.report.evidence import Index
from loop.report.measures import interval
from loop.report.proposers import tell_proposer
from loop.report.shape import Line, Part, Table, table
from loop.report.study import MeasuredStudy
from loop.report.truth import describe_truth
from loop.text import write_number

MISSING: dict[str, str] = {
    "cannot tell": (
        "the interval holds the neutral value or is unbounded, or there are fewer than 10 repeats"
    ),
    "saturated": (
        "the champions score as the best known score, within a seed deviation, so that arms have"
        " nothing to differ by"
    ),
    "not measured": "the twin, the rung or the reference is missing",
    "not exercised": "the stage had no events, or a half of the study no accept",
    "undefined": "the denominator is no proven gain",
    "not evaluable": "a part was not exercised",
}
"""Word -> its meaning, as docs/instruments.md has it."""
DECIDES = ("", "at least", "above", "below", "constant")
"""Words of a figure whose interval decides something."""
WORDS = ("amplifying", "lossy", "self-closed")
"""Words that a study must earn."""
SINGLE = 10
"""Champions that get a sentence each; of more, one sentence an arm."""
TABLED = (
    "ablation",
    "drift",
    "automation",
    "stages",
    "funnel",
    "promise",
    "beside",
    "efficiency",
    "yield",
    f"efficiency{WITHOUT}",
    f"yield{WITHOUT}",
)
"""Parts of the instruments that have a table of their own."""
NAMES = {"gain": "gain where arms are compared", "spent": "planned compute spent"}
"""Figure of an arm -> its name on the page, where the short name could be read as another."""
GROUPS = ("arms", "between")
"""Parts of the instruments that are left out of a figure's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure of the instruments."""

    name: str
    "arm and part"
    cells: tuple[Any, ...]
    "the columns INTERVAL"
    ledger: str
    "entries that it rests on"

    @property
    def bare(self) -> bool:
        """Whether it has neither value nor bound."""
        return self.cells[0] is None and self.cells[1] is None

    @property
    def word(self) -> str:
        """Its word."""
        return str(self.cells[5])


def describe_believed(study: MeasuredStudy, index: Index, name: str) -> tuple[Part, Part]:
    """Return the sections `believed` and `unbelieved` of one study."""
    figures = [
        Figure(
            name=path,
            cells=interval(study, figure),
            ledger=index.arm(path.split(",")[0], "verdicts"),
        )
        for path, figure in _figures(study.figures)
    ]
    holds = [figure for figure in figures if figure.word in DECIDES]
    fails = [figure for figure in figures if figure.word not in DECIDES]
    believed = [*claim_lines(study, index), *_proven(study, index)]
    doubts = [*_doubts(study, index), *_meanings(fails)]
    if not believed and not holds:
        text = "Nothing: no figure of this study has an interval that decides anything."
        believed.append(Line(text=text, ledger=index.of("study")))
    sign = study.figures.get("warning sign", {}) if study.config.study.warning else {}
    line, decided = tell_proposer(study, index)
    if line:
        (believed if decided else doubts).append(line)
    about_truth, truth = describe_truth(study, index, name)
    shown, others = claim_tables(study, index, name)
    return ([*about_truth, *believed], [shown, *truth, _table(holds, name)]), (
        doubts,
        [
            others,
            _table(fails, name),
            table("missing", _bare(study, fails), "", name),
            table("sign", sign.items(), index.of("warning") or index.of("study"), name),
        ],
    )


def _figures(tree: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (name, figure) of the instruments without a table of their own."""
    for name, value in tree.items():
        if name in TABLED or not isinstance(value, dict):
            continue
        shown = NAMES.get(str(name), str(name))
        place = shown if not path or path in GROUPS else f"{path}, {shown}"
        if "word" in value:
            yield place, value
        else:
            yield from _figures(value, place)


def _table(figures: Sequence[Figure], name: str) -> Table:
    """Return the figures with a value or a bound."""
    shown = [figure for figure in figures if not figure.bare]
    rows = [(figure.name, *figure.cells) for figure in shown]
    return table("figures", rows, [figure.ledger for figure in shown], name)


def _bare(study: MeasuredStudy, figures: Sequence[Figure]) -> Iterator[tuple[str, str, str]]:
    """Yield (figure, word, arms) of figures without value and bound."""
    arms = study.figures["arms"]
    groups: dict[tuple[str, str], list[str]] = {}
    for figure in figures:
        if figure.bare:
            arm, _, part = figure.name.partition(", ")
            name = part if arm in arms and part else figure.name
            groups.setdefault((name, figure.word), []).append(arm)
    for (part, word), names in groups.items():
        if len(names) == len(arms) > 1:
            yield part, word, "all arms"
        else:
            yield part, word, ", ".join(names) if names[0] in arms else "the study"


def _meanings(figures: Sequence[Figure]) -> Iterator[Line]:
    """Yield the meaning of each word in the figures."""
    words = {figure.word for figure in figures}
    for word, text in MISSING.items():
        if word in words:
            yield Line(text=f"{word}: {text}.")


def _proven(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield the claims that a person may repeat: gains on fresh seeds, and proven words."""
    campaigns = [
        (place, campaign)
        for place, summary in enumerate(study.summaries if study.closed else ())
        for campaign in summary["arms"]
    ]
    better = [(place, campaign) for place, campaign in campaigns if _is_better(campaign)]
    if len(better) <= SINGLE:
        for place, campaign in better:
            yield _champion(study, index, place, campaign)
    else:
        for arm in sorted({campaign["arm"] for _, campaign in better}):
            count = sum(campaign["arm"] == arm for _, campaign in better)
            whole = sum(campaign["arm"] == arm for _, campaign in campaigns)
            text = (
                f"Arm {arm}: in {count} of {whole} campaigns the champion is better than the"
                " baseline on confirm, on fresh seeds, each with an interval above 0 (table Arms)."
            )
            yield Line(text=text, ledger=index.of(f"verdicts of {arm}"))
    for word, proven in study.figures.get("words", {}).items():
        if proven:
            text = f"The loop may be called {word}."
            yield Line(text=text, ledger=index.of("verdicts of self"))


def _is_better(campaign: dict[str, Any]) -> bool:
    look = campaign["confirm"]
    return bool(look) and look["low"] is not None and look["low"] > 0


def _champion(study: MeasuredStudy, index: Index, place: int, campaign: dict[str, Any]) -> Line:
    look, arm = campaign["confirm"], campaign["arm"]
    where = f" of {study.folders[place].name}" if len(study.runs) > 1 else ""
    doubt = "; flagged computable, so that it proves little" if campaign["computable"] else ""
    gain = study.config.objective.write_score(f"{look['gain']:.3f}")
    text = (
        f"Arm {arm}, repeat {campaign['repeat']}{where}: this champion is better than the baseline"
        f" on confirm by {gain} ({look['low']:.3f} to {look['high']:.3f}, level"
        f" {look['level']:g}, fresh seeds){doubt}. It is one draw of the arm, not the arm's gain."
    )
    return Line(text=text, ledger=index.of(f"verdicts of {arm}"))


def _doubts(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    """Yield the claims without support."""
    root = index.of("study")
    yield from _without_gain(study, index, root)
    words = study.figures.get("words", dict.fromkeys(WORDS, False))
    unproven = [word for word, proven in words.items() if not proven]
    if unproven:
        text = (
            f"{', '.join(unproven)}: not shown. This is no proof of the contrary: a word needs"
            " every part of its rule."
        )
        yield Line(text=text, ledger=root)
    for row in study.figures.get("conditions", ()):
        text = f"Condition “{row['condition']}”: {row['reads']} ({_short(row['figure'])})."
        yield Line(text=text, ledger=index.of("verdicts of self") or root)
    yield from _growth(study, index)
    if "self" in study.figures["arms"]:
        reads = study.figures["between"]["gain ratio reads"]
        text = f"Gain ratio of self beside refit and random: {reads}."
        yield Line(text=text, ledger=index.arm("self", "verdicts"))
    yield from _depth(study, root)
    yield from _always(study, root)


def _without_gain(study: MeasuredStudy, index: Index, root: str) -> Iterator[Line]:
    if not study.closed:
        yield Line(
            text="No gain: the study has not ended, and scores on confirm stay closed until then.",
            ledger=root,
            warn=True,
        )
    campaigns = [campaign for summary in study.summaries for campaign in summary["arms"]]
    if not study.figures["arms"]:
        yield Line(text="Nothing of any arm: no campaign has begun.", ledger=root)
    elif study.closed and not any(campaign["accepted"] for campaign in campaigns):
        text = "That anything got better: no change was accepted in any campaign; every gain is 0."
        yield Line(text=text, ledger=index.of("end") or root)


def _growth(study: MeasuredStudy, index: Index) -> Iterator[Line]:
    for arm, figures in study.figures["arms"].items():
        growth = figures.get("growth")
        if growth:
            more = growth["more"]
            needed = "no number of generations" if more is None else f"{more} generations more"
            text = (
                f"Arm {arm}: growth of the mean curve reads {growth['best']}; {needed} would tell"
                " the two best models apart. No forecast."
            )
            yield Line(text=text, ledger=index.of(f"verdicts of {arm}"))


def _depth(study: MeasuredStudy, root: str) -> Iterator[Line]:
    """Say how deep the task was measured to be; a shallow one is a warning."""
    task = study.config.task
    if task.depth is None:
        return
    word = task.depth.word()
    advice = "" if word == "deep" else " A gain on it says little about a loop."
    text = f"Task {task.name} is {word}: {task.depth.describe()}.{advice}"
    yield Line(text=text, ledger=root, warn=word != "deep")


def _always(study: MeasuredStudy, root: str) -> Iterator[Line]:
    """Yield the doubts about every study."""
    yield Line(
        text=(
            "Feedback scores: one training each, rounded, and what is confirmed is chosen by them."
            " Claims and hypotheses of proposers are shown and never judged."
        ),
        ledger=root,
    )
    if any(campaign["computable"] for summary in study.summaries for campaign in summary["arms"]):
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


def _short(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return str(figure["word"] or "no value")
    ends = "no interval"
    if figure["low"] is not None and figure["high"] is not None:
        ends = f"{write_number(figure['low'], '.3g')} to {write_number(figure['high'], '.3g')}"
    sees = figure.get("sees")
    more = f", sees {write_number(sees, '.3g')} or more" if sees else ""
    return f"{write_number(figure['value'], '.3g')}, {ends}, n {figure['n']}{more}"
