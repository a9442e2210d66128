"""Lines of the page that need no noise: trials, keeps, their rule, looks, duplicates, promises."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from configs.records.trials import Trial, TrialLog
from evals.intervals import Figure, mean, missing
from evals.trial_logs import KeepRule, Step, is_recorded
from loop.text import write_number


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One question to a log, with its figure and a sentence."""

    name: str
    figure: Figure
    text: str
    whole: bool = False
    "whether the text alone is printed, since it has the figure's numbers"

    @property
    def key(self) -> str:
        """Its name for programs."""
        return self.name.replace("'", "").replace(" ", "_")


def exactly(value: float, unit: str) -> Figure:
    """Return the figure of a number that was counted or is known."""
    return Figure(value=float(value), unit=unit, n=int(value) if value == int(value) else 0)


def count_trials(log: TrialLog, steps: Sequence[Step], rule: KeepRule) -> list[Line]:
    """Return the lines of trials, keeps and their rule."""
    failed = Counter(t.failure for t in log.trials if t.score is None)
    reasons = ", ".join(f"{count} {reason}" for reason, count in failed.most_common(4))
    text = f"trials in the log, {len(steps)} with a score"
    text += f"; without: {reasons}" if reasons else ""
    lost = lost_trials(log)
    if lost:
        text += f"; the loop made {log.made}, so {lost} are lost"
    keeps = sum(step.keep for step in steps)
    kept = exactly(keeps, "keeps")
    kept = replace(kept, word="at least") if lost else kept
    return [
        Line(name="trials", figure=exactly(len(log.trials), "trials"), text=text),
        Line(name="keeps", figure=kept, text=_describe_keeps(log, keeps)),
        _describe_rule(rule, max(0, len(steps) - 1)),
    ]


def _describe_keeps(log: TrialLog, keeps: int) -> str:
    if is_recorded(log.trials):
        text = "trials after the first were kept"
    else:
        text = "trials were better than all before them; the log records no decision"
    if log.in_history is not None:
        text += (
            f"; of all that the log calls kept, the history has {log.in_history}, and"
            f" {log.on_branch} are on its branch"
        )
    return text


def _describe_rule(rule: KeepRule, decided: int) -> Line:
    if rule.name == "not recorded":
        text = "cannot tell: the log records no decision"
        return Line(name="keep rule", figure=missing("cannot tell", "exceptions"), text=text)
    start = f"exceptions in {decided} decisions from"
    texts = {
        "greedy": f"{start} greedy keeping: what scores better than the champion, nothing else",
        "bar": f"{start} a bar: what gains more than a number in {_between(rule)}, nothing else",
        "other": f"{start} greedy keeping: {rule.better_dropped} better trials were dropped,"
        f" {rule.worse_kept} that were no better were kept; the log does not say by what rule",
    }
    exceptions = 0 if rule.name == "bar" else rule.better_dropped + rule.worse_kept
    figure = exactly(exceptions, "exceptions")
    return Line(name="keep rule", figure=figure, text=texts[rule.name])


def _between(rule: KeepRule) -> str:
    low, high = rule.bar or (0.0, 0.0)
    return f"{write_number(low)} to {write_number(high)}"


def lost_trials(log: TrialLog) -> int:
    """Return how many trials the loop made beyond those in the log."""
    return max(0, (log.made or 0) - len(log.trials))


def count_looks(trials: Sequence[Trial]) -> Line:
    """Return the line of evaluations on the same data."""
    scored = [t for t in trials if t.score is not None]
    groups = Counter(t.group for t in scored)
    if "" in groups or not groups:
        text = (
            f"cannot tell: the log does not name its data; if they were the same, they were looked"
            f" at {len(scored)} times"
        )
        figure = Figure(value=float(len(scored)), n=len(scored), unit="looks", word="cannot tell")
        return Line(name="looks at the same data", figure=figure, text=text)
    name, most = groups.most_common(1)[0]
    text = f"at {name!r}, the most of {len(groups)} data sets"
    return Line(name="looks at the same data", figure=exactly(most, "looks"), text=text)


def tell_duplicates(trials: Sequence[Trial]) -> list[Line]:
    """Return the lines of repeated contents and of equal scores."""
    known = [t for t in trials if t.content]
    extra = len(known) - len({(t.content, t.group) for t in known})
    figure, text = exactly(extra, "trials"), "trials repeat a content that was evaluated before"
    if not known:
        figure = missing("cannot tell", "trials")
        text = "cannot tell: the log does not have the content of its trials"
    elif len(known) < len(trials):
        text += f"; of {len(known)} trials whose content is known"
    return [
        Line(name="duplicates", figure=figure, text=text),
        _count_equal(trials),
    ]


def _count_equal(trials: Sequence[Trial]) -> Line:
    """Return the line of exactly equal scores under different names or descriptions."""
    seen: dict[float, tuple[str, str]] = {}
    equal = 0
    for trial in trials:
        if trial.score is not None:
            label = (trial.content or trial.name, trial.text)
            equal += seen.setdefault(trial.score, label) != label
    text = "trials have exactly the score of an earlier trial of another content or description"
    if equal:
        text += ": the change may not have been in effect, or the score is coarse"
    return Line(name="equal scores", figure=exactly(equal, "trials"), text=text)


def tell_promises(trials: Sequence[Trial], steps: Sequence[Step]) -> Line:
    """Return the line of promised gains beside the logged ones."""
    name = "promised less kept"
    pairs = [
        (promise, step.gain)
        for step in steps
        if step.keep and (promise := trials[step.index].promised) is not None
    ]
    if not pairs:
        text = "cannot tell: no kept trial has a promised gain"
        return Line(name=name, figure=missing("cannot tell", "score"), text=text)
    figure = mean([promised - gain for promised, gain in pairs], "score")
    if figure.word:
        less = write_number(figure.value or 0.0)
        text = (
            f"cannot tell: over {len(pairs)} keeps the mean of promised less logged gain is {less}"
        )
        return Line(name=name, figure=figure, text=text)
    text = f"is the mean of promised less logged gain over {len(pairs)} keeps"
    return Line(name=name, figure=figure, text=text)
