"""How often does the warning sign cross, where it should and where it should not?

Commands (P is .venv/bin/python), a few CPU-minutes together:

    P tests/bench/warning.py planted [STUDIES]   worlds whose law says the truth
    P tests/bench/warning.py tables [STUDIES]    worlds on tab/text-v1.parquet, real noise

A study is drawn, the sign (`evals.claims.warning`) is read as a run reads it at its end, and held
against a truth that the sign does not see. On planted worlds the truth is the law's arithmetic. On
a table the truth of a study is the sign on the skills that the table's means give to the very same
proposals; and in every second world newer recipes read no better. A false alarm is a crossing where
the truth says no, a miss is none where it says yes. Rates have exact 95 % intervals (Clopper and
Pearson 1934). Seeds are fixed; docs/warning.md holds the output.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from itertools import repeat as always
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.settings.study import Warn  # noqa: E402
from evals.amplify import Skill  # noqa: E402
from evals.claims import warning  # noqa: E402
from evals.closure import STAGES, Event  # noqa: E402
from evals.draws import draw_events, draw_skills  # noqa: E402
from evals.intervals import share  # noqa: E402
from evals.law import GENERATIONS, REPEATS, Law, truth  # noqa: E402
from evals.planted import LAWS, SIGN  # noqa: E402

TABLE = ROOT / "tab" / "text-v1.parquet"
STUDIES, PLAYED = 300, 20
"""Studies of a planted world, and of a world on the table."""
WORLDS, RUN_REPEATS = 6, 10
"""Worlds on the table; repeats of a study there, as in closure-v2."""
EFFECTS = (0.0, 0.05, 0.08, 0.12, 0.16, 0.2)
"""True self effects of a planted sweep, log-odds per proposal; the floor is 0.1."""
PEOPLE = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Shares of the decisions that people take in a planted sweep."""
DECISIONS = 40
"""Decisions at a stage, in a study on the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Studies of one kind."""

    name: str
    "what they are"
    true: bool | None
    "whether the sign should cross; None: it cannot be evaluated"
    draw: Callable[[np.random.Generator], tuple[Sequence[Skill], Sequence[Event]]]
    "rng -> what the sign is read from"


def is_true(law: Law) -> bool:
    """Tell whether the sign should cross in a law's world, by its arithmetic."""
    decided = 1 - law.human
    own_seconds = GENERATIONS * REPEATS * decided * 1000 / 1e6  # a thousandth of a second each
    return (
        truth(law)["self effect"] > SIGN.floor
        and decided >= max(SIGN.automation.values())
        and own_seconds >= SIGN.cpu_seconds
    )


def draw(law: Law, rng: np.random.Generator) -> tuple[Sequence[Skill], Sequence[Event]]:
    """Return a study of a law."""
    return draw_skills(law, rng), draw_events(law, rng)


def list_planted() -> Iterator[tuple[str, list[Case]]]:
    """Yield each group of cases: built-in worlds, and what is swept."""
    built_in = [
        Case(name=law.name, true=is_true(law), draw=lambda rng, law=law: draw(law, rng))
        for law in LAWS.values()
    ]
    yield "built-in worlds", built_in
    step, last = Law(name="").step, GENERATIONS - 1
    swept = [Law(name=f"{e:g}", mechanism=e / step / last) for e in EFFECTS]
    yield (
        "true self effect, nobody in the way",
        [Case(name=o.name, true=is_true(o), draw=lambda rng, o=o: draw(o, rng)) for o in swept],
    )
    held = [replace(LAWS["compounding"], name=f"{h:.0%}", human=h) for h in PEOPLE]
    yield (
        "decisions by people, true self effect 0.26",
        [Case(name=o.name, true=is_true(o), draw=lambda rng, o=o: draw(o, rng)) for o in held],
    )
    strong = LAWS["compounding"]

    def without_deployment(rng: np.random.Generator) -> tuple[Sequence[Skill], Sequence[Event]]:
        skills, events = draw(strong, rng)
        return skills, [one for one in events if one.stage != "deploy"]

    def few_measured(rng: np.random.Generator) -> tuple[Sequence[Skill], Sequence[Event]]:
        skills, events = draw(strong, rng)
        return [one for one in skills if one.repeat < SIGN.repeats - 1], events

    yield (
        "a part that was not exercised",
        [
            Case(name="nothing was deployed", true=None, draw=without_deployment),
            Case(name="seven repeats measured", true=None, draw=few_measured),
        ],
    )


def read_case(case: Case, sign: Warn, studies: int, seed: int) -> list[str]:
    """Return what the sign reads in each study of a case."""
    rng = np.random.default_rng(seed)
    return [warning(sign, *case.draw(rng))["sign"] for _ in range(studies)]


def tell_rate(count: int, whole: int) -> str:
    """Return a rate with its exact interval, in per cent."""
    figure = share(count, whole, "share")
    assert figure.value is not None and figure.low is not None and figure.high is not None
    return f"{100 * figure.value:.1f} % ({100 * figure.low:.1f} to {100 * figure.high:.1f})"


def print_rows(rows: Sequence[tuple[str, bool | None, list[str]]]) -> None:
    """Print what the sign read, case by case, and the rates over all of them."""
    print("| world | should cross | studies | crossed | not evaluable |")
    print("|---|---|---|---|---|")
    for name, true, read in rows:
        said = {None: "cannot be told", True: "yes", False: "no"}[true]
        crossed = tell_rate(read.count("crossed"), len(read))
        print(f"| {name} | {said} | {len(read)} | {crossed} | {read.count('not evaluable')} |")
    no = [one for _, true, read in rows if true is False for one in read]
    yes = [one for _, true, read in rows if true for one in read]
    if no:
        print(f"false alarms: {tell_rate(no.count('crossed'), len(no))} of {len(no)}")
    if yes:
        missed = len(yes) - yes.count("crossed")
        print(f"misses: {tell_rate(missed, len(yes))} of {len(yes)}")
    print()


def planted(studies: int) -> None:
    """Print the sign on planted worlds."""
    for number, (title, cases) in enumerate(list_planted()):
        print(f"**{title}**\n")
        print_rows(
            [
                (case.name, case.true, read_case(case, SIGN, studies, 1000 * number + place))
                for place, case in enumerate(cases)
            ]
        )


def decide(people: int) -> list[Event]:
    """Return the decisions of a study: some of each stage by people, the others by a rule."""
    sides = [("person", people), ("unattended rule", DECISIONS - people)]
    return [
        Event(
            stage=stage,
            actor=actor,
            cpu_us=count * 10**9,
            decisions=count,
            repeat=repeat,
            charged_us=count * 10**9 * (stage == "approve"),
        )
        for repeat in range(RUN_REPEATS)
        for stage in STAGES
        for actor, count in sides
        if count
    ]


def play_world(number: int, studies: int) -> list[tuple[list[Skill], list[Skill]]]:
    """Return the skills of each study of a world: as measured, and by the table's means.

    Both are of the same proposals.
    """
    from loop.calibrate.table_studies import compose_study, draw_world, play
    from loop.calibrate.table_truth import true_skills
    from loop.instruments.gains import read_skills
    from loop.study.tabulated import read_world

    config = compose_study(str(TABLE))
    config = replace(config, study=replace(config.study, arms=("self",)))
    world = read_world(config)
    place = draw_world(world, number)
    runs = (play(config, world, place, one, RUN_REPEATS) for one in range(studies))
    return [(list(read_skills(run)), list(true_skills(run, world))) for run in runs]


def tables(studies: int) -> None:
    """Print the sign on worlds of the table, with the sign that closure-v2 registers."""
    from loop.settings import compose_settings

    sign = compose_settings(["study=closure-v2", "autonomy=autonomous"]).study.warning
    assert sign is not None
    with ProcessPoolExecutor(2) as pool:
        worlds = list(pool.map(play_world, range(WORLDS), always(studies)))
    rows: dict[tuple[str, bool], list[str]] = {}
    by_law: dict[tuple[str, bool], list[str]] = {}
    print(f"sign: {sign}\n\n| world | newer recipes read better | effects above the floor |")
    print("|---|---|---|")
    for number, played in enumerate(worlds):
        learns = number % 2 == 1
        exact = [effect for _, true in played for effect in measure_effects(true)]
        above = tell_rate(sum(effect > sign.floor for effect in exact), len(exact))
        print(f"| {number} | {'yes' if learns else 'no'} | {above} |")
        law = "newer recipes read better" if learns else "newer recipes read as the first"
        for measured, true in played:
            for people in (0, DECISIONS * 3 // 4):
                events = decide(people)
                right = warning(sign, true, events)["sign"] == "crossed"
                read = warning(sign, measured, events)["sign"]
                said = f"{law}, people decide {people / DECISIONS:.0%}"
                rows.setdefault((said, right), []).append(read)
                by_law.setdefault((said, learns and not people), []).append(read)
    for title, found in (
        ("Right by the skills that the table's means give, study by study.", rows),
        ("Right by the law: newer recipes read better, and nobody is in the way.", by_law),
    ):
        print(f"\n{title}\n")
        print_rows([(name, right, read) for (name, right), read in sorted(found.items())])


def measure_effects(skills: Sequence[Skill]) -> list[float]:
    """Return the self effect of each repeat: the newest recipe less the first, on one history."""
    last = max(one.recipe for one in skills)
    whole = [one for one in skills if one.history == last and not one.scrambled]
    value = {(one.recipe, one.repeat): one.value for one in whole}
    repeats = sorted({one.repeat for one in whole})
    return [value[last, r] - value[0, r] for r in repeats]


def main(command: str, studies: str = "") -> None:
    {"planted": planted, "tables": tables}[command](
        int(studies) if studies else {"planted": STUDIES, "tables": PLAYED}[command]
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
