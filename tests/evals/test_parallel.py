"""Several proposers at once: distance, duplicates and yield, on facts whose truth is known."""

import numpy as np
import pytest

from configs.arms import PAIRS
from evals.arms import Curve
from evals.loss import PlanFact
from evals.parallel import UNITS, compare_teams, distances, read_team, spread

NAMES = ("shared", "separate", "single")
WIDTH, GENERATIONS, KNOBS = 4, 6, 10


def fact(repeat, generation, index=0, **more):
    return PlanFact(
        plan=f"{repeat}.{generation}.{index}",
        repeat=repeat,
        generation=generation,
        fate=more.pop("fate", "no effect"),
        **more,
    )


def test_a_distance_is_the_share_of_knobs_that_differ():
    assert distances([(1, "a"), (1, "b")]) == [0.5, 0.5]
    three = distances([(1, 1, 1, 1), (1, 1, 1, 2), (2, 2, 2, 2)])
    assert three == [(0.25 + 1) / 2, (0.25 + 0.75) / 2, (1 + 0.75) / 2]
    # The mean over proposals is the mean over pairs.
    assert sum(three) / 3 == pytest.approx((0.25 + 1 + 0.75) / 3)
    assert distances([(1, 2), (1, 2)]) == [0.0, 0.0]
    assert all(map(np.isnan, distances([(1, 2)]))) and all(map(np.isnan, distances([(), ()])))


def test_the_distance_of_uniform_draws_is_what_their_values_say():
    """Two draws of a knob with v values differ with probability 1 - 1 / v."""
    rng = np.random.default_rng(1)
    values = (2, 2, 3, 5)
    plans = [
        fact(repeat, generation, index, apart=apart)
        for repeat in range(40)
        for generation in range(10)
        for index, apart in enumerate(
            distances([tuple(rng.integers(0, v) for v in values) for _ in range(WIDTH)])
        )
    ]
    figure = spread(plans)
    expected = np.mean([1 - 1 / v for v in values])
    assert figure.low < expected < figure.high and figure.high - figure.low < 0.05
    assert figure.n == 40 and figure.word == ""


def test_generations_count_alike_however_many_proposals_were_valid():
    plans = [fact(0, 1, i, apart=0.2) for i in range(6)] + [
        fact(0, 2, i, apart=0.6) for i in (0, 1)
    ]
    lonely = [fact(0, 3)]  # a generation with a single valid proposal has no distance
    assert read_team(plans + lonely).distance[0] == pytest.approx(0.4)


def draw(rng, repeats, again, gain, chance, apart):
    """A team by a law: each plan repeats another with `again`, and with `chance` it is accepted
    and gains `gain`; the distances of a generation deviate by 0.1 about `apart`.
    """
    return [
        fact(
            r, g, i,
            fate="accepted" if (good := i == 0 and rng.random() < chance) else "no effect",
            gained=gain + 0.1 * rng.standard_normal() if good else None,
            duplicate=bool(rng.random() < again),
            apart=apart + 0.1 * rng.standard_normal(),
        )
        for r in range(repeats)
        for g in range(1, GENERATIONS + 1)
        for i in range(WIDTH)
    ]  # fmt: skip


LAW = {
    "shared": {"again": 0.1, "gain": 0.5, "chance": 0.6, "apart": 0.3},
    "separate": {"again": 0.4, "gain": 0.5, "chance": 0.3, "apart": 0.4},
    "single": {"again": 0.05, "gain": 0.5, "chance": 0.7, "apart": 0.2},
}
SECONDS = {"shared": 50.0, "separate": 50.0, "single": 40.0}


def test_differences_between_teams_cover_the_law_that_drew_them():
    rng, hits, studies = np.random.default_rng(2), dict[tuple[str, str], int](), 200
    for _ in range(studies):
        plans = {name: draw(rng, 12, **law) for name, law in LAW.items()}
        spent = {name: dict.fromkeys(range(12), seconds) for name, seconds in SECONDS.items()}
        figures = compare_teams(NAMES, plans, spent, {}, 0.0)
        for pair, (one, other) in PAIRS.items():
            first, second = NAMES[one], NAMES[other]
            truths = {
                "duplicates": LAW[first]["again"] - LAW[second]["again"],
                "distance": LAW[first]["apart"] - LAW[second]["apart"],
                "yield per compute": sum(
                    sign * GENERATIONS * LAW[n]["chance"] * LAW[n]["gain"] / SECONDS[n]
                    for sign, n in ((1, first), (-1, second))
                ),
            }
            for measure, truth in truths.items():
                figure = figures[measure][pair]
                hit = figure.low <= truth <= figure.high
                hits[measure, pair] = hits.get((measure, pair), 0) + hit
    assert len(hits) == 9 and min(hits.values()) >= 0.91 * studies, hits


def test_teams_are_paired_by_repeat_and_a_missing_arm_is_not_measured():
    """A repeat that is lucky for both arms drops out of their difference."""
    luck = {0: 1.0, 1: 5.0, 2: 9.0}
    plans = {
        name: [fact(r, 1, fate="accepted", gained=gain + more) for r, gain in luck.items()]
        for name, more in (("shared", 0.5), ("separate", 0.0))
    }
    spent = {name: dict.fromkeys(luck, 2.0) for name in plans}
    ends = {
        name: Curve(
            repeats=(0, 1, 2),
            spent=np.full((3, 1), 1.0),
            value=np.array([[p.gained] for p in own]),
        )
        for name, own in plans.items()
    }
    figures = compare_teams(NAMES, plans, spent, ends, 1.0)
    told = figures["yield per compute"]["shared minus separate"]
    assert (told.value, told.low, told.high) == pytest.approx((0.25, 0.25, 0.25))
    assert figures["gain"]["shared minus separate"].value == pytest.approx(0.5)
    for measure, unit in UNITS.items():
        missing = figures[measure]["shared minus single"]
        assert (missing.word, missing.unit) == ("not measured", unit)
    # A campaign in one of the arms alone is left out.
    plans["shared"] = [plan for plan in plans["shared"] if plan.repeat]
    assert (
        compare_teams(NAMES, plans, spent, ends, 1.0)["yield per compute"][
            "shared minus separate"
        ].n
        == 2
    )
