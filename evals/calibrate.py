"""How often each acceptance rule keeps a worthless change, and how often it sees a real gain.

Campaigns are simulated on measured seed noise. Three nulls are asked: (a) the same recipe under
independent seeds; (b) a candidate with this noise against a champion that is steady at its mean;
(c) a true gain equal to the minimum effect. Pure functions of scores and a seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, nct
from scipy.stats import t as student

from configs.build import need
from evals.accepted_gain import draw_failing
from evals.rules import MOST_PATTERNS, RULES, Gains

NULLS = ("a", "b", "c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaigns:
    """The simulated campaigns: candidates are screened, and the best of each generation is
    confirmed.
    """

    campaigns: int = 2000
    "campaigns per rule, null and noise"
    candidates: int = 100
    "candidates of one campaign"
    confirmations: int = 10
    "planned confirmations, which share alpha"
    alpha: float = 0.05
    "false keeps per campaign"
    pairs: int = 12
    "most pairs of one confirmation"
    first_look: int = 4
    "pairs before the first look"
    deviation: float = 0.0877
    "the seed deviation given to the rules"
    effect: float = 3.0
    "true gain for power, in seed standard deviations of the noise"

    @property
    def level(self) -> float:
        """Level of one confirmation."""
        return self.alpha / self.confirmations


def calibrate(
    rule: str, null: str, scores: Sequence[float], plan: Campaigns, seed: int = 1
) -> dict[str, Any]:
    """Return one row: campaigns, false_keep_rate, upper, fake_gain, power, replicates.

    `scores` is one recipe's measured scores, drawn with replacement. `upper` is the one-sided 95 %
    bound of the false keep rate, `fake_gain` is in score units per campaign, and `power` is None
    but for null a. Screening uses other seeds, so it changes no gain on confirm and is not
    simulated. Only greedy rests on screening: it carries the champion's single score forward and
    keeps every better one.
    """
    need(len(scores) > 0, "scores", len(scores), "at least one measured score")
    rng = np.random.default_rng([seed, NULLS.index(null)])
    sample = np.asarray(scores, float)
    wrong, fake, pairs = _simulate(rule, null, sample, rng, plan)
    return {
        "campaigns": plan.campaigns,
        "false_keep_rate": float(wrong.mean()),
        "upper": upper(int(wrong.sum()), plan.campaigns),
        "fake_gain": float(fake.mean()),
        "replicates": pairs,
        "power": power(rule, sample, plan, rng)[0] if null == "a" else None,
    }


def fingerprint(rule: str, null: str) -> list[float]:
    """Return figures of a few campaigns on a fixed sample, to nine digits.

    A comment or another layout of the code leaves them alone; another rule, another draw or another
    way of counting changes them. Rows of an older fingerprint are simulated anew.
    """
    plan = Campaigns(campaigns=40, candidates=10, confirmations=3, pairs=8)
    sample = np.linspace(0.1, 0.95, 18) ** 2
    rng = np.random.default_rng([5, NULLS.index(null)])
    wrong, fake, pairs = _simulate(rule, null, sample, rng, plan)
    power_seen, used = power(rule, sample, plan, rng, confirmations=100)
    return [float(f"{v:.9g}") for v in (*wrong, *fake, pairs, power_seen or 0.0, used)]


def _simulate(
    rule: str, null: str, sample: Gains, rng: np.random.Generator, plan: Campaigns
) -> tuple[NDArray[np.bool_], Gains, float]:
    """Return (whether it kept a change, gain that it faked, mean pairs) of each campaign."""
    bar = minimum(sample) if null == "c" else 0.0
    if rule == "greedy":
        return _keep_records(null, sample, rng, plan, bar)
    return _confirm(rule, null, sample, rng, plan, bar)


def minimum(sample: Gains) -> float:
    """Return the minimum effect of null c: a seed deviation, at least 0.02."""
    return max(float(sample.std()), 0.02)


def draw(
    null: str, sample: Gains, rng: np.random.Generator, shape: tuple[int, ...], bar: float
) -> tuple[Gains, Gains]:
    """Return (candidate, champion) scores under a null, each of `shape`.

    The true gain is `bar`, the minimum effect.
    """
    if null == "b":
        return draw_failing(rng, shape, tuple(sample))
    return rng.choice(sample, shape) + bar, rng.choice(sample, shape)


def _confirm(
    rule: str, null: str, sample: Gains, rng: np.random.Generator, plan: Campaigns, bar: float
) -> tuple[NDArray[np.bool_], Gains, float]:
    shape = (plan.campaigns * plan.confirmations, plan.pairs)
    candidate, champion = draw(null, sample, rng, shape, bar)
    gains = candidate - champion
    accepted, pairs = RULES[rule].play(
        gains, level=plan.level, effect=bar, deviation=plan.deviation, first_look=plan.first_look
    )
    seen = np.cumsum(gains, axis=1)[np.arange(len(gains)), pairs - 1] / pairs
    by = accepted.reshape(plan.campaigns, plan.confirmations)
    wrong: NDArray[np.bool_] = np.logical_or.reduce(by, axis=1)
    return wrong, (by * (seen - bar).reshape(by.shape)).sum(axis=1), float(pairs.mean())


def _keep_records(
    null: str, sample: Gains, rng: np.random.Generator, plan: Campaigns, bar: float
) -> tuple[NDArray[np.bool_], Gains, float]:
    candidates, champions = draw(null, sample, rng, (plan.campaigns, plan.candidates), bar)
    champion = champions[:, 0].copy()
    start = champion.copy()
    wrong: NDArray[np.bool_] = np.zeros(plan.campaigns, bool)
    for score in candidates.T:
        better = score > champion + bar
        wrong |= better
        champion = np.where(better, score, champion)
    return wrong, np.where(wrong, champion - start - bar, 0.0), 1.0


def power(
    rule: str, sample: Gains, plan: Campaigns, rng: np.random.Generator, confirmations: int = 4000
) -> tuple[float | None, float]:
    """Return (share of confirmations that accept a real gain, mean pairs); None without any spread.

    The gain is `plan.effect` seed deviations: a shift of the same noise, past 1 if need be. Greedy
    decides on its single pair.
    """
    gain = plan.effect * float(sample.std())
    if gain == 0:
        return None, float(plan.pairs)
    gains = (
        rng.choice(sample, (confirmations, plan.pairs))
        + gain
        - rng.choice(sample, (confirmations, plan.pairs))
    )
    first = 1 if rule == "greedy" else plan.first_look
    accepted, pairs = RULES[rule].play(
        gains, level=plan.level, effect=0.0, deviation=plan.deviation, first_look=first
    )
    return float(accepted.mean()), float(pairs.mean())


def pool_rows(rows: Mapping[str, Mapping[str, Any]], counted: Sequence[str]) -> dict[str, Any]:
    """Return one row over the counted kinds of noise, each with as many campaigns.

    Every kind's own rate, bound and power stand beside it.
    """
    chosen = [rows[kind] for kind in counted]
    total, wrong = (
        sum(r["campaigns"] for r in chosen),
        sum(round(r["false_keep_rate"] * r["campaigns"]) for r in chosen),
    )
    seen = [r["power"] for r in chosen if r["power"] is not None]
    fake, pairs = (
        float(np.mean([r[name] for r in chosen])) for name in ("fake_gain", "replicates")
    )
    return {
        "campaigns": total,
        "false_keep_rate": wrong / total,
        "upper": upper(wrong, total),
        "fake_gain": fake,
        "power": float(np.mean(seen)) if seen else None,
        "replicates": pairs,
        "by_noise": {
            kind: {name: row[name] for name in ("false_keep_rate", "upper", "power")}
            for kind, row in rows.items()
        },
    }


def real(rule: str, scores: Mapping[str, Sequence[float]], plan: Campaigns) -> dict[str, Any]:
    """Return the row of null a on real trainings; every score is used once.

    Candidate and champion take turns, in the order of seed numbers. Confirmations follow each other
    within a recipe, and ten make a campaign. Left-over confirmations count alone.
    """
    accepts, pairs, fake = [], 0, 0.0
    first = 1 if rule == "greedy" else plan.first_look
    for sample in scores.values():
        gains = [float(c - b) for c, b in zip(sample[::2], sample[1::2], strict=False)]
        while len(gains) >= first:
            answer, n = _walk(rule, gains, plan, first)
            if answer == "continue":
                break
            accepts.append(answer == "accept")
            fake += float(np.mean(gains[:n])) * accepts[-1]
            pairs, gains = pairs + n, gains[n:]
    tens = [
        any(accepts[i : i + plan.confirmations])
        for i in range(0, len(accepts) - plan.confirmations + 1, plan.confirmations)
    ]
    return {
        "campaigns": len(tens),
        "false_keep_rate": sum(tens) / max(1, len(tens)),
        "upper": upper(sum(tens), len(tens)),
        "fake_gain": fake / max(1, len(tens)),
        "power": None,
        "replicates": pairs / max(1, len(accepts)),
        "confirmations": len(accepts),
        "false_accepts": sum(accepts),
        "upper_accept": upper(sum(accepts), len(accepts)),
        "trainings": sum(len(s) for s in scores.values()),
    }


def _walk(rule: str, gains: Sequence[float], plan: Campaigns, first: int) -> tuple[str, int]:
    """Return the rule's answer and its pairs; `continue` if the gains ran out."""
    for n in range(first, min(plan.pairs, len(gains)) + 1):
        answer = RULES[rule](
            gains[:n], level=plan.level, effect=0.0, deviation=plan.deviation, most=plan.pairs
        ).answer
        if answer != "continue":
            break
    return answer, n


def upper(wrong: int, total: int, chance: float = 0.95) -> float:
    """Return the one-sided upper confidence bound of a rate (Clopper and Pearson 1934)."""
    return float(beta.ppf(chance, wrong + 1, total - wrong)) if wrong < total else 1.0


def pairs_needed(
    rule: str, sample: Gains, gain: float, plan: Campaigns, target: float
) -> tuple[int | None, float, float]:
    """Return (fewest most-pairs with `target` power, mean pairs with the gain, mean pairs without
    it).

    `gain` is in score units. None if no number up to 40 (20 for group_sequential) is enough.
    """
    longest = MOST_PATTERNS if rule == "group_sequential" else 40
    rng, size = np.random.default_rng(3), 1000 if longest == 40 else 400
    noise = rng.choice(sample, (size, longest)) - rng.choice(sample, (size, longest))

    def play(most: int, shift: float) -> tuple[float, float]:
        accepted, pairs = RULES[rule].play(
            noise[:, :most] + shift,
            level=plan.level,
            effect=0.0,
            deviation=plan.deviation,
            first_look=min(plan.first_look, most),
        )
        return float(accepted.mean()), float(pairs.mean())

    for most in range(1, longest + 1):
        seen, used = play(most, gain)
        if seen >= target:
            return most, used, play(most, 0.0)[1]
    return None, float(longest), float(longest)


def campaigns_needed(gain: float, deviation: float, alpha: float, target: float) -> int:
    """Return the repeats with which a paired two-sided t test sees a difference `gain` of two arms.

    The difference of two campaigns of a repeat deviates by `deviation`. At most 10,000.
    """
    for n in range(2, 10_000):
        bound, shift = student.ppf(1 - alpha / 2, n - 1), gain / deviation * np.sqrt(n)
        if nct.sf(bound, n - 1, shift) >= target:
            return n
    return 10_000
