"""Acceptance rules by name: all paired gains so far in, a decision out.

A vectorised evidence per rule serves both judge and calibration. A gain is candidate minus champion
on one seed, and the null is a true gain <= effect. docs/judging.md says by which theorem each rule
controls which null. After every pair a rule gives a bound on a p-value and the bound it must pass.
Gains that are not finite are refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, hyp1f1
from scipy.stats import norm
from scipy.stats import t as student

from configs.build import need

Gains = NDArray[np.float64]
MOST_PATTERNS = 20
"""group_sequential counts 2^n sign patterns; n is at most this."""
_TIE = 1e-9
"""Sums as close to zero are ties, and count against the candidate: floats must not decide."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Decision of a rule on the gains so far."""

    answer: Literal["accept", "reject", "inconclusive", "continue"]
    """reject: stopped with no gain above the effect seen; inconclusive: stopped, seen but not
    proven; continue: another pair is wanted
    """
    evidence: float
    "bound on the p-value against `true gain <= effect`; for an e-process 1/e"
    text: str
    "one clause for people"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """An acceptance rule: evidence and its bound, vectorised over campaigns. A call decides one
    campaign.
    """

    name: str
    "its name in RULES"
    evidence: Callable[[Gains, float, float], Gains]
    """(gains above the effect (P, n), effect, deviation) -> bound on p after each pair (P, n),
    above 1 if evidence speaks against
    """
    asked: Callable[[float, int], Gains]
    """(level, most) -> the bound to pass after each pair (most,); negative if the rule does not
    look
    """
    fastest: float
    "the least factor that one more pair can multiply the evidence by; 0: no such factor"
    scale_free: bool = False
    "whether gains in another unit give the same evidence"

    def __call__(
        self, gains: Sequence[float], *, level: float, effect: float, deviation: float, most: int
    ) -> Decision:
        """Decide at `level` on all paired gains so far.

        `deviation` is the measured seed deviation of a run, `most` the planned most pairs. Raises
        BadInput for gains that are not finite and for more pairs than planned.
        """
        x = np.asarray(gains, float)
        need(0 < len(x) <= most, "gains", len(x), f"between 1 and the planned most of {most} pairs")
        need(bool(np.isfinite(x).all()), "gains", list(gains), "finite numbers")
        n, bounds = len(x), self.asked(level, most)
        p = float(self.evidence((x - effect)[None, :], effect, deviation)[0, -1])
        text = f"{self.name}: p <= {min(p, 1.0):.2g} after {n} of at most {most} pairs"
        if p <= bounds[n - 1]:
            return Decision(
                answer="accept", evidence=min(p, 1.0), text=f"{text}, {bounds[n - 1]:.2g} asked"
            )
        if p <= self.reach(bounds)[n - 1]:
            return Decision(answer="continue", evidence=min(p, 1.0), text=text)
        above = float(x.mean()) - effect > _TIE
        return Decision(
            answer="inconclusive" if above else "reject",
            evidence=min(p, 1.0),
            text=f"{text}, no longer in reach of level {level:.2g}",
        )

    def reach(self, asked: Gains) -> Gains:
        """Return the worst evidence after each pair (most,) from which a later look could still
        accept.

        Negative if no later look could.
        """
        most = len(asked)
        if not self.fastest:
            return np.array(
                [np.inf if (asked[n:] >= 0).any() else -1.0 for n in range(1, most + 1)]
            )
        return np.array(
            [
                max(asked[n:] / self.fastest ** np.arange(1, most - n + 1), default=-1.0)
                for n in range(1, most + 1)
            ]
        )

    def play(
        self, gains: Gains, *, level: float, effect: float, deviation: float, first_look: int = 1
    ) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Return the judge's result on many confirmations at once, gains (P, most).

        The result is (accepted (P,), pairs used (P,)).
        """
        asked = self.asked(level, gains.shape[1])
        chunks = np.array_split(
            gains - effect, max(1, len(gains) * 2 ** min(gains.shape[1], MOST_PATTERNS) // 2**22)
        )
        p = np.concatenate([self.evidence(chunk, effect, deviation) for chunk in chunks])
        over = (p <= asked) | ~(p <= self.reach(asked))
        over[:, : min(first_look, over.shape[1]) - 1] = False
        pairs = np.where(over.any(axis=1), over.argmax(axis=1), over.shape[1] - 1)
        return (p <= asked)[np.arange(len(p)), pairs], pairs + 1


def _greedy(x: Gains, effect: float, deviation: float) -> Gains:
    """Keep if better at the first look, with no error control at all; a tie is not better."""
    return np.where(np.cumsum(x, axis=1) > _TIE, 0.0, 1.0)


def _student(x: Gains, effect: float, deviation: float) -> Gains:
    """One-sided t test (Student 1908).

    The standard error is never below the task's measured deviation x sqrt(2/n).
    """
    mean, error, n = _moments(x, deviation)
    p = np.ones_like(x)
    p[:, 1:] = student.sf((mean / error)[:, 1:], n[1:] - 1)
    return p


def _mixture(x: Gains, effect: float, deviation: float) -> Gains:
    """1/e of the t mixture: half-normal prior of deviation 2 on the standardised gain.

    Lai 1976; Grunwald, de Heide and Koolen 2024.
    """
    mean, error, n = _moments(x, deviation)
    t = mean / error
    u, e = t / np.sqrt(np.maximum(n - 1, 1) + t * t), np.zeros_like(x)
    twist = np.sqrt(2) * np.exp(gammaln((n + 1) / 2) - gammaln(n / 2))
    for delta in 2 * norm.ppf(0.5 + (np.arange(16) + 0.5) / 32):
        y = np.sqrt(n) * delta * u
        ratio = hyp1f1(n / 2, 0.5, y * y / 2) + twist * y * hyp1f1((n + 1) / 2, 1.5, y * y / 2)
        e += np.exp(-n * delta**2 / 2) * np.maximum(ratio, 0) / 16
    return np.where(n > 1, 1 / np.maximum(e, 1e-300), 1.0)


def _patterns(x: Gains, effect: float, deviation: float) -> Gains:
    """Share of the 2^n sign patterns with a sum of at least the observed sum: exact under symmetry.

    Fisher 1935; Pitman 1937. A pattern counts if its flipped gains sum to at most zero. More gain
    never raises the share, so a true gain below the effect is covered.
    """
    shares, sums = np.ones_like(x), np.zeros((len(x), 1))
    for n in range(x.shape[1]):
        sums = np.concatenate([sums, sums + x[:, n : n + 1]], axis=1)
        shares[:, n] = (sums <= _TIE).mean(axis=1)
    return shares


def _flips(x: Gains, effect: float, deviation: float) -> Gains:
    """1/e of prod(1 + tanh(c x / s)), mixed over c; s comes from the deviation and past gains.

    Fair under symmetry (de la Pena 1999; Ramdas et al. 2020).
    """
    past = np.cumsum(np.square(x), axis=1) - np.square(x)
    scale = np.sqrt((2 * deviation**2 + past) / np.arange(1, x.shape[1] + 1))
    logs = [
        np.cumsum(np.log(2) - np.logaddexp(0, -2 * c * x / scale), axis=1)
        for c in (0.25, 0.5, 1.0, 2.0, 4.0)
    ]
    return _one_over(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))


def _betting(x: Gains, effect: float, deviation: float) -> Gains:
    """1/e of prod(1 + b x), mixed over bets b (Waudby-Smith and Ramdas 2024).

    Fair for gains in [-1 - effect, 1] of mean zero, of any shape. A gain above the effect is at
    least -1 - effect, so bets up to 1 / (1 + effect) never lose more than the stake.
    """
    logs = [np.cumsum(np.log1p(b * x), axis=1) for b in np.linspace(0.05, 0.99, 12) / (1 + effect)]
    return _one_over(np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)))


def _one_over(log_e: Gains) -> Gains:
    return np.exp(np.minimum(-log_e, 700.0))


def _moments(x: Gains, deviation: float) -> tuple[Gains, Gains, Gains]:
    """Return running mean and standard error (P, n), and n.

    The error is never below deviation x sqrt(2/n).
    """
    n = np.arange(1.0, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / n
    spread = np.maximum(np.cumsum(np.square(x), axis=1) - n * np.square(mean), 0) / np.maximum(
        n - 1, 1
    )
    return mean, np.sqrt(np.maximum(spread, 2 * deviation**2) / n), n


def _first(level: float, most: int) -> Gains:
    return np.full(most, 0.5)


def _last(level: float, most: int) -> Gains:
    return np.where(np.arange(most) == most - 1, level, -1.0)


def _any_time(level: float, most: int) -> Gains:
    return np.full(most, level)


@cache
def _spent(level: float, most: int) -> Gains:
    """Spend `level` over few looks (Lan and DeMets 1983); many looks would each cost.

    Half goes as soon as one pattern in 2^n fits into it, a fifth midway, and the rest at `most`. A
    look gets whole patterns and leaves the remainder to the next. The shares add up to at most
    `level`.
    """
    need(
        most <= MOST_PATTERNS,
        "confirm_replicates",
        most,
        f"at most {MOST_PATTERNS} with group_sequential; sign_flip has no such limit",
    )
    asked, used = np.full(most, -1.0), 0.0
    first = next((n for n in range(1, most) if 2.0**-n <= level / 2), most)
    middle = (first + most) // 2 if most - first >= 6 else most
    for n, released in {first: 0.5, middle: 0.7, most: 1.0}.items():
        patterns = int((level * released - used) * 2**n + 1e-9)
        if patterns:
            asked[n - 1] = patterns / 2**n
            used += patterns / 2**n
    return asked


RULES: dict[str, Rule] = {
    rule.name: rule
    for rule in (
        Rule(name="greedy", evidence=_greedy, asked=_first, fastest=1.0),
        Rule(name="paired_t", evidence=_student, asked=_last, fastest=0.0),
        Rule(
            name="group_sequential", evidence=_patterns, asked=_spent, fastest=0.5, scale_free=True
        ),
        Rule(name="sign_flip", evidence=_flips, asked=_any_time, fastest=0.5),
        Rule(name="betting", evidence=_betting, asked=_any_time, fastest=0.5),
        Rule(name="t_mixture", evidence=_mixture, asked=_any_time, fastest=0.0),
    )
}
"""Acceptance rules by the name that `objective.acceptance` takes."""
