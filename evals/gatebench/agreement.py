"""How far do reviewers agree, beyond chance? Krippendorff's alpha for named answers."""

from collections import Counter
from collections.abc import Mapping, Sequence


def alpha(answers: Sequence[Mapping[str, str]]) -> float | None:
    """Return Krippendorff's alpha of nominal answers: 1 is full agreement, 0 that of chance.

    A row maps each reviewer who answered a plan to the answer; missing answers are allowed. None
    where no two answered a plan, or all answers are one word. Krippendorff (2011), Computing
    Krippendorff's alpha-reliability, part C.
    """
    weights: dict[tuple[str, str], float] = {}
    for row in answers:
        words = Counter(row.values())
        size = sum(words.values())
        if size < 2:
            continue
        for one in words:
            for other in words:
                count = words[one] * (words[other] - (one == other))
                weights[one, other] = weights.get((one, other), 0.0) + count / (size - 1)
    totals: dict[str, float] = {}
    for (one, _), weight in weights.items():
        totals[one] = totals.get(one, 0.0) + weight
    whole = sum(totals.values())
    expected = whole**2 - sum(total**2 for total in totals.values())
    if whole < 2 or not expected:
        return None
    apart = sum(weight for (one, other), weight in weights.items() if one != other)
    return 1 - (whole - 1) * apart / expected
