"""The figures of a foreign log, line by line; each has a value, a range or a reason for neither."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from configs.errors import BadInput
from configs.records.trials import Direction, Trial, TrialLog
from evals.false_keeps import Weighed, weigh
from evals.intervals import Figure, missing, share
from evals.trial_logs import (
    KeepRule,
    Step,
    count_by_noise,
    excess_of_best,
    group_repeats,
    infer_direction,
    infer_rule,
    list_steps,
    measure_noise,
    repeats_to_tell,
    smallest_gain,
)
from loop.audit.lines import (
    Line,
    count_looks,
    count_trials,
    exactly,
    lost_trials,
    tell_duplicates,
    tell_promises,
)
from loop.text import write_number

REPEATS = (3, 5, 10, 20)
"""Repeats a side for which the smallest visible gain is told."""
MOST_SPAN = 1e9
"""Largest distance of two scores, in noise deviations, that is reckoned with."""
ASSUMED = "if each evaluation has independent normal noise of that size"


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """The deviation of one evaluation, and where it is from."""

    figure: Figure
    source: str

    @property
    def known(self) -> bool:
        """Whether there is a deviation above 0 to reckon with."""
        return self.figure.word != "constant" and bool(self.figure.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """A log with its steps, its rule, its noise and the lines of its page."""

    log: TrialLog
    direction: Direction
    noise: Noise
    rule: KeepRule
    steps: tuple[Step, ...]
    lines: tuple[Line, ...]


def measure(log: TrialLog, asked: Direction, noise: Noise | None) -> Audit:
    """Return every figure of a log. Raises BadInput where nothing says which scores are better."""
    direction = asked or infer_direction(log.trials) or log.direction
    if not direction:
        raise BadInput(
            f"--direction is not given, and neither the name {log.metric!r} nor the keeps say which"
            " scores are better; it should be up or down"
        )
    steps = list_steps(log.trials, direction)
    rule = infer_rule(log.trials, steps)
    noise = noise or _find_noise(log.trials)
    weighed = _weigh(log, steps, noise)
    lines = [
        *count_trials(log, steps, rule),
        count_looks(log.trials),
        _tell_noise(noise),
        _keeps_by_noise(log, rule),
        *_tell_weighed(log, steps, noise, weighed),
        *_tell_plateau(log, steps, noise),
        *tell_duplicates(log.trials),
        tell_promises(log.trials, steps),
    ]
    return Audit(
        log=log,
        direction=direction,
        noise=noise,
        rule=rule,
        steps=tuple(steps),
        lines=tuple(lines),
    )


def _find_noise(trials: Sequence[Trial]) -> Noise:
    return Noise(figure=measure_noise(group_repeats(trials)), source="repeats in the log")


def _tell_noise(noise: Noise) -> Line:
    figure = noise.figure
    if noise.known:
        text = f"is the deviation of one evaluation, from {noise.source}"
        if figure.low is not None:
            text += f" ({figure.n} degrees of freedom)"
        return Line(name="noise", figure=figure, text=text)
    reason = "it has no repeat of the same content"
    if figure.word == "constant":
        reason = f"all {figure.n} repeats have exactly the score of the first, as copies have"
    text = f"cannot tell: {reason}; give --noise, or --baseline with scores of unchanged repeats"
    return Line(name="noise", figure=missing("cannot tell", "score"), text=text)


def _keeps_by_noise(log: TrialLog, rule: KeepRule) -> Line:
    name = "keeps by noise alone"
    scored = sum(t.score is not None for t in log.trials) + lost_trials(log)
    if rule.name in ("bar", "other"):
        text = "cannot tell: this is known for greedy keeping, and the log keeps by another rule"
        return Line(name=name, figure=missing("cannot tell", "keeps"), text=text)
    figure = count_by_noise(scored)
    if figure.value is None:
        return Line(name=name, figure=figure, text="cannot tell: there is one trial")
    text = f"keeps are expected in {scored} trials if none has any effect, whatever the noise"
    return Line(name=name, figure=figure, text=text)


def _weigh(log: TrialLog, steps: Sequence[Step], noise: Noise) -> Weighed | str:
    """Return the weighed log at the noise, with ranges over its interval; or the reason why not."""
    if lost_trials(log):
        return f"{lost_trials(log)} trials are lost, keeps among them perhaps"
    if not noise.known or noise.figure.value is None:
        return "the noise is not known"
    span = max((abs(step.score - steps[0].score) for step in steps), default=0.0)
    if span > MOST_SPAN * (noise.figure.low or noise.figure.value):
        return "the noise is too small beside the scores"
    sizes = [noise.figure.value, noise.figure.low, noise.figure.high]
    all_weighed = [weigh(steps, size) for size in sizes if size]
    first = all_weighed[0]
    if first.false_keeps.word == "not exercised":
        return "nothing was kept after the first trial"
    if first.false_keeps.word:
        return f"{first.false_keeps.n} keeps are more than are weighed"
    return Weighed(
        false_keeps=_widen([w.false_keeps for w in all_weighed]),
        chances=first.chances,
        excess=_widen([w.excess for w in all_weighed]),
        left=_widen([w.left for w in all_weighed]),
    )


def _widen(figures: Sequence[Figure]) -> Figure:
    """Return the first figure, with a range that holds those of all."""
    low = min(f.low for f in figures if f.low is not None)
    high = max(f.high for f in figures if f.high is not None)
    return replace(figures[0], low=low, high=high)


def _tell_weighed(
    log: TrialLog, steps: Sequence[Step], noise: Noise, weighed: Weighed | str
) -> list[Line]:
    total = sum(step.gain for step in steps if step.keep)
    logged = f"the log promises {write_number(total)} over the first trial"
    names = ("false keeps", "winner's curse", "gain that is left")
    if isinstance(weighed, str):
        text = f"cannot tell: {weighed}"
        lines = [Line(name=n, figure=missing("cannot tell", "score"), text=text) for n in names]
        lines[2] = replace(lines[2], text=f"{text}; {logged}")
        return [*lines, *_curse_by_noise(log, steps, noise)]
    texts = (
        f"of {weighed.false_keeps.n} keeps are expected to be no better than the champion that they"
        f" replaced, {ASSUMED}",
        "is the score of the last champion less its true score, by the same reckoning",
        f"is the true gain of the last champion over the first trial; {logged}",
    )
    figures = (weighed.false_keeps, weighed.excess, weighed.left)
    lines = [Line(name=n, figure=f, text=t) for n, f, t in zip(names, figures, texts, strict=True)]
    return [*lines, *_curse_by_noise(log, steps, noise)]


def _curse_by_noise(log: TrialLog, steps: Sequence[Step], noise: Noise) -> list[Line]:
    """Return the line of the best of as many trials without any effect."""
    if not noise.known or noise.figure.value is None or len(steps) < 2:
        return []
    trials = len(steps) + lost_trials(log)
    one = excess_of_best(trials, 1.0)
    ends = [None if e is None else one * e for e in (noise.figure.low, noise.figure.high)]
    figure = Figure(
        value=one * noise.figure.value, low=ends[0], high=ends[1], n=trials, unit="score"
    )
    text = f"is the gain that the best of {trials} trials shows on average if none has any effect"
    return [Line(name="gain by noise alone", figure=figure, text=text)]


def _tell_plateau(log: TrialLog, steps: Sequence[Step], noise: Noise) -> list[Line]:
    keeps = [i for i, step in enumerate(steps) if step.keep]
    since = max(0, len(steps) - 1 - (keeps[-1] if keeps else 0))
    figure = share(0, since) if since else missing("not exercised", "share")
    text = "cannot tell: nothing was tried since the last keep"
    if since:
        text = f"{since} trials with a score since the last keep, so at most"
        text += f" {write_number(figure.high or 1.0)} of such trials would be kept (95 %)"
    lines = [Line(name="plateau", figure=figure, text=text, whole=True)]
    gain = steps[keeps[-1]].gain if keeps else math.nan
    if not noise.known or noise.figure.value is None:
        text = "cannot tell: the noise is not known"
        return [*lines, Line(name="repeats", figure=missing("cannot tell", "repeats"), text=text)]
    size = noise.figure.value
    seen = ", ".join(f"{n} tell {write_number(smallest_gain(n, size), '.3g')}" for n in REPEATS)
    enough = repeats_to_tell(gain, size) if keeps else None
    text = f"the smallest true gain that repeats a side tell with power 0.8: {seen}"
    if enough is None:
        figure = missing("cannot tell", "repeats")
        text = f"cannot tell the last gain by repeats: {_no_gain(keeps, gain)}; {text}"
    else:
        figure = exactly(enough, "repeats")
        last = write_number(gain)
        text = f"repeats a side tell the last gain, {last}, if it is as large as logged; {text}"
    return [*lines, Line(name="repeats", figure=figure, text=text)]


def _no_gain(keeps: Sequence[int], gain: float) -> str:
    if not keeps:
        return "nothing was kept"
    return "it is none" if gain <= 0 else "it is too small for any number"


def write_audit(audit: Audit) -> dict[str, Any]:
    """Return the audit for programs: the log's facts, then every line."""
    lines = {
        line.key: {
            "value": line.figure.value,
            "low": line.figure.low,
            "high": line.figure.high,
            "n": line.figure.n,
            "unit": line.figure.unit,
            "word": line.figure.word,
            "says": line.text,
        }
        for line in audit.lines
    }
    return {
        "format": audit.log.format,
        "metric": audit.log.metric,
        "direction": audit.direction,
        "rule": audit.rule.name,
        "noise_source": audit.noise.source if audit.noise.known else None,
        "notes": list(audit.log.notes),
        "figures": lines,
    }
