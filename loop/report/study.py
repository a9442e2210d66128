"""Runs as the report reads them: those that differ in seed and name alone are repeats of one study.
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
from loop.facts.summary import summary
from loop.instruments.gather import Records, Run, gather, settings
from loop.instruments.measure import measured
from sandbox.canonical import canonical, digest
from sandbox.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One study: its runs as they were read."""

    name: str
    "what the page calls it"
    numbers: tuple[int, ...]
    "numbers of its runs among all"
    runs: tuple[Run, ...]
    "the ledgers"
    folders: tuple[Path, ...]
    "where they lie"
    summaries: tuple[dict[str, Any], ...]
    "summary.json of each"

    @property
    def config(self) -> Config:
        """The configuration in force, of the first run."""
        return self.runs[0].config

    @property
    def closed(self) -> bool:
        """Whether every run ended, so that gate may be told."""
        return all(run.facts.closed for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told(Read):
    """One study, measured."""

    records: Records
    "what the instruments read"
    figures: dict[str, Any]
    "what the instruments say"


def one(folder: Path, ledger: Ledger, facts: Facts, told: dict[str, Any]) -> list[Told]:
    """Return a run that is open already; `told` is its summary."""
    return _studies([folder], [Run(0, ledger, facts)], [told])


def live(ledger: Ledger, facts: Facts, told: dict[str, Any]) -> Read:
    """Return a run that goes on, without measuring it."""
    run = Run(0, ledger, facts)
    return Read(
        name=told["study"],
        numbers=(0,),
        runs=(run,),
        folders=(Path(told["study"]),),
        summaries=(told,),
    )


def read(folders: Sequence[Path]) -> list[Told]:
    """Read runs; raises BadInput for a run named twice, VerificationFailed for a folder without a
    ledger or with a broken one.
    """
    if len({folder.resolve() for folder in folders}) < len(folders):
        raise BadInput(f"RUN is {', '.join(map(str, folders))}; it should name each run once")
    runs = [
        Run(number, Ledger.file(folder / "ledger.sqlite")) for number, folder in enumerate(folders)
    ]
    return _studies(folders, runs, [summary(run.ledger, run.facts) for run in runs])


def _studies(
    folders: Sequence[Path], runs: Sequence[Run], summaries: Sequence[dict[str, Any]]
) -> list[Told]:
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(digest(settings(run.config)), []).append(number)
    names = [runs[numbers[0]].config.study.name for numbers in groups.values()]
    return [
        _told(_name(names, at), numbers, folders, runs, summaries)
        for at, numbers in enumerate(groups.values())
    ]


def _told(
    name: str,
    numbers: Sequence[int],
    folders: Sequence[Path],
    runs: Sequence[Run],
    summaries: Sequence[dict[str, Any]],
) -> Told:
    found = gather([runs[n] for n in numbers])
    return Told(
        name=name,
        numbers=tuple(numbers),
        runs=tuple(runs[n] for n in numbers),
        folders=tuple(folders[n] for n in numbers),
        summaries=tuple(summaries[n] for n in numbers),
        records=found,
        figures=finite(measured(found)),
    )


def finite(value: Any) -> Any:
    """Return plain JSON with null for each number that is none."""
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(names: Sequence[str], at: int) -> str:
    return names[at] if names.count(names[at]) == 1 else f"{names[at]} ({at + 1})"


def differs(studies: Sequence[Told]) -> list[tuple[str, ...]]:
    """Return (setting, value in each study as JSON) of every setting in which two studies
    differ.
    """
    flat = [dict(_leaves(settings(told.config))) for told in studies]
    names = sorted({name for values in flat for name in values})
    return [
        (name, *(values.get(name, "") for values in flat))
        for name in names
        if len({values.get(name, "") for values in flat}) > 1
    ]


def _leaves(tree: Any, where: str = "") -> Iterator[tuple[str, str]]:
    """Yield (path, value as JSON) of every leaf."""
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            yield from _leaves(value, f"{where}.{name}" if where else name)
    else:
        yield where, canonical(tree).decode()
