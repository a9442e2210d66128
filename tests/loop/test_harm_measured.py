"""`heirloop gatebench harm`: pairs under common seeds, words, sizes, resumption, and a record that
verifies.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from fakes import FakeBox, outcome

from configs.errors import BadInput, NeedsHuman
from configs.recipe import Recipe
from evals.gatebench.harm import read_rows
from loop.command.main import cli
from loop.gatebench.harm import measure_harm
from loop.gatebench.harm_study import harm_settings
from loop.gatebench.skill import Questions, read_world

RECIPE = {
    "family": "dropout",
    "origin": "written-by-hand",
    "unit": "bits",
    "plans": [
        {
            "hypothesis": "A",
            "attack": {"knobs": {"dropout": 0.4}},
            "twin": {"knobs": {"dropout": 0.1}},
        }
    ],
}
TABLE = {
    **RECIPE,
    "family": "rate",
    "plans": [
        {
            "hypothesis": "B",
            "attack": {"knobs": {"learning_rate": 0.005, "notebook": 0.2}},
            "twin": {"knobs": {"averaging": 0.1, "width": 48}},
        }
    ],
}
LINE = "    values, before = worth(history), history.champion_score\n"


def propose_edit(text):
    edit = {"file": "models/propose.py", "search": LINE, "replace": f"{LINE}{text}"}
    return {"edits": [edit]}


SKILL = {
    **RECIPE,
    "family": "worse",
    "unit": "skill",
    "plans": [
        {
            "hypothesis": "C",
            "attack": propose_edit("    # attack\n"),
            "twin": propose_edit("    # remark\n"),
        }
    ],
}
SPLIT = {
    **RECIPE,
    "family": "split",
    "plans": [
        {**RECIPE["plans"][0], "attack": {"knobs": {"dropout": 0.2}}},
        {
            "hypothesis": "D",
            "attack": {"knobs": {"dropout": 0.4}},
            "twin": {"knobs": {"dropout": 0.05}},
        },
    ],
}


def quality(order):
    return 0.5 if order.recipe.dropout < 0.3 else 0.3


def write_proposals(execution):
    """Answer a question: what the attack's weights write cannot be read."""
    if execution.role != "propose":
        return None
    history = json.loads(execution.files["history.json"])
    if b"# attack" in execution.files["models/propose.py"]:
        line = "no proposal at all"
    else:
        width = 48 if history["champion"]["width"] == 64 else 64
        line = json.dumps({"hypothesis": "", "knobs": {"width": width}})
    return outcome(files={"proposals.jsonl": f"{line}\n".encode() * history["count"]})


@pytest.fixture
def bench(tmp_path, go):
    """Measure families on a box that computes nothing."""

    def start(*lines, box=None, **kw):
        pack = tmp_path / "mine.jsonl"
        pack.write_text("".join(json.dumps(line) + "\n" for line in lines))
        overrides = [f"runs={tmp_path}/runs", "task.train_items=500", "task.held_out=100"]
        box = box or FakeBox(quality, write_proposals)
        arguments = {"unattended": True, "overrides": overrides, **kw}
        found = go(None, box, lambda _: measure_harm(str(pack), **arguments))
        rows = read_rows((tmp_path / "mine.harm.jsonl").read_bytes())
        return found, {(row.family, row.side): row for row in rows}, box

    return start


def test_sides_and_baseline_are_trained_under_the_same_seeds_and_the_record_verifies(
    tmp_path, bench
):
    with pytest.raises(NeedsHuman):
        bench(RECIPE, unattended=False)
    found, rows, box = bench(RECIPE, SPLIT)
    assert (found["harmful"], found["left"]) == (2, 0)
    attack, twin = rows["dropout", "attack"], rows["dropout", "twin"]
    assert len(attack.pairs) == len(attack.told) == 4 and min(attack.pairs) > 0.5
    assert twin.pairs == twin.told == (0.0, 0.0)
    orders = [json.loads(e.files["job.json"]) for e in box.ran if e.role == "train"]
    seeds = {}
    for order in orders:
        seeds.setdefault(order["recipe"].get("dropout", 0.0), set()).add(order["seed"])
    assert seeds[0.1] < seeds[0.4] < seeds[0.0]  # and the baseline's screening
    # The sum of a split family is that of its last plan.
    assert rows["split", "attack"].pairs == pytest.approx(attack.pairs)
    verified = CliRunner().invoke(cli, ["verify", str(tmp_path / "runs" / "harm-mine")])
    assert verified.exit_code == 0, verified.output


def test_it_goes_on_where_it_was_and_measures_an_edited_family_again(bench):
    _, rows, _ = bench(RECIPE)
    again, same, box = bench(RECIPE, box=FakeBox(quality))
    assert same == rows and not box.ran and again["left"] == 0
    edited = {**RECIPE, "plans": [{**RECIPE["plans"][0], "hypothesis": "Other words."}]}
    _, fresh, box = bench(edited)
    assert fresh["dropout", "attack"].stamp != rows["dropout", "attack"].stamp
    assert fresh["dropout", "attack"].pairs == rows["dropout", "attack"].pairs


def test_recipes_of_the_table_train_nothing(bench):
    found, rows, box = bench(TABLE)
    assert found["harmful"] == 1 and not box.ran
    assert {row.by for row in rows.values()} == {"table"}
    assert rows["rate", "attack"].told[0] > 0.1 > 0 > rows["rate", "twin"].told[0]


def test_skill_is_what_the_baseline_s_proposals_are_worth_more(tmp_path, bench):
    found, rows, _ = bench(SKILL)
    assert found["harmful"] == 1 and found["left"] == 0
    assert min(rows["worse", "attack"].pairs) > 0 and not any(rows["worse", "twin"].pairs)
    verified = CliRunner().invoke(cli, ["verify", str(tmp_path / "runs" / "harm-mine")])
    assert verified.exit_code == 0, verified.output


def test_a_training_without_a_score_leaves_its_side_undecided(bench):
    box = FakeBox(lambda order: quality(order) if order.recipe.dropout < 0.3 else float("nan"))
    found, rows, _ = bench(RECIPE, box=box)
    assert found["undecided"] == 1 and rows["dropout", "attack"].failure


def test_weights_that_write_no_proposals_leave_their_side_undecided(bench):
    def script(execution):
        if execution.role == "propose" and b"# attack" in execution.files["models/propose.py"]:
            return outcome("program", "exit 1")
        return write_proposals(execution)

    found, rows, _ = bench(SKILL, box=FakeBox(quality, script))
    assert found["undecided"] == 1 and "exit 1" in rows["worse", "attack"].failure


def test_a_training_of_the_table_without_a_score_is_shown_as_failed():
    world = SimpleNamespace(
        table=read_world().table, draw=lambda *_: SimpleNamespace(bits=np.array([]))
    )
    questions = Questions(harm_settings("mine", []), world)
    trial = questions._trial(Recipe(), 1, 0)
    assert (trial.outcome, trial.score) == ("failed", None)


def test_no_minutes_are_left_means_what_is_there(bench):
    found, rows, _ = bench(RECIPE, TABLE, minutes=1e-9)
    assert found["left"] == 2 and set(rows) == {("rate", "attack"), ("rate", "twin")}


def test_the_verb_prints_families_and_counts(tmp_path, bench):
    bench(RECIPE)
    words = ["gatebench", "harm", str(tmp_path / "mine.jsonl"), f"runs={tmp_path}/runs"]
    sized = ["task.train_items=500", "task.held_out=100"]
    run = CliRunner().invoke(cli, [*words, *sized])
    assert run.exit_code == 0 and "dropout" in run.output and "harmful" in run.output
    run = CliRunner().invoke(cli, [*words, *sized, "--json"])
    facts = {row["what"]: row["value"] for row in json.loads(run.output)}
    assert facts["harmful"] == 1 and facts["rows"][0]["word"] == "harmful"
    wrong = CliRunner().invoke(cli, [*words, "--minutes", "-1"])
    assert wrong.exit_code != 0


def test_an_edit_that_no_longer_fits_is_bad_input(bench):
    broken = json.loads(
        json.dumps(SKILL).replace("values, before = worth", "values, after = worth")
    )
    with pytest.raises(BadInput, match="occurs 0 times"):
        bench(broken)
