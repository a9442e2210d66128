"""What a proposer is shown, and the notebook's tokens."""

import pytest

from configs.build import parse, plain, strict_json
from configs.cost import Cost, step_us
from configs.history import History, Trial, buckets, notebook
from configs.recipe import GRID, Recipe, grid
from configs.tokens import (
    ASK,
    DOCUMENT,
    FIRST_PAIR,
    GROUPS,
    NOTEBOOK,
    PAIRS,
    Task,
    document,
    layout,
    pairs,
    unpaired,
)
from sandbox.canonical import canonical

COST = Cost(base_us=500, block_us=300, flops_per_us=100_000, elements_per_us=300)


def trial(score=None, outcome="scored", **knobs):
    return Trial(recipe=Recipe(**knobs), outcome=outcome, score=score)


def test_outcomes_are_quarters_by_rank_and_a_failure_is_among_the_worst():
    trials = [trial(s) for s in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)] + [
        trial(outcome="failed"),
        trial(outcome="waiting"),
        trial(outcome="not better"),
    ]
    assert buckets(trials) == [1, 1, 2, 2, 3, 3, 0, -1, 0]


def test_ties_share_the_middle_of_their_ranks():
    assert buckets([trial(0.5)] * 4) == [1] * 4
    assert buckets([trial(0.1), trial(0.9), trial(0.9), trial(0.9)]) == [0, 2, 2, 2]


def test_a_notebook_has_a_row_per_trial_with_an_outcome():
    rows = notebook([trial(0.1, depth=1), trial(0.9, depth=3), trial(outcome="waiting")])
    assert [len(row) for row in rows] == [1 + len(GRID)] * 2 and len(GRID) + 2 == DOCUMENT
    assert [unpaired(row[1:])["depth"] for row in rows] == [1, 3] and rows[0][0] < rows[1][0]


def test_pair_tokens_say_knob_and_value_and_read_back():
    for name, values in GRID.items():
        for value in values:
            tokens = pairs(Recipe(**{"heads": 1, name: value}))
            assert unpaired(reversed(tokens))[name] == value
            assert all(FIRST_PAIR <= t < NOTEBOOK for t in tokens) and len(
                {GROUPS[t] for t in tokens}
            ) == len(GRID)
    assert len(GROUPS) == NOTEBOOK and GROUPS[ASK] != GROUPS[0] != GROUPS[PAIRS["width"]]


def test_a_value_off_the_grid_counts_as_the_nearest():
    assert unpaired(pairs(Recipe(width=128, heads=4, learning_rate=0.0009)))["width"] == 96
    assert unpaired(pairs(Recipe(learning_rate=0.0009)))["learning_rate"] == 0.001


def test_a_notebook_s_share_is_planned_for_and_costs_what_its_documents_cost():
    task, recipe = Task(name="digits", side=4, notebook=True), Recipe(notebook=0.25)
    lay = layout(task, recipe)
    own, other = step_us(Recipe(), document(lay), COST), step_us(Recipe(), lay, COST)
    assert step_us(recipe, lay, COST) == pytest.approx(0.25 * own + 0.75 * other) and own != other
    without = layout(Task(name="digits", side=4), recipe)
    assert (without.notebook, step_us(recipe, without, COST)) == (
        0,
        other,
    )  # without its tokens nothing is read


def test_a_study_without_a_notebook_has_no_share_to_propose():
    assert set(grid(True)) - set(grid(False)) == {"notebook"}


def test_a_history_crosses_into_the_box_and_back():
    seen = History(
        champion=Recipe(),
        champion_source="a",
        champion_score=0.5,
        trials=(trial(0.5), trial(outcome="failed")),
        grid=dict(GRID),
        count=4,
    )
    assert parse(History, strict_json(canonical(seen))) == seen and plain(seen)["count"] == 4
