"""The five questions of the first screen, answered for a study in a sentence or two each.

`heirloop run` and `heirloop show RUN` print the same sentences. Before a study has ended nothing of
confirm is in them, and feedback is rounded.
"""

from collections.abc import Callable, Iterator
from typing import Any

from configs.arms import START
from configs.settings.task import SIMULATED
from evals.intervals import FEWEST
from evals.retention import RUNG_WORDS
from loop.report.answers_oversight import tell_decisions, tell_limits
from loop.report.evidence import Index
from loop.report.measures import rung_rows, scale
from loop.report.outcome import Outcome, lead, list_outcomes, write_interval
from loop.report.progress import score_rows
from loop.report.shape import Line, Table
from loop.report.study import MeasuredStudy
from loop.text import write_number

REFERENCES = ("random", "local", "tpe", "evolve", "refit")
"""Arms beside which arm self is told, the first of them that a study has."""
JUDGED = ("feedback", "confirm", "closing")
"""Rungs on the split that judges, and before it."""
RUNGS = {
    **RUNG_WORDS,
    "closing": "fresh seeds",
    "large": "4 x compute",
    **{name: name for name in ("feedback", "confirm", "sealed")},
}
"""Rung -> its name in a sentence."""
Lines = Iterator[Line]


def answer(study: MeasuredStudy, index: Index, truth: Table | None) -> dict[str, list[Line]]:
    """Return question -> sentences, the most important first; the questions are QUESTIONS.

    `truth`: the rows of table `truth`, for a study on a table.
    """
    parts: dict[str, Callable[[MeasuredStudy, Index], Lines]] = {
        "improved": _improved,
        "kept": _kept,
        "decided": tell_decisions,
        "held": tell_limits,
        "not": _not_to_conclude,
    }
    answers = {question: list(tell(study, index)) for question, tell in parts.items()}
    answers["improved"] += _true_gain(lead(study), truth)
    return answers


def _true_gain(arm: str, truth: Table | None) -> Lines:
    for name, instrument, _, true, *_, unit in truth.rows if truth else ():
        if (name, instrument) == (arm, "gain") and true is not None:
            text = f"By the table's truth its gain is {write_number(true, '+#.3g')} {unit}."
            yield Line(text=text, ledger=truth.ledger[0] if truth else "")


def _improved(study: MeasuredStudy, index: Index) -> Lines:
    arm = lead(study)
    ledger = index.arm(arm, "verdicts") if arm else index.of("study")
    if not arm:
        yield Line(text="Nothing is known yet: no campaign has begun.", ledger=ledger)
        return
    if not study.closed:
        yield Line(
            text="Not known yet: the study has not ended, and gains are told at its end.",
            ledger=index.of("study"),
        )
        yield from _feedback_so_far(study, index, arm)
        return
    outcomes = {outcome.arm: outcome for outcome in list_outcomes(study)}
    if not any(outcome.accepted for outcome in outcomes.values()):
        count = sum(outcome.campaigns for outcome in outcomes.values())
        campaigns = "the campaign" if count == 1 else f"any of {count} campaigns"
        text = f"No: no change was accepted in {campaigns}, so every gain is 0."
        yield Line(text=text, ledger=index.of("end") or ledger)
        return
    yield Line(text=_say_outcome(outcomes[arm]), ledger=ledger)
    yield from _compared(study, index, outcomes)


def _feedback_so_far(study: MeasuredStudy, index: Index, arm: str) -> Lines:
    rows = [row for row in score_rows(study) if row[0] == arm]
    if rows:
        first, last = rows[0], rows[-1]
        text = (
            f"On feedback the champion of arm {arm} has {write_number(last[2], '#.3g')} and the"
            f" baseline {write_number(first[2], '#.3g')}"
            f" ({study.config.objective.scores_text()}). The best of many trials is luckier than"
            " it is good."
        )
        yield Line(text=text, ledger=index.arm(arm, "scores"))


def _say_outcome(outcome: Outcome) -> str:
    """Return what came out for an arm, in a sentence that begins with yes, no or cannot tell."""
    arm = f"arm {outcome.arm}"
    if not outcome.accepted:
        return f"No: {arm} accepted no change, so its gain is 0."
    if outcome.gain is None:
        return f"Cannot tell: {arm} accepted changes and has no closing look."
    one = outcome.campaigns == 1
    ground = "by its closing look" if one else f"mean of {outcome.campaigns} campaigns"
    told = f"{outcome.write()} against the baseline, on confirm and fresh seeds, {ground}"
    if outcome.word:
        few = "" if one or outcome.campaigns >= FEWEST else f"; it takes {FEWEST} to tell"
        return f"Cannot tell: {arm} ended with {told}{few}."
    return f"Yes: {arm} gained {told}." if outcome.gain > 0 else f"No: {arm} lost, with {told}."


def _compared(study: MeasuredStudy, index: Index, outcomes: dict[str, Outcome]) -> Lines:
    """Tell the lead arm beside a reference; with several campaigns also their difference."""
    arm = lead(study)
    others = [name for name in (*REFERENCES, *outcomes) if name in outcomes and name != arm]
    if others:
        other = outcomes[others[0]]
        told = "no change accepted" if not other.accepted else other.ground
        told = told if other.gain is None or not other.accepted else other.write()
        text = f"Beside it, arm {other.arm}: {told}."
        apart = study.figures["between"].get(f"{arm} minus {other.arm}", {})
        if apart.get("value") is not None and apart.get("low") is not None:
            ends = write_interval(apart["low"], apart["high"])
            word = f", {apart['word']}" if apart["word"] else ""
            value = f"{write_number(apart['value'], '+#.3g')} {scale(study)}"
            # Without a plan arms stand at their ends, which may have cost different amounts.
            planned = study.config.study.plan_trainings
            where = "At equal planned compute" if planned else "At the ends of their campaigns"
            text += f" {where} the difference is {value} {ends}{word}."
        yield Line(text=text, ledger=index.arm(other.arm, "verdicts"))
    if study.figures.get("words", {}).get("amplifying"):
        yield Line(text="The loop may be called amplifying.", ledger=index.of("verdicts of self"))


def _kept(study: MeasuredStudy, index: Index) -> Lines:
    arm = lead(study)
    ledger = (index.arm(arm, "verdicts") if arm else "") or index.of("study")
    if not study.closed:
        yield Line(text="Not known before the study has ended.", ledger=index.of("study"))
        return
    outcome = next(one for one in list_outcomes(study) if one.arm == arm)
    if not outcome.accepted:
        yield Line(text=f"Arm {arm} has no gain that could be kept.", ledger=ledger)
        return
    steps = study.figures["arms"][arm]["retention"]
    told = list(_steps_in_words(steps))
    if told:
        yield Line(text=f"Of what arm {arm} gained {'; '.join(told)}.", ledger=ledger)
    else:
        yield from _by_rung(study, arm, ledger)
    if study.figures.get("words", {}).get("lossy"):
        text = "The loop may be called lossy: it loses more than other changes of its size."
        yield Line(text=text, ledger=ledger)
    if not {row[1] for row in rung_rows(study) if row[0] == arm} - set(JUDGED):
        text = "Whether it holds on sealed, on other slices or at more compute was not measured."
        yield Line(text=text, ledger=ledger)


def _steps_in_words(steps: dict[str, Any]) -> Iterator[str]:
    """Yield the share that each rung keeps of the gain on the rung before."""
    for step, figure in steps.items():
        before, to, after = step.partition(" to ")
        if to and all(figure[part] is not None for part in ("value", "low", "high")):
            value, low, high = (f"{100 * figure[part]:.0f}" for part in ("value", "low", "high"))
            places = f"on {_name_rung(before)}, {value} % ({low} to {high} %)"
            yield f"{places} is there on {_name_rung(after)}"


def _name_rung(rung: str) -> str:
    return RUNGS.get(rung, f"slice {rung}")


def _by_rung(study: MeasuredStudy, arm: str, ledger: str) -> Lines:
    """Tell the gain on each rung where no share of it has an interval."""
    rungs = [
        f"{write_number(row[2], '+#.3g')} on {_name_rung(row[1])}"
        for row in rung_rows(study)
        if row[0] == arm
    ]
    if rungs:
        text = (
            f"Cannot tell: no share of the gain has an interval. Arm {arm} gained"
            f" {', '.join(rungs)} ({scale(study)})."
        )
        yield Line(text=text, ledger=ledger)


def _not_to_conclude(study: MeasuredStudy, index: Index) -> Lines:
    root = index.of("study")
    yield from _not_real(study, root)
    if not study.closed:
        yield Line(text="That anything is gained: only feedback scores are known.", ledger=root)
    elif not any(outcome.accepted for outcome in list_outcomes(study)):
        text = "That nothing helps: a gain smaller than the study could see is not ruled out."
        yield Line(text=text, ledger=root)
    yield from _about_loops(study, index, root)
    repeats = max((len(ends) for ends in _campaigns(study).values()), default=0)
    if study.closed and 0 < repeats < FEWEST:
        few = "1 campaign" if repeats == 1 else f"{repeats} campaigns"
        text = f"That arms differ: with {few} an arm, luck can look the same; {FEWEST} can tell."
        yield Line(text=text, ledger=root)
    depth = study.config.task.depth
    if depth is not None and depth.word() != "deep":
        text = f"Task {study.config.task.name} is {depth.word()}: {depth.describe()}."
        yield Line(text=text, ledger=root, warn=True)
    yield Line(text="Anything about other scales: these are tiny nets.", ledger=root)


def _campaigns(study: MeasuredStudy) -> dict[str, list[Any]]:
    arms = dict[str, list[Any]]()
    for summary in study.summaries:
        for campaign in summary["arms"]:
            if campaign["arm"] != START:
                arms.setdefault(campaign["arm"], []).append(campaign)
    return arms


def _not_real(study: MeasuredStudy, root: str) -> Lines:
    if any(summary["box"] == SIMULATED for summary in study.summaries):
        text = "Anything about training: the world is simulated, and nothing was trained."
        yield Line(text=text, ledger=root, warn=True)
    elif study.config.task.table:
        text = f"Anything beyond the table of recorded trainings {study.config.task.table}."
        yield Line(text=text, ledger=root, warn=True)


def _about_loops(study: MeasuredStudy, index: Index, root: str) -> Lines:
    """Tell which words about loops are not shown."""
    words = study.figures.get("words")
    if words is None:
        if study.figures["arms"]:
            text = "Anything about a closed or amplifying loop: the study has no arm self."
            yield Line(text=text, ledger=root)
        return
    if any("saturated" in figure.values() for figure in _figures_between(study)):
        text = "That arms do not differ: champions reach the best known score (saturated)."
        yield Line(text=text, ledger=index.of("verdicts of self") or root)
    unproven = [word for word, proven in words.items() if not proven]
    if unproven:
        named = " or ".join(unproven)
        text = f"That the loop is {named}: not shown, which is no proof of the contrary."
        yield Line(text=text, ledger=index.of("verdicts of self") or root)


def _figures_between(study: MeasuredStudy) -> Iterator[dict[str, Any]]:
    for figure in study.figures["between"].values():
        if isinstance(figure, dict):
            yield figure
