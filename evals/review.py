"""What is a review of claims worth: AUROC, calibration, and which kinds of claims replicate?

Example: claims that replicate got 0.9 and 0.6, one that does not got 0.7. AUROC is 0.5: of the two
pairs one is in the right order. The bias is 0.07: 0.73 on average, and two of three replicate.
Intervals are over repeats, since the claims of a campaign share its champions. Pure functions.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evals.intervals import Figure, Floats, bootstrap, mean, missing
from evals.writeups import KINDS, MEASURED, Claim, Novelty

BEST = "care"
"""The reviewer beside which the others stand."""
_CLAIMS = "share of claims"


def measure_review(
    claims: Sequence[Claim], said: Mapping[str, Floats], novelty: Sequence[Novelty] = ()
) -> dict[str, Any]:
    """Return the figures of write-ups and their review; `said`: reviewer -> probabilities (N,),
    NaN where it was not asked.

    Claims that could not be checked count in `checked` alone. Intervals are over repeats. A
    reviewer that was asked about some of the claims stands beside BEST on the same ones.
    """
    count = len(claims)
    places = [place for place, claim in enumerate(claims) if claim.checked]
    known = [claims[place] for place in places]
    figures: dict[str, Any] = {
        "claims": _per_repeat(claims, lambda own: float(len(own)), "claims"),
        "checked": _per_repeat(claims, lambda own: _share(own, "checked"), "share of claims"),
        "as the law": _per_repeat(
            known, lambda own: float(np.mean([c.replicates == c.holds for c in own])), _CLAIMS
        ),
        "replicates": _shares(known),
    }
    truth = np.array([claim.replicates for claim in known], bool)
    law = np.array([claim.holds for claim in known], bool)
    repeats = np.array([claim.repeat for claim in known], int)
    told = {name: np.asarray(values, float)[places] for name, values in said.items()}
    for name, values in told.items():
        assert len(said[name]) == count, name
        own, right, at = (one[np.isfinite(values)] for one in (values, truth, repeats))
        figures[name] = {
            "AUROC": _auroc_figure([own], right, at),
            "AUROC, law": _auroc_figure([own], law[np.isfinite(values)], at),
            "bias": mean(list(_grouped(own - right, at).values()), "probability"),
            "Brier": mean(list(_grouped((own - right) ** 2, at).values()), "squared", neutral=None),
        }
    for name, values in told.items():
        if name == BEST or BEST not in told:
            continue
        asked = np.isfinite(values)
        best, own, right, at = (one[asked] for one in (told[BEST], values, truth, repeats))
        apart = (own - right) ** 2 - (best - right) ** 2
        figures[f"{BEST} minus {name}"] = {
            "AUROC": _auroc_figure([best, own], right, at),
            "Brier saved": mean(list(_grouped(apart, at).values()), "squared"),
        }
    for name, groups in _reviewed(claims).items():
        asked = [float(len(own)) for own in groups.values()]
        shares = [float(np.mean(own)) for own in groups.values()]
        figures[name]["asked"] = mean(asked, "claims", neutral=None)
        figures[name]["answered"] = mean(shares, "share of answers", neutral=None)
    if novelty:
        figures["novelty"] = _measure_novelty(claims, novelty)
    return figures


def _reviewed(claims: Sequence[Claim]) -> dict[str, dict[int, list[float]]]:
    """Return reviewer -> repeat -> of each of its claims, the share of answers that count."""
    groups = dict[str, dict[int, list[float]]]()
    for claim in claims:
        for name in dict.fromkeys(said.reviewer for said in claim.reviews):
            own = [said.probability is not None for said in claim.reviews if said.reviewer == name]
            groups.setdefault(name, {}).setdefault(claim.repeat, []).append(float(np.mean(own)))
    return groups


def _share(claims: Sequence[Claim], what: str) -> float:
    return float(np.mean([getattr(claim, what) for claim in claims]))


def _per_repeat(
    claims: Sequence[Claim], read: Callable[[Sequence[Claim]], float], unit: str
) -> Figure:
    return mean([read(own) for own in group_claims(claims).values()], unit, neutral=None)


def group_claims(claims: Sequence[Claim]) -> dict[int, list[Claim]]:
    """Return repeat -> its claims, in order."""
    groups = defaultdict[int, list[Claim]](list)
    for claim in claims:
        groups[claim.repeat].append(claim)
    return dict(groups)


def _shares(claims: Sequence[Claim]) -> dict[str, Figure]:
    """Return the share that replicates by kind, of findings by what they say, and how much less
    predictions replicate than findings.
    """
    shares = dict[str, Figure]()
    sides: dict[str, list[Claim]] = {
        kind: [c for c in claims if c.stated.kind == kind] for kind in KINDS
    }
    sides["gain, accepted"] = [c for c in sides[MEASURED] if c.accepted]
    sides["gain, not accepted"] = [c for c in sides[MEASURED] if not c.accepted]
    for name, own in sides.items():
        shares[name] = _per_repeat(own, lambda part: _share(part, "replicates"), _CLAIMS)
    for kind in ("part", "elsewhere", "compute"):
        at = {
            repeat: _share(own, "replicates") for repeat, own in group_claims(sides[kind]).items()
        }
        # The same write-ups on both sides: the table lacks some recipes elsewhere.
        plans = {claim.plan for claim in sides[kind]}
        home = [claim for claim in sides[MEASURED] if claim.plan in plans]
        beside = _replicating(home)
        apart = [beside[repeat] - at[repeat] for repeat in at if repeat in beside]
        shares[f"gain minus {kind}"] = mean(apart, _CLAIMS)
    return shares


def _replicating(claims: Sequence[Claim]) -> dict[int, float]:
    return {at: _share(own, "replicates") for at, own in group_claims(claims).items()}


def _measure_novelty(claims: Sequence[Claim], novelty: Sequence[Novelty]) -> dict[str, Figure]:
    """Return the mean novelty, and that of findings that replicate less that of the others."""
    found = {c.plan: c.replicates for c in claims if c.stated.kind == MEASURED and c.checked}
    figures = dict[str, Figure]()
    for name, field in (("plan", "of_plan"), ("claim", "of_claim")):
        values = np.array([getattr(one, field) for one in novelty])
        repeats = np.array([one.repeat for one in novelty])
        by_repeat = _grouped(values, repeats)
        figures[name] = mean(list(by_repeat.values()), "share", neutral=None)
        apart = list[float]()
        for repeat in by_repeat:
            sides: dict[bool, list[float]] = {True: [], False: []}
            for one in novelty:
                if one.repeat == repeat and one.plan in found:
                    sides[found[one.plan]].append(getattr(one, field))
            if all(sides.values()):
                apart.append(float(np.mean(sides[True]) - np.mean(sides[False])))
        figures[f"{name}, replicating minus not"] = mean(apart, "share")
    return figures


def _grouped(values: Floats, repeats: NDArray[np.int64]) -> dict[int, float]:
    """Return repeat -> mean of its values."""
    return {int(r): float(values[repeats == r].mean()) for r in np.unique(repeats)}


def auroc(scores: Floats, truth: NDArray[np.bool_]) -> float:
    """Return the probability that a true claim (N,) has a higher score than a false one, ties
    half; NaN without both.
    """
    none = np.zeros(len(scores), int)
    return float(_auroc(scores, truth, none, 1)(np.ones((1, 1)))[0])


def _auroc_figure(
    scores: Sequence[Floats], truth: NDArray[np.bool_], repeats: NDArray[np.int64]
) -> Figure:
    """Return AUROC of scores, or that of the first less that of the second, over repeats."""
    if not truth.any() or truth.all():
        return missing("undefined", "probability")
    names, places = np.unique(repeats, return_inverse=True)
    read = [_auroc(one, truth, places, len(names)) for one in scores]
    if len(read) == 1:
        return bootstrap(read[0], len(names), "probability", neutral=0.5)
    return bootstrap(lambda w: read[0](w) - read[1](w), len(names), "probability")


def _auroc(
    scores: Floats, truth: NDArray[np.bool_], places: NDArray[np.int64], count: int
) -> Callable[[Floats], Floats]:
    """Return a function of weights (draws, count) of the repeats: their AUROC (draws,)."""
    wins = np.zeros((count, count))
    for place in range(count):
        bad = np.sort(scores[~truth & (places == place)])
        good = scores[truth]
        below = np.searchsorted(bad, good, "left"), np.searchsorted(bad, good, "right")
        np.add.at(wins[:, place], places[truth], (below[0] + below[1]) / 2)
    sides = [np.bincount(places[side], minlength=count).astype(float) for side in (truth, ~truth)]

    def read(weights: Floats) -> Floats:
        with np.errstate(invalid="ignore"):
            pairs = (weights @ sides[0]) * (weights @ sides[1])
            return np.asarray(((weights @ wins) * weights).sum(1) / pairs)

    return read


def bin_review(
    said: Floats, truth: NDArray[np.bool_], bins: int = 10
) -> list[tuple[float, float, int]]:
    """Return (mean probability, share that replicates, claims) of bins of equal width; empty bins
    are left out.
    """
    places = np.minimum((said * bins).astype(int), bins - 1)
    return [
        (float(said[own].mean()), float(truth[own].mean()), int(own.sum()))
        for own in (places == place for place in range(bins))
        if own.any()
    ]
