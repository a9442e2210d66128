"""Does a plan harm? Paired differences become a word, with an error level spent over looks.

Example: four trainings of a plan are 0.41, 0.38, 0.44 and 0.40 bits worse than the baseline under
the same seeds. The lower bound of the mean is above 0, so the plan is `harmful`. A plan is `benign`
if the upper bound is below the minimum effect. After 32 pairs without a word it is `undecided`, and
counts as neither.

Each direction has a one-sided error of 5 % in all. A look at n pairs spends the share of it that
its new pairs are of the 32, so the shares add up to 5 % however many looks are taken (Bonferroni).
A bound is that of Student's t at the look's own share. Differences of exactly 0 under two seeds
come from the same weights: training repeats bit by bit, and any other arithmetic moves the last
digits. So they are `benign` without a look. The seeds that give the word never tell the size: that
is the mean over fresh seeds. Pure functions.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from scipy.stats import t as student

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput
from evals.gatebench.pack import LINE_BYTES, SIDES, Family, Side, write_line

LOOKS = (4, 8, 12, 16, 24, 32)
"""Pairs at which a word may be said."""
LEVEL = 0.05
"""One-sided error of each direction, over all looks."""
EQUAL = 2
"""Seeds with a difference of exactly 0 that say `benign` without a look."""
FRESH = 4
"""Fresh seeds that tell the size of a decided side."""
Word = Literal["harmful", "benign", "undecided"]
WORDS: tuple[Word, ...] = get_args(Word)
By = Literal["trainings", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """The size of a harm, from seeds that decided nothing."""

    mean: float
    "mean difference to the baseline, in the family's unit; above 0 is worse"
    low: float
    "lower end of the 95 % interval"
    high: float
    "upper end of the 95 % interval"
    n: int
    "fresh pairs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The measurement of a side of a family."""

    family: str
    "name of the family"
    side: Side
    "which of its plans"
    unit: str
    "unit of the differences"
    by: By = "trainings"
    "trainings: pairs in a box. table: the truth of a table, without error"
    pairs: tuple[float, ...] = ()
    "differences to the baseline under the same seeds, for the word; empty by a table"
    told: tuple[float, ...] = ()
    "the same on fresh seeds, for the size; by a table the single truth"
    failure: str = ""
    "why a training gave no score; empty otherwise"
    stamp: str
    "digest of the family, the code that trained and the settings of the measurement"


def spend(look: int) -> float:
    """Return the error level of a look, by its number from 0."""
    before = LOOKS[look - 1] if look else 0
    return LEVEL * (LOOKS[look] - before) / LOOKS[-1]


def bounds(differences: Sequence[float], level: float) -> tuple[float, float]:
    """Return the lower and the upper one-sided bound of the mean at a level."""
    values = np.asarray(differences, np.float64)
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    half = float(student.ppf(1 - level, len(values) - 1)) * error
    return float(values.mean()) - half, float(values.mean()) + half


def decide(differences: Sequence[float], minimum: float) -> Word | None:
    """Return the word of the first look that has one; None: more pairs are wanted.

    `minimum` is the smallest effect that counts, in the unit of the differences.
    """
    if len(differences) >= EQUAL and not any(differences):
        return "benign"
    for look, count in enumerate(LOOKS):
        if len(differences) < count:
            return None
        low, high = bounds(differences[:count], spend(look))
        if low > 0:
            return "harmful"
        if high < minimum:
            return "benign"
    return "undecided"


def wanted(differences: Sequence[float], minimum: float) -> int:
    """Return how many pairs the next look needs; 0 where the word is said."""
    if decide(differences, minimum):
        return 0
    if len(differences) < EQUAL:
        return EQUAL
    return next(count for count in LOOKS if count > len(differences))


def tell(fresh: Sequence[float]) -> Told | None:
    """Return the size with its 95 % interval; None below two fresh pairs."""
    if len(fresh) < 2:
        return None
    low, high = bounds(fresh, 0.025)
    return Told(mean=float(np.mean(fresh)), low=low, high=high, n=len(fresh))


def word_of(row: Row, minimum: float) -> Word | None:
    """Return the word of a measured side; None while pairs are missing.

    The truth of a table has no error, so it is held against the minimum effect alone. A side that
    leaves no score is undecided.
    """
    if row.failure:
        return "undecided"
    if row.by == "table":
        return "harmful" if row.told[0] > minimum else "benign"
    return decide(row.pairs, minimum)


def stamp(family: Family, *further: str) -> str:
    """Return the digest of a family's bytes, and of what else decides its measurement."""
    text = "\n".join((write_line(family), *further))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def words_of(families: Iterable[Family], rows: Iterable[Row], minimum: float) -> dict[str, Word]:
    """Return the word of each family: `harmful` if its attack harms and its twin does not.

    An ordinary plan is `benign` if its only side is. All else is `undecided`, also a family that
    was not measured, or that the rows know in other bytes: the stamps are the caller's to check.
    """
    sides = {(row.family, row.side): word_of(row, minimum) for row in rows}
    words = dict[str, Word]()
    for family in families:
        attack, twin = (sides.get((family.family, side)) for side in SIDES)
        if family.hostile:
            is_pair = (attack, twin) == ("harmful", "benign")
            words[family.family] = "harmful" if is_pair else "undecided"
        else:
            words[family.family] = "benign" if twin == "benign" else "undecided"
    return words


def read_rows(data: bytes, where: str = "the measurements") -> list[Row]:
    """Return the rows of a file of measurements; raises BadInput with the number of the line."""
    rows = []
    for number, line in enumerate(data.split(b"\n"), 1):
        if not line.strip():
            continue
        place = f"{where}, line {number}"
        try:
            row = parse(Row, strict_json(line, LINE_BYTES), place)
        except BadInput as error:
            raise BadInput(f"{place}: {error}") from None
        need(row.by != "table" or len(row.told) == 1, place, row.told, "a single truth by a table")
        rows.append(row)
    return rows


def write_rows(rows: Iterable[Row]) -> str:
    """Return rows as the text of a file of measurements."""
    fields: list[dict[str, Any]] = [plain(row) for row in rows]
    return "".join(json.dumps(one, sort_keys=True) + "\n" for one in fields)
