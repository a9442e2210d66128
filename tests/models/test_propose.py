"""Weights that propose, run in the box environment from a bundle as a box has it."""

import json

import pytest

from configs.build import plain
from configs.history import History, Trial
from configs.job import Order
from configs.recipe import GRID, Recipe, grid
from configs.tokens import Task
from sandbox.canonical import canonical

TASK = Task(name="addition", digits=1, train_items=100, notebook=True)
RECIPE = Recipe(width=32, depth=1, batch_size=32, learning_rate=0.01, notebook=0.2)
CODE = """if True:
    import sys, torch
    from pathlib import Path
    from safetensors.torch import save_file
    from configs.build import parse, strict_json
    from configs.job import Order
    from configs.tokens import layout
    from models.net import Net
    order = parse(Order, strict_json(Path("job.json").read_bytes()))
    torch.manual_seed(5)
    save_file(Net(order.recipe, layout(order.task, order.recipe)).state_dict(), \
"weights.safetensors")
    from models.propose import main
    main(Path("."), Path("."))
"""


def proposals(bundle, history, steps, seed=1):
    """What fresh weights propose after reading for `steps` steps."""
    order = Order(role="propose", task=TASK, recipe=RECIPE, seed=seed, steps=steps)
    (bundle.source / "job.json").write_text(json.dumps(plain(order)))
    (bundle.source / "history.json").write_bytes(canonical(history))
    bundle("-c", CODE)
    return (bundle.source / "proposals.jsonl").read_text()


def history(trials, count=8, knobs=None, limit=0, champion=RECIPE):
    return History(
        champion=champion,
        champion_source="",
        champion_score=0.2,
        trials=tuple(trials),
        grid=knobs or dict(GRID),
        count=count,
        most_changes=limit,
    )


def good(depth, score):
    """Trials that do well with one depth and badly with the others, all else alike."""
    others = [d for d in GRID["depth"] if d != depth]
    rates = GRID["learning_rate"]
    return [
        Trial(recipe=Recipe(depth=d, learning_rate=r, heads=1), outcome="scored", score=s)
        for r in rates
        for d, s in ((depth, score), (others[0], 0.1), (others[1], 0.1))
    ]


def depths(text):
    return [json.loads(line)["knobs"].get("depth", RECIPE.depth) for line in text.splitlines()]


def test_weights_that_read_which_recipes_did_well_write_such_ones_and_others_do_not(bundle):
    for depth in (2, 3):
        told = history(good(depth, 0.9))
        found = depths(proposals(bundle, told, steps=150))
        assert (
            len(found) == 8 and found.count(depth) >= 5
        )  # some are drawn hotter, where sure weights would repeat themselves
    unread = [
        depths(proposals(bundle, history(good(depth, 0.9)), steps=0, seed=seed)).count(depth)
        for depth in (2, 3)
        for seed in (1, 2)
    ]
    assert sum(unread) / len(unread) <= 4  # the same weights, unread, do not follow what did well


def test_proposals_keep_to_the_grid_and_repeat_no_trial(bundle):
    few = {"depth": (1, 2, 3), "loss": ("all", "answer")}
    seen = [
        Trial(
            recipe=Recipe(**{**plain(RECIPE), "depth": d, "loss": "all"}),
            outcome="scored",
            score=0.1 * d,
        )
        for d in (2, 3)
    ]
    lines = [
        json.loads(line)["knobs"]
        for line in proposals(bundle, history(seen, knobs=few), steps=5).splitlines()
    ]
    made = [(k.get("depth", 1), k.get("loss", "all")) for k in lines]
    assert sorted(made) == [
        (1, "answer"),
        (2, "answer"),
        (3, "answer"),
    ]  # six corners, two of them tried, one the champion's own
    assert all(set(k) <= set(few) for k in lines)


@pytest.mark.parametrize("knobs", [grid(True), grid(False)])
def test_every_proposal_is_a_recipe_with_a_predicted_gain(bundle, knobs):
    lines = proposals(bundle, history(good(2, 0.9), knobs=knobs), steps=10).splitlines()
    assert lines
    for line in lines:
        told = json.loads(line)
        assert (
            Recipe(**{**plain(RECIPE), **told["knobs"]})
            and set(told["knobs"]) <= set(knobs)
            and abs(told["predicted_gain"]) <= 1
        )


def test_the_same_seed_writes_the_same_and_another_seed_another(bundle):
    told = history(good(2, 0.9))
    first = proposals(bundle, told, steps=10)
    assert first == proposals(bundle, told, steps=10) != proposals(bundle, told, steps=10, seed=2)


def test_an_empty_history_is_no_error(bundle):
    assert len(proposals(bundle, history([]), steps=5).splitlines()) == 8


@pytest.mark.parametrize("limit", [1, 2])
def test_every_proposal_keeps_to_the_change_limit_and_is_a_whole_draft(bundle, limit):
    """Also where the champion's learning rate is off the grid, and its token the nearest."""
    champion = Recipe(**{**plain(RECIPE), "learning_rate": 0.0042})
    given = history(good(2, 0.9), count=24, limit=limit, champion=champion)
    made = [json.loads(line)["knobs"] for line in proposals(bundle, given, steps=20).splitlines()]
    assert len(made) == 24 and {len(knobs) for knobs in made} <= set(range(1, limit + 1))
    assert max(len(knobs) for knobs in made) == limit
    assert all(value in GRID[name] for knobs in made for name, value in knobs.items())
    assert len({json.dumps(knobs, sort_keys=True) for knobs in made}) == 24


DRAFTS = """if True:
    import json, torch
    from pathlib import Path
    from configs.build import parse, strict_json
    from configs.history import History
    from configs.job import Order
    from configs.tokens import layout
    from models import propose
    from models.net import Net
    order = parse(Order, strict_json(Path("job.json").read_bytes()))
    history = parse(History, strict_json(Path("history.json").read_bytes()))
    torch.manual_seed(5)
    net = Net(order.recipe, layout(order.task, order.recipe)).eval()
    seen, real = [], propose.foresee
    propose.foresee = lambda net, drafts: seen.append(drafts) or real(net, drafts)
    made = propose.propose(net, history, 1)
    champion = set(net.book.encode(history.champion))
    sizes = [len(set(row) - champion) for drafts in seen for row in drafts.tolist()]
    whole = all(len(net.book.decode(row)) == len(net.book.pairs) for row in seen[0].tolist())
    best = [json.loads(json.dumps(one["knobs"])) for one in made]
    drawn = [{k: v for k, v in net.book.decode(row).items()} for d in seen for row in d.tolist()]
    now = net.book.decode(net.book.encode(history.champion))
    legal = all({**now, **knobs} in drawn for knobs in best)
    Path("sizes.json").write_text(json.dumps([sizes, whole, legal]))
"""


def test_the_net_scores_whole_drafts_within_the_limit_and_proposes_them_as_they_are(bundle):
    order = Order(role="propose", task=TASK, recipe=RECIPE, seed=1, steps=1)
    (bundle.source / "job.json").write_text(json.dumps(plain(order)))
    (bundle.source / "history.json").write_bytes(canonical(history(good(2, 0.9), limit=2)))
    bundle("-c", DRAFTS)
    sizes, whole, legal = json.loads((bundle.source / "sizes.json").read_text())
    assert len(sizes) >= 8 * 64 and max(sizes) == 2 and whole and legal
