"""The archive's rules on small archives that one can count by hand."""

import math
import random
from collections import Counter

import pytest

from evals.programs import (
    Compared,
    Program,
    choose_parent,
    compare_programs,
    count_clades,
    find_best,
)


def program(number, parent, skill, gained, asked=8, usable=8):
    return Program(
        number=number, parent=parent, skill=skill, asked=asked, usable=usable, gained=gained
    )


FAMILY = [
    program(0, -1, 0.0, 4),
    program(1, 0, 0.3, 5),  # the best by itself, with a poor child
    program(2, 0, 0.1, 4),  # no better than the first, with good children
    program(3, 1, -0.9, 0),
    program(4, 2, 0.2, 8),
    program(5, 4, 0.25, 8),
    program(6, 1, None, 0, asked=8, usable=0),
]


def test_a_clade_is_a_program_with_all_its_descendants():
    assert count_clades(FAMILY) == {
        0: (29, 56),
        1: (5, 24),
        2: (20, 24),
        3: (0, 8),
        4: (16, 16),
        5: (8, 8),
        6: (0, 8),
    }


def test_the_rule_by_clades_prefers_good_ancestors_and_the_rule_by_score_the_best():
    rng = random.Random(1)
    chosen = Counter(choose_parent("clade", FAMILY, rng) for _ in range(2000))
    assert chosen[4] + chosen[5] + chosen[2] > 1900
    assert chosen[2] > 20 * max(1, chosen[1]) or chosen[1] == 0
    assert choose_parent("score", FAMILY, rng) == find_best(FAMILY) == 1


def test_at_random_all_that_can_propose_are_equally_likely():
    rng = random.Random(2)
    chosen = Counter(choose_parent("random", FAMILY, rng) for _ in range(6000))
    assert set(chosen) == set(range(6)) and max(chosen.values()) < 1.15 * min(chosen.values())


@pytest.mark.parametrize("rule", ["clade", "score", "random"])
def test_where_no_program_can_propose_the_first_has_the_next_child(rule):
    dead = [program(0, -1, None, 0, usable=0), program(1, 0, None, 0, usable=0)]
    assert choose_parent(rule, dead, random.Random(1)) == 0


def test_of_equals_the_earliest_is_best_and_one_without_skill_never():
    assert find_best([program(0, -1, 0.1, 1), program(1, 0, 0.1, 1)]) == 0
    assert find_best([program(0, -1, None, 0), program(1, 0, -5.0, 0)]) == 1


def row(repeat, gain, promised=0.1):
    return Compared(repeat=repeat, gain=gain, promised=promised, programs=5, usable=0.5)


def test_figures_are_paired_over_the_repeats_of_both_arms():
    one = [row(r, 0.1 + 0.01 * (r % 3)) for r in range(12)]
    other = [row(r, 0.01 * (r % 3)) for r in range(2, 14)]
    figures = compare_programs({"programs_random": other, "programs_clade": one})
    apart = figures["programs_clade minus programs_random"]["gain"]
    assert apart.n == 10 and apart.value == pytest.approx(0.1) and apart.over(0.09)
    assert figures["programs_clade"]["gain"].over(0.0)
    assert figures["programs_clade"]["shortfall"].value == pytest.approx(-0.01, abs=1e-9)


def test_a_repeat_without_a_measure_is_left_out():
    rows = [row(0, math.nan), *(row(r, 0.1 + 0.001 * r) for r in range(1, 12))]
    assert compare_programs({"programs_score": rows})["programs_score"]["gain"].n == 11
