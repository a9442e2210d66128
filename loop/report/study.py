"""How are runs read for a report? Runs that differ only in seed and name are repeats of a study.

Each ledger is read once.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.settings.config import Config
from loop.facts.facts import Facts
from loop.facts.summary import make_summary
from loop.instruments.gather import Records, gather, shared_settings
from loop.instruments.measure import measure_records
from loop.instruments.run import Run
from sandbox.canonical import canonical, digest
from sandbox.heads import open_ledger
from sandbox.ledger import Ledger

Summary = dict[str, Any]
"""summary.json of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRuns:
    """A study: its runs as they were read."""

    name: str
    "its name on the page"
    numbers: tuple[int, ...]
    "numbers of its runs among all"
    runs: tuple[Run, ...]
    "the ledgers"
    folders: tuple[Path, ...]
    "where they lie"
    summaries: tuple[Summary, ...]
    "summary.json of each"

    @property
    def config(self) -> Config:
        """The configuration in force, of the first run."""
        return self.runs[0].config

    @property
    def closed(self) -> bool:
        """Whether every run ended, so that confirm may be told."""
        return all(run.facts.closed for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStudy(StudyRuns):
    """A study, measured."""

    records: Records
    "input of the instruments"
    figures: dict[str, Any]
    "output of the instruments"


def measure_open(
    folder: Path, ledger: Ledger, facts: Facts, summary: Summary
) -> list[MeasuredStudy]:
    """Return an open run with its summary, measured."""
    return _group([folder], [Run(0, ledger, facts)], [summary])


def read_live(ledger: Ledger, facts: Facts, summary: Summary) -> StudyRuns:
    """Return a run in progress, without measuring it."""
    return StudyRuns(
        name=summary["study"],
        numbers=(0,),
        runs=(Run(0, ledger, facts),),
        folders=(Path(summary["study"]),),
        summaries=(summary,),
    )


def read_runs(folders: Sequence[Path]) -> list[MeasuredStudy]:
    """Read runs and measure them, study by study.

    Raises BadInput for a run named twice, and VerificationFailed for a missing or broken ledger.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadInput(f"RUN is {', '.join(map(str, folders))}; it should name each run once")
    runs = [Run(number, open_ledger(folder)) for number, folder in enumerate(folders)]
    return _group(folders, runs, [make_summary(run.ledger, run.facts) for run in runs])


def _group(
    folders: Sequence[Path], runs: Sequence[Run], summaries: Sequence[Summary]
) -> list[MeasuredStudy]:
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(digest(shared_settings(run.config)), []).append(number)
    names = [runs[numbers[0]].config.study.name for numbers in groups.values()]
    studies = []
    for place, numbers in enumerate(groups.values()):
        records = gather([runs[number] for number in numbers])
        study = MeasuredStudy(
            name=_name(names, place),
            numbers=tuple(numbers),
            runs=tuple(runs[number] for number in numbers),
            folders=tuple(folders[number] for number in numbers),
            summaries=tuple(summaries[number] for number in numbers),
            records=records,
            figures=finite(measure_records(records)),
        )
        studies.append(study)
    return studies


def finite(value: Any) -> Any:
    """Return plain JSON, with null for NaN and infinity."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(names: Sequence[str], place: int) -> str:
    """Return a study's name, numbered where two have the same."""
    name = names[place]
    return name if names.count(name) == 1 else f"{name} ({place + 1})"


def differs(studies: Sequence[MeasuredStudy]) -> list[tuple[str, ...]]:
    """Return (setting, value in each study as JSON) of every different setting."""
    flat = [dict(_leaves(shared_settings(study.config))) for study in studies]
    names = sorted({name for values in flat for name in values})
    rows = [(name, *(values.get(name, "") for values in flat)) for name in names]
    return [row for row in rows if len(set(row[1:])) > 1]


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, value as JSON) of every leaf."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{path}.{name}" if path else name)
    else:
        yield path, canonical(tree).decode()
