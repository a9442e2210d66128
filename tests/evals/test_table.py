"""A table as a world: true scores, replicates and their noise, and tables that are refused.

All numbers are fabricated (tests/fabricated.py).
"""

import json
import math
from dataclasses import replace

import fabricated
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet
from safetensors.numpy import save

from configs.errors import BadInput
from evals import table as tables
from evals.datasheet import check_table
from evals.folds import columns_of, draw_pool, held_out_folds, probabilities_of
from evals.score import score
from evals.table import PLANNED, Unlisted, World, list_grid
from loop.study.tab_file import KEY, digest_file, fill_in, read_table, stamp_code, write_table


@pytest.fixture(scope="module")
def table():
    return fabricated.fabricate()


@pytest.fixture(scope="module")
def world(table):
    return World(table)


@pytest.fixture(scope="module")
def recipes(table):
    return list_grid(table.task)


def test_the_true_score_of_a_recipe_is_the_mean_of_its_rows(table, world, recipes):
    for recipe in recipes:
        rows = [row for row in table.rows if row.recipe == recipe and row.level == PLANNED]
        mean = np.mean([row.bits[: table.folds] for row in rows])
        assert len(rows) == 5 and math.isclose(world.score(recipe), mean, rel_tol=1e-12)


def test_the_mean_of_many_replicates_is_the_mean_of_the_table(world, recipes):
    drawn = np.array([world.draw(recipes[0], PLANNED, seed).bits for seed in range(4000)])
    apart = drawn.mean(axis=0) - world.true(recipes[0])
    assert np.abs(apart).max() < 5 * drawn.std(axis=0).max() / np.sqrt(4000)


def test_replicates_deviate_as_seeds_do(table, world, recipes):
    drawn = [
        world.draw(recipes[0], PLANNED, seed).bits[: table.folds].mean() for seed in range(500)
    ]
    assert 0.02 < np.std(drawn) < 0.08  # the fabricated noise is 0.04


def test_the_same_seed_and_recipe_give_the_same_replicate(world, recipes):
    first, again = (world.draw(recipes[1], PLANNED, 7) for _ in range(2))
    assert first.row == again.row and (first.bits == again.bits).all()


def pair_noise(world, recipes):
    """Return the variance of a pair's difference, and of a replicate, over seeds."""
    ours, theirs = (
        np.array([world.draw(r, PLANNED, seed).bits.mean() for seed in range(600)])
        for r in recipes[:2]
    )
    return float(np.var(ours - theirs)), float(np.var(ours))


def test_two_recipes_with_a_seed_have_independent_noise(world, recipes):
    pair, alone = pair_noise(world, recipes)
    assert pair > alone


def test_ablation_a_key_without_the_recipe_gives_a_pair_no_noise(table, recipes, monkeypatch):
    # Both draw the same donor where they are in the same third by deviation.
    monkeypatch.setattr(tables, "_name_cell", lambda recipe, level: "any")
    monkeypatch.setattr(tables, "THIRDS", 1)
    pair, alone = pair_noise(World(table), recipes)
    assert pair < 1e-20 < alone


def test_a_failing_recipe_fails_in_every_replicate_and_has_no_true_score():
    broken = list_grid(fabricated.fabricated_task())[3]
    world = World(fabricated.fabricate(failing=(broken,)))
    assert math.isnan(world.score(broken))
    assert world.draw(broken, PLANNED, 1).row.failure == "exit 1"


def test_a_recipe_or_level_without_rows_is_unlisted_and_never_a_near_guess(table, world, recipes):
    count = {row.level: row.steps for row in table.rows if row.recipe == recipes[0]}
    assert [world.level(recipes[0], count[level]) for level in (1.0, 4.0)] == [1.0, 4.0]
    with pytest.raises(Unlisted, match="width=48 is off its grid"):
        world.level(replace(recipes[0], width=48), count[1.0])
    with pytest.raises(Unlisted, match=f"no training of this recipe at {count[1.0] + 1} steps"):
        world.level(recipes[0], count[1.0] + 1)
    with pytest.raises(Unlisted):
        world.draw(recipes[1], 4.0, 1)  # the level is there, and not for this recipe


def test_a_file_gives_the_same_table_back(tmp_path, table):
    assert read_table(str(fabricated.write(tmp_path, table))) == table


def other_rows(whole):
    bits = whole["bits"].to_pylist()
    bits[0][0] -= 0.5
    return with_bits(whole, bits)


def with_bits(whole, bits, kind=None):
    place, field = whole.schema.get_field_index("bits"), whole.schema.field("bits")
    return whole.set_column(place, "bits", pyarrow.array(bits, kind or field.type))


def with_metadata(**changes):
    def change(whole):
        about = json.loads(whole.schema.metadata[KEY])
        return whole.replace_schema_metadata({KEY: json.dumps(about | changes).encode()})

    return change


CHANGED = [
    (other_rows, "holds other rows"),
    (lambda whole: whole.slice(0, 30), "holds other rows"),
    (lambda whole: whole.append_column("extra", [[1] * len(whole)]), "has the column extra"),
    (lambda whole: whole.drop_columns(["steps"]), "lacks the column steps"),
    (lambda whole: whole.drop_columns(["depth"]), "lacks the column depth"),
    (lambda whole: with_bits(whole, [None] * len(whole)), "another kind than its column"),
    (lambda w: with_bits(w, ["x"] * len(w), pyarrow.string()), "another kind than its column"),
    (lambda whole: whole.replace_schema_metadata({}), "its metadata names no table"),
    (with_metadata(format=2), "has format 2; this version reads 1"),
    (with_metadata(folds="many"), "folds is 'many'; it should be a whole number"),
    (with_metadata(task={"name": "text"}), "task.planned_cpu_us is missing"),
]


@pytest.mark.parametrize(("change", "why"), CHANGED)
def test_a_changed_file_is_refused_with_a_sentence(tmp_path, table, change, why):
    path = fabricated.write(tmp_path, table)
    parquet.write_table(change(parquet.read_table(path)), path)
    with pytest.raises(BadInput, match=why) as error:
        read_table(str(path))
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def cut(path):
    path.write_bytes(path.read_bytes()[:-200])


def damage(path):
    path.write_bytes(path.read_bytes()[:200] + bytes(200) + path.read_bytes()[400:])


def be_folder(path):
    path.unlink()
    path.mkdir()


BROKEN = [cut, damage, be_folder, lambda path: path.write_text("hello"), lambda path: path.unlink()]


@pytest.mark.parametrize("spoil", BROKEN)
def test_a_file_that_is_no_parquet_is_refused_with_a_sentence(tmp_path, table, spoil):
    path = fabricated.write(tmp_path, table)
    spoil(path)
    with pytest.raises(BadInput, match="is no whole table") as error:
        read_table(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("bits", [math.nan, math.inf, -0.5])
def test_a_score_that_is_no_number_of_bits_is_refused(table, bits):
    rows = list(table.rows)
    rows[5] = replace(rows[5], bits=(*rows[5].bits[:3], bits, *rows[5].bits[4:]))
    with pytest.raises(BadInput, match="no finite number of bits, of seed 1000 at level 1;"):
        check_table(replace(table, rows=tuple(rows)), stamp_code())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"code": "0" * 64}, "was trained by other code"),
        (
            {"levels": (1.0, 0.25)},
            "lacks the baseline at 0.25 times .*heirloop tab build fabricated` goes on",
        ),
        ({"folds": 65}, "rows of .66. scores; it should be 65 folds"),
    ],
)
def test_a_table_on_which_nothing_may_rest_is_refused(table, change, why):
    check_table(table, stamp_code())
    with pytest.raises(BadInput, match=why):
        check_table(replace(table, **change), stamp_code())


def test_a_partial_table_is_refused_until_every_recipe_has_two_trainings(table):
    partial = replace(fabricated.fabricate(seeds=2), complete=False)
    check_table(partial, stamp_code())
    short = tuple(row for row in partial.rows if row is not partial.rows[0])
    with pytest.raises(BadInput, match="1 of 12 recipes have fewer than 2 trainings"):
        check_table(replace(partial, rows=short), stamp_code())


def test_a_pinned_file_that_changed_is_refused(tmp_path, table):
    path = fabricated.write(tmp_path, table)
    settings = {"name": "text", "table": str(path), "table_digest": digest_file(str(path))}
    assert fill_in(settings)["folds"] == 64
    write_table(replace(table, name="fabricated-v2"), path)
    with pytest.raises(BadInput, match="is pinned"):
        fill_in(settings)


def test_the_stamp_of_the_code_is_one_of_code_and_not_of_comments(monkeypatch, tmp_path):
    from loop.study import tab_file

    for name in tab_file.DECIDING:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((tab_file.ROOT / name).read_bytes())
    monkeypatch.setattr(tab_file, "ROOT", tmp_path)
    before, file = stamp_code(), tmp_path / "models/train.py"
    file.write_text(file.read_text() + "\n# a comment\n")
    assert stamp_code() == before
    file.write_text(file.read_text() + "\nextra = 1\n")
    assert stamp_code() != before


def test_predictions_of_a_table_score_as_recorded(table, recipes):
    task = replace(table.task.format(), folds=64, held_out=21)
    items = held_out_folds(task, b"s")["confirm"]
    bits = np.linspace(0.5, 9.0, 66)
    asked = columns_of(items[:, :1])
    data = probabilities_of(bits[asked], 99)
    result = score(save(data), items, task, recipes[0], "confirm", 1, 1)
    assert math.isclose(result.bits, bits[asked].mean(), rel_tol=1e-5)


def test_each_repeat_deals_the_folds_anew_and_no_split_shares_a_fold(table):
    task = replace(table.task.format(), folds=64, held_out=21)
    dealt = [held_out_folds(task, secret) for secret in (b"1", b"2")]
    for splits in dealt:
        names = np.concatenate([rows[:, 0] for rows in splits.values()])
        assert len(set(names)) == 63
    assert json.dumps(dealt[0]["confirm"].tolist()) != json.dumps(dealt[1]["confirm"].tolist())


def test_a_fold_of_the_pool_is_drawn_from_blocks_of_its_own(table):
    pool = draw_pool(table.task.format(), b"secret", 256, 64)
    assert {name: len(rows) for name, rows in pool.items()} == {"": 256, "code": 64, "licence": 64}
    with pytest.raises(BadInput, match="a multiple of folds"):
        draw_pool(table.task.format(), b"secret", 100, 64)
