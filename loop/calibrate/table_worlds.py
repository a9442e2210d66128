"""Worlds on a table of recorded trainings: real noise, a real landscape, and a known truth.

Example: a world has some recipe of the table's grid as its baseline, and six of its ten knobs may
change. Forty studies are played on it (in_memory.py), and every instrument of theirs is held to the
world's truth. The truth is the same instrument on 2,000 other campaigns of each arm, with each
measured gain replaced by the gain that the table's means give.

Exact nulls: in each repeat the arms exchange their names at random. Then no arm gains more than
another, whatever the world.
"""

import multiprocessing
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from typing import Any

from configs.build import need, plain
from configs.settings.config import Config
from evals.arms import Gain, common, curves
from evals.claims import words
from evals.intervals import Figure
from evals.proof import Called, Row, cover
from evals.retention import Held
from evals.table import World
from loop.calibrate.table_studies import (
    ARMS,
    TableWorld,
    comparable,
    compose_study,
    draw_repeats,
    draw_world,
    play,
    read_records,
)
from loop.calibrate.table_truth import CHUNK, Truth, count_false, hold_truth, play_truth
from loop.instruments.between import claim_evidence, compare_arms
from loop.instruments.gather import Records
from loop.instruments.measure import flatten, measure_records
from loop.instruments.references import true_references
from loop.study.tabulated import read_world

NAME = "table"
"""Name of these worlds for `--world`."""
WORLDS = 6
"""Worlds of a table; the studies are shared among them."""
KEPT = ("arms, ", "between, ")
"""Figures of `heirloop instruments` that are held to a truth begin so."""
LEFT_OUT = ("*, automation, *", "*, human cost, *", "*, growth, *")
"""Figures on people, who are not played, and the law of growth, which a table does not state."""
_CURSE = (
    "its spread over repeats is that of the correction, not of the truth; and the correction knows"
    " the seeds of a decision, but neither the choice on feedback nor the luck of the folds"
)
_RARE = "a failed training counts as bits, and ten repeats often hold none of the few that fail"
_SKEWED = ("promised", "superseded", "no effect")
KNOWN: dict[str, str] = {
    "arms, *, promise, winner's curse": _CURSE,
    "truth, *, winner's curse": _CURSE,
    "truth, *, proxy gap": "it ends at the gain on confirm, too large by the winner's curse",
    "between, data effect": _RARE,
    **{f"arms, {arm}, promise, {a}": _RARE for arm in ("random", "local") for a in _SKEWED},
    "arms, *, proposed gain": (
        "parents were chosen on feedback by the very score from which the gain is counted, so gains"
        " look smaller, in all arms alike"
    ),
}
"""Instrument or word, as a pattern -> why it does not hold on tables."""
EXCHANGE = "table, arms exchanged"
"""Name of the same studies after their arms exchanged their names."""
_SHARES = ("between, kappa", "between, kappa own", "between, own effect")
NULL = dict.fromkeys((*_SHARES, *(f"between, self minus {arm}" for arm in ARMS[1:-1])), 0.0)
"""Figures between exchanged arms -> their true value."""
SAME_LAW = dict.fromkeys(
    (
        "between, self minus refit",
        "between, self effect",
        "between, proposed gain, self minus refit",
    ),
    0.0,
)
"""Figures between readers of one law -> their true value, in a world that does not learn."""
FALSE_ACCEPT = "false accept in a campaign"
"""A word for the judge: some accepted plan truly gains at most the minimum effect."""
BOUNDS = ("at least", "above", "below")
"""Words of a figure that is the end of a measured range: no truth is known there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How much is played."""

    studies: int
    "studies of all worlds together"
    campaigns: int
    "campaigns of each arm for the truth of a world"
    worlds: int = WORLDS
    "worlds"

    def __post_init__(self) -> None:
        need(1 <= self.worlds <= 1000, "worlds", self.worlds, "between 1 and 1000")
        right = "from the number of worlds to 100000"
        need(self.worlds <= self.studies <= 100_000, "studies", self.studies, right)
        whole = self.campaigns % CHUNK == 0 and CHUNK <= self.campaigns <= 100_000
        right = f"a multiple of {CHUNK}, up to 100000"
        need(whole, "campaigns", self.campaigns, right)

    def studies_of(self, number: int) -> int:
        """Return the studies of a world: as many as of any other, or one more."""
        return self.studies // self.worlds + (number < self.studies % self.worlds)


@dataclass(slots=True, kw_only=True)
class Proof:
    """What the studies of a world said, and what was true there."""

    figures: dict[tuple[str, str], list[tuple[Figure, float | None]]] = field(default_factory=dict)
    "(world, instrument) -> figures, each with the truth"
    said: dict[tuple[str, str, bool], list[bool]] = field(default_factory=dict)
    "(world, word, whether it is true) -> whether each study says it"

    def add(
        self,
        world: str,
        figures: Iterable[tuple[str, Figure]],
        values: Mapping[str, float | None],
    ) -> None:
        """Add a study's figures, each with its true value; one without any is left out."""
        for name, figure in figures:
            if values.get(name) is not None:
                self.figures.setdefault((world, name), []).append((figure, values[name]))

    def say(self, world: str, said: Mapping[str, bool], true: Mapping[str, bool]) -> None:
        """Add the words of a study, each with whether it is true."""
        for word, flag in said.items():
            self.said.setdefault((world, word, true[word]), []).append(flag)


def prove_table(
    path: str, sizes: Sizes, processes: int = 1, say: Callable[[str], None] = lambda _: None
) -> tuple[list[Row], list[Called]]:
    """Return the rows of every instrument and word over all worlds of a table.

    A row is over all worlds together; each study is held to the truth of its own world. Raises
    BadInput for a table that cannot be used.
    """
    need(1 <= processes <= 256, "processes", processes, "between 1 and 256")
    whole = Proof()
    for number, proof in enumerate(_prove_worlds(path, sizes, processes)):
        say(f"world {number + 1} of {sizes.worlds}")
        for place, pairs in proof.figures.items():
            whole.figures.setdefault(place, []).extend(pairs)
        for called, flags in proof.said.items():
            whole.said.setdefault(called, []).extend(flags)
    rows = [cover(world, name, pairs) for (world, name), pairs in whole.figures.items()]
    return [row for row in rows if row.n], [
        Called(world=world, word=word, true=true, called=sum(flags), n=len(flags))
        for (world, word, true), flags in whole.said.items()
    ]


def _prove_worlds(path: str, sizes: Sizes, processes: int) -> Iterator[Proof]:
    """Yield the proof of each world. Processes share truths and studies, so that none idles."""
    config = compose_study(path)
    world = read_world(config)  # refuses a table before any process starts
    if processes == 1:
        for number in range(sizes.worlds):
            yield prove_world(config, world, draw_world(world, number), sizes)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        jobs = [(config, sizes, number) for number in range(sizes.worlds)]
        truths, studies = pool.map(_play_truth, jobs), pool.map(_play_studies, jobs)
        for number, (truth, played) in enumerate(zip(truths, studies, strict=True)):
            yield _hold(world, draw_world(world, number), played, truth)


def _play_truth(job: tuple[Config, Sizes, int]) -> Truth:
    config, sizes, number = job
    world = read_world(config)
    place = draw_world(world, number)
    return play_truth(config, world, place, sizes.campaigns, world.best()[1])


def _play_studies(job: tuple[Config, Sizes, int]) -> list["Measured"]:
    config, sizes, number = job
    world = read_world(config)
    return _measure_studies(config, world, draw_world(world, number), sizes)


def prove_world(config: Config, world: World, place: TableWorld, sizes: Sizes) -> Proof:
    """Play the studies of a world and the campaigns of its truth; return both, side by side."""
    studies = _measure_studies(config, world, place, sizes)
    truth = play_truth(config, world, place, sizes.campaigns, world.best()[1])
    return _hold(world, place, studies, truth)


def _list_references(world: World, place: TableWorld) -> tuple[Held, ...]:
    part = world.within(place.fixed) if place.fixed else world
    return tuple(true_references(part, place.baseline))


def _measure_studies(
    config: Config, world: World, place: TableWorld, sizes: Sizes
) -> list["Measured"]:
    best, changes = world.best()[1], _list_references(world, place)
    return [
        _play_measured(config, world, place, number, best, changes)
        for number in range(sizes.studies_of(place.number))
    ]


def _hold(world: World, place: TableWorld, studies: Sequence["Measured"], truth: Truth) -> Proof:
    """Return what the studies of a world said beside its truth."""
    proof = Proof()
    references = _list_references(world, place)
    true = measure_records(replace(truth.records, references=references))
    values = {name: f.value for name, f in _list_figures(true) if f.word not in BOUNDS}
    values |= truth.held if place.learns else {**truth.held, **SAME_LAW}
    unproven = {} if place.learns else {"amplifying": False, "self-closed": False}
    true_words = _read_words(true) | unproven
    for study in studies:
        proof.add(NAME, [*_list_figures(study.figures), *study.held], values)
        proof.say(NAME, _read_words(study.figures), true_words)
        between, apart = _measure_exchanged(study.records)
        proof.add(EXCHANGE, _list_figures(between), NULL)
        proof.say(EXCHANGE, apart, dict.fromkeys(apart, False))
    flags = [flag for study in studies for flag in study.false_accepts]
    proof.said[NAME, FALSE_ACCEPT, False] = [*truth.false_accepts, *flags]
    return proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A study that was played and measured; its facts are large, and are not kept."""

    records: Records
    "its records"
    figures: dict[str, Any]
    "figures of `heirloop instruments`"
    held: tuple[tuple[str, Figure], ...]
    "measured figures of `heirloop truth`"
    false_accepts: tuple[bool, ...]
    "whether each campaign accepted a plan that gains too little"


def _play_measured(
    config: Config,
    world: World,
    place: TableWorld,
    number: int,
    best: float,
    references: tuple[Held, ...],
) -> Measured:
    run = play(config, world, place, number, draw_repeats(place, number))
    records = read_records(run, references)
    return Measured(
        records=records,
        figures=measure_records(records),
        held=tuple(hold_truth(run, world, best, "measured")),
        false_accepts=tuple(count_false(run, world, best)),
    )


def _list_figures(figures: Mapping[str, Any]) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of `heirloop instruments` that are held to a truth, and their names."""
    for name, (value, low, high, n, unit, word, _) in flatten(figures):
        numeric = isinstance(value, int | float) and n is not None
        if numeric and name.startswith(KEPT) and not any(fnmatch(name, no) for no in LEFT_OUT):
            yield name, Figure(value=value, low=low, high=high, n=n, unit=unit, word=word)


def _read_words(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Return each word of `heirloop instruments`, and whether it is said."""
    efficiency = next(
        row["reads"] for row in figures["conditions"] if row["condition"] == "keeps its efficiency"
    )
    reading = {word: efficiency == word for word in ("keeps its efficiency", "loses efficiency")}
    return {**figures["words"], **reading, **_read_decline(figures["between"]["gain ratio reads"])}


def _read_decline(reading: str) -> dict[str, bool]:
    ahead = ("falls less than its references", "grows more than its references")
    return {
        "slower than its references": reading == "falls faster than its references",
        "ahead of its references": reading in ahead,
    }


def exchange(gains: Iterable[Gain], arms: Sequence[str], rng: random.Random) -> tuple[Gain, ...]:
    """Return gains whose arms exchanged their names, repeat by repeat, at random."""
    names = dict[int, dict[str, str]]()
    exchanged = list[Gain]()
    for gain in gains:
        if gain.repeat not in names:
            names[gain.repeat] = dict(zip(arms, rng.sample(arms, len(arms)), strict=True))
        exchanged.append(replace(gain, arm=names[gain.repeat].get(gain.arm, gain.arm)))
    return tuple(exchanged)


def _measure_exchanged(records: Records) -> tuple[dict[str, Any], dict[str, bool]]:
    """Return the figures between arms that exchanged their names, and the words."""
    rng = random.Random(f"exchange:{records.config.study.name}")
    arms = curves(exchange(records.gains, comparable(records.config), rng))
    evidence = claim_evidence(records, arms)
    between = compare_arms(records, evidence, common(arms))
    reading = _read_decline(between["gain ratio reads"])
    apart = {word: flag for word, flag in words(evidence).items() if word != "lossy"}
    return plain({"between": between}), apart | reading
