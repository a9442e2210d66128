"""What a proposer is shown, and the notebook's tokens."""

import pytest

from configs.build import parse, plain, strict_json
from configs.cost import Cost, step_us
from configs.errors import BadInput
from configs.history import History, Trial, buckets, notebook
from configs.notebook import ASK, FIRST_PAIR, notebook_over
from configs.recipe import GRID, Recipe, grid
from configs.settings.task import TaskSetup
from configs.tokens import Task, document, layout
from sandbox.canonical import canonical

BOOK = notebook_over(None)
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
    rows = notebook([trial(0.1, depth=1), trial(0.9, depth=3), trial(outcome="waiting")], BOOK)
    assert [len(row) for row in rows] == [1 + len(GRID)] * 2 and len(GRID) + 2 == BOOK.document
    assert [BOOK.decode(row[1:])["depth"] for row in rows] == [1, 3] and rows[0][0] < rows[1][0]


def test_pair_tokens_say_knob_and_value_and_read_back():
    for name, values in GRID.items():
        for value in values:
            tokens = BOOK.encode(Recipe(**{"heads": 1, name: value}))
            assert BOOK.decode(reversed(tokens))[name] == value
            assert all(FIRST_PAIR <= t < BOOK.size for t in tokens) and len(
                {BOOK.groups[t] for t in tokens}
            ) == len(GRID)
    assert (
        len(BOOK.groups) == BOOK.size
        and BOOK.groups[ASK] != BOOK.groups[0] != BOOK.groups[BOOK.pairs["width"]]
    )


def test_a_value_off_the_grid_counts_as_the_nearest():
    assert BOOK.decode(BOOK.encode(Recipe(width=128, heads=4, learning_rate=0.0009)))["width"] == 96
    assert BOOK.decode(BOOK.encode(Recipe(learning_rate=0.0009)))["learning_rate"] == 0.001


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


OWN = {"depth": (1, 2), "dropout": (0, 0.1), "schedule": ("linear", "cosine")}


def test_a_task_s_own_grid_has_its_own_tokens():
    task = Task(name="digits", side=4, notebook=True, grid=OWN)
    book = task.book()
    assert (book.size, book.document, book.groups) == (
        FIRST_PAIR + 6,
        5,
        (0, 0, 0, 0, 1, 2, 2, 3, 3, 4, 4),
    )
    assert book.encode(Recipe(depth=2)) == [6, 7, 9]  # a word off the grid counts as the first
    assert book.decode([10, 8, 5]) == {"schedule": "cosine", "dropout": 0.1, "depth": 1}
    assert isinstance(book.decode([7])["dropout"], float)
    lay = layout(task, Recipe())
    assert (lay.notebook, document(lay).answer, lay.length) == (11, 4, 18)
    assert parse(Task, strict_json(canonical(task))) == task and hash(task)
    assert b"grid" not in canonical(Task(name="digits"))


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"speed": (1,)}, "grid is 'speed'; it should be one of the knobs"),
        ({"depth": ()}, r"grid.depth is \(\); it should be different values"),
        ({"depth": (1, 1)}, "different values"),
        ({"depth": (1, 17)}, "grid.depth is 17; it should be one of 1, 2, 3, 4"),
        ({"dropout": (0.0, 0.9)}, "grid.dropout is 0.9; it should be between 0.0 and 0.5"),
    ],
)
def test_a_grid_that_no_recipe_has_is_refused(own, words):
    with pytest.raises(BadInput, match=words):
        TaskSetup(
            name="digits",
            planned_cpu_us=1000,
            cost=COST,
            seed_deviation=0.1,
            baseline=Recipe(),
            grid=own,
        )


def test_a_grid_holds_no_share_where_the_study_has_no_notebook():
    own = {"depth": (1, 2), "notebook": (0, 0.1)}
    assert set(grid(False, own)) == {"depth"} and grid(True, own)["notebook"] == (0.0, 0.1)


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
