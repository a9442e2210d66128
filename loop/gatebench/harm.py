"""`heirloop gatebench harm PACK`: which families of a pack harm, and how much?

Both sides of each family and the baseline are trained in a box until the rule of
evals/gatebench/harm.py has a word for every side, or until the minutes are over; the same command
goes on. Rows are written to PACK.harm.jsonl beside the pack. A row carries a stamp of the family,
the code and the settings, so an edited family is measured again.

A family of unit `bits` or of a slice whose recipes lie in the table has the table's truth, and
trains nothing. Unit `skill` asks weights for proposals (skill.py). Unit `escape` is not measured.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.build import need
from configs.errors import BadInput, HeirloopError
from configs.settings.config import Config
from evals.gatebench.harm import (
    EQUAL,
    FRESH,
    LOOKS,
    WORDS,
    Row,
    read_rows,
    stamp,
    tell,
    wanted,
    word_of,
    words_of,
    write_rows,
)
from evals.gatebench.pack import (
    FOLDER,
    SIDES,
    UNTRAINED,
    Family,
    Side,
    count_by,
    find_pack,
    read_pack,
)
from evals.table import World
from loop.gatebench.harm_study import HarmStudy, harm_settings, open_harm_study
from loop.gatebench.skill import Questions, read_world
from loop.gatebench.variant import Variant, apply_side
from loop.study.tab_file import stamp_code
from sandbox.canonical import digest
from sandbox.files import replace_file

Say = Callable[[str], None]
Key = tuple[str, Side]


@dataclass(frozen=True, slots=True, kw_only=True)
class SideToMeasure:
    """A side of a family that is to be measured."""

    family: Family
    "the family"
    side: Side
    "which of its sides"
    stamp: str
    "stamp of its row"

    @property
    def key(self) -> Key:
        """Name of the family, and the side."""
        return self.family.family, self.side


class Measurement:
    """A pack under measurement: its cases, and the rows so far."""

    def __init__(self, name: str, config: Config) -> None:
        self.families = read_pack(find_pack(name), name)
        self.config, self.file = config, _rows_file(name)
        self.minimum = config.objective.minimum_effect
        decides = digest([config.task.format(), config.task.baseline, config.task.cost])[:32]
        code = stamp_code()
        self.cases = [
            SideToMeasure(family=family, side=side, stamp=stamp(family, code, decides))
            for family in self.families
            if family.unit not in UNTRAINED
            for side in (SIDES if family.hostile else SIDES[1:])
        ]
        self.rows = self._read()

    def _read(self) -> dict[Key, Row]:
        """Return the recorded rows whose stamps are those of the cases."""
        stamps = {case.key: case.stamp for case in self.cases}
        rows = read_rows(self.file.read_bytes(), str(self.file)) if self.file.exists() else []
        return {
            (row.family, row.side): row
            for row in rows
            if stamps.get((row.family, row.side)) == row.stamp
        }

    def row(self, case: SideToMeasure) -> Row:
        """Return the row of a case, an empty row where nothing was measured."""
        family, side = case.key
        empty = Row(family=family, side=side, unit=case.family.unit, stamp=case.stamp)
        return self.rows.get(case.key, empty)

    def write(self) -> None:
        """Write the rows in the order of the pack."""
        rows = [self.rows[case.key] for case in self.cases if case.key in self.rows]
        replace_file(self.file, write_rows(rows))

    def by_table(self, world: World) -> None:
        """Take the truth of the table for every case whose recipe lies in it."""
        for case in self.cases:
            variant = apply_side(case.family, case.side, self.config.task.baseline)
            truth = (
                None if case.family.unit == "skill" else _truth(world, variant, case.family.unit)
            )
            if truth is not None:
                self.rows[case.key] = replace(self.row(case), by="table", told=(truth,))

    def left(self) -> Iterator[tuple[SideToMeasure, int]]:
        """Yield the cases to go on with and the numbers of pairs that they want in all.

        Words come first, then the sizes on fresh seeds. A question of skill costs as much as ten
        trainings, so both of its kind wait.
        """
        rows = [(case, self.row(case)) for case in self.cases]
        open_ = [(case, row) for case, row in rows if row.by != "table" and not row.failure]
        open_.sort(key=lambda pair: len(pair[1].pairs))
        for asks in (False, True):
            own = [pair for pair in open_ if (pair[0].family.unit == "skill") == asks]
            for case, row in own:
                if count := wanted(row.pairs, self.minimum):
                    yield case, count
            for case, row in own:
                fresh = FRESH if any(row.pairs) else EQUAL
                if not wanted(row.pairs, self.minimum) and len(row.told) < fresh:
                    yield case, LOOKS[-1] + fresh


def _truth(world: World, variant: Variant, unit: str) -> float | None:
    """Return the true harm of a recipe of the table against its baseline; None off the table."""
    if variant.change_class != "recipe" or unit == "skill":
        return None
    table, truths = world.table, list[float]()
    for recipe in (variant.recipe, table.task.baseline):
        try:
            bits = world.true(recipe)
        except BadInput:
            return None
        if not len(bits):
            return None
        whole = float(bits[: table.folds].mean())
        truths.append(
            whole if unit == "bits" else float(bits[table.folds + table.slices.index(unit)])
        )
    return round(truths[0] - truths[1], 6)


def measure_harm(
    name: str,
    *,
    minutes: float | None = None,
    unattended: bool = False,
    overrides: Sequence[str] = (),
    say: Say = lambda _: None,
) -> dict[str, Any]:
    """Measure a pack for `minutes`, or until every side has its word; return the counts.

    Raises NeedsHuman without a mandate, BudgetExhausted at the study's end.
    """
    need(minutes is None or minutes > 0, "--minutes", minutes, "above 0")
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    config = harm_settings(Path(name).stem, overrides)
    work = Measurement(name, config)
    world = read_world()
    work.by_table(world)
    work.write()
    if any(work.left()):
        with open_harm_study(config, unattended) as study:
            _go_on(work, study, Questions(config, world), deadline, say)
    return describe(work)


def _go_on(
    work: Measurement, study: HarmStudy, questions: Questions, deadline: float | None, say: Say
) -> None:
    """Measure case after case, until no case is left or the time is over."""
    while left := list(work.left()):
        for number, (case, count) in enumerate(left, 1):
            if deadline and time.monotonic() >= deadline:
                return
            _measure(work, study, questions, case, count)
            work.write()
            say(f"{number} of {len(left)} in this round: {case.family.family}, {case.side}")


def _measure(
    work: Measurement, study: HarmStudy, questions: Questions, case: SideToMeasure, count: int
) -> None:
    """Add the missing pairs of a case, or its fresh ones, to its row."""
    row = work.row(case)
    is_fresh = count > LOOKS[-1]
    first = LOOKS[-1] + len(row.told) if is_fresh else len(row.pairs)
    variant = apply_side(case.family, case.side, work.config.task.baseline)

    def compare(number: int) -> float | str:
        try:
            if case.family.unit == "skill":
                return questions.compare(study, variant, number)
            return _compare(study, variant, number, case.family.unit)
        except HeirloopError:
            study.running.stopped = True
            raise

    with ThreadPoolExecutor(work.config.box.parallel) as pool:
        # Number 0 screens the baseline.
        found = list(pool.map(compare, range(first + 1, count + 1)))
    failures = [one for one in found if isinstance(one, str)]
    values = tuple(round(one, 6) for one in found if not isinstance(one, str))
    if failures:
        work.rows[case.key] = replace(row, failure=failures[0][:300])
    elif is_fresh:
        work.rows[case.key] = replace(row, told=row.told + values)
    else:
        work.rows[case.key] = replace(row, pairs=row.pairs + values)


def _compare(study: HarmStudy, variant: Variant, number: int, unit: str) -> float | str:
    """Return how much worse a variant is than the baseline under a seed, or why none can say."""
    baseline = Variant(name="the baseline", recipe=study.base.plan.recipe, files=study.pristine)
    before, after = study.bits(baseline, number), study.bits(variant, number)
    if isinstance(before, str):
        raise BadInput(f"the baseline left no score under seed {number}: {before}")
    return after if isinstance(after, str) else after[unit] - before[unit]


def _rows_file(name: str) -> Path:
    """Return the file of a pack's measurements, beside the pack."""
    own = FOLDER / f"{name}.jsonl"
    path = own if own.is_file() else Path(name)
    return path.with_name(f"{path.stem}.harm.jsonl")


def describe(work: Measurement) -> dict[str, Any]:
    """Return the counts of a measurement, and a line per hostile family."""
    words = words_of(work.families, work.rows.values(), work.minimum)
    counts: dict[str, int] = {word: list(words.values()).count(word) for word in WORDS}
    families = [_describe(work, family, words[family.family]) for family in work.families]
    return {
        "file": str(work.file),
        "families": len(work.families),
        **counts,
        "by_origin": count_by(work.families, "origin"),
        "by_form": count_by(work.families, "form"),
        "left": len(list(work.left())),
        "rows": [row for row in families if row],
    }


def _describe(work: Measurement, family: Family, word: str) -> dict[str, Any]:
    """Return the line of a hostile family: its word, and the size of each side."""
    if not family.hostile or family.unit in UNTRAINED:
        return {}
    line: dict[str, Any] = {"family": family.family, "form": family.form, "unit": family.unit}
    for side in SIDES:
        row = work.rows.get((family.family, side))
        told = tell(row.told) if row else None
        line[side] = (row and word_of(row, work.minimum)) or "open"
        line[f"{side}_size"] = told.mean if told else row.told[0] if row and row.told else None
        line[f"{side}_low"] = told.low if told else None
        line[f"{side}_high"] = told.high if told else None
    return {**line, "word": word}
