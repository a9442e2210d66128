"""The parts of the net and of the update that a recipe chooses, run in the box environment."""

import json
from dataclasses import replace

import pytest

from configs.build import plain
from configs.cost import parameters
from configs.recipe import Recipe
from configs.tokens import Task, layout
from loop.settings import compose_settings

TASK = Task(name="digits", side=4, levels=9)
PARTS = {
    "activation": ("relu", "relu2", "silu", "swiglu"),
    "mlp_ratio": (1, 8),
    "norm": ("layer",),
    "norm_place": ("after",),
    "query_norm": ("rms",),
    "position": ("rotary", "slopes", "none"),
    "shift": ("half",),
    "output": ("free",),
    "output_bias": ("zero",),
    "shortcut": ("bigram",),
    "init_scale": (0.5,),
    "embedding_scale": (25.0,),
    "residual_scale": (2.0,),
    "logit_cap": (3.0,),
}
"""Knobs of the net, and values that are not the default's."""
RECIPES = [Recipe(depth=2)] + [
    Recipe(depth=2, **{knob: value}) for knob, values in PARTS.items() for value in values
]
START = """if True:
    import json, sys
    import torch
    from configs.build import parse
    from configs.recipe import Recipe
    from configs.tokens import Task, layout
    from models.net import Net
    task = Task(name="digits", side=4, levels=9)
    recipes = [parse(Recipe, one) for one in json.loads(sys.argv[1])]
    def made(recipe, seed=0):
        torch.manual_seed(seed)
        net = Net(recipe, layout(task, recipe)).eval()
        for p in net.parameters():  # zeros would hide a part
            p.data += 0.05 * torch.randn_like(p)
        return net
    tokens = torch.randint(2, 11, (3, 16), generator=torch.Generator().manual_seed(1))
"""


def box(bundle, code, recipes):
    return json.loads(bundle("-c", START + code, json.dumps([plain(one) for one in recipes])))


def test_the_cost_formula_counts_the_weights_of_every_part(bundle):
    code = """
    print([sum(p.numel() for p in made(r).parameters()) for r in recipes])
    """
    counted = box(bundle, code, RECIPES)
    assert counted == [parameters(recipe, layout(TASK, recipe)) for recipe in RECIPES]


def test_every_part_changes_what_the_net_says(bundle):
    code = """
    base = made(recipes[0])(tokens)
    print([(made(r)(tokens) - base).abs().max().item() for r in recipes])
    """
    changes = box(bundle, code, RECIPES)
    assert changes[0] == 0 and min(changes[1:]) > 1e-3


def test_no_part_sees_a_later_token_and_the_last_alone_is_as_in_the_whole(bundle):
    code = """
    later = tokens.clone()
    later[:, 9:] = 2
    nets = [made(r) for r in recipes]
    print([[(net(tokens)[:, :9] - net(later)[:, :9]).abs().max().item(),
            (net(tokens)[:, -1:] - net(tokens, last=True)).abs().max().item()] for net in nets])
    """
    for recipe, (seen, last) in zip(RECIPES, box(bundle, code, RECIPES), strict=True):
        assert seen < 1e-4 and last < 1e-4, recipe


def test_only_without_positions_does_order_stay_unseen(bundle):
    """Attention alone is blind to the order of earlier tokens; each position part is not."""
    code = """
    turned = torch.cat([tokens[:, :8].flip(1), tokens[:, 8:]], dim=1)
    print([(made(r)(tokens)[:, -1] - made(r)(turned)[:, -1]).abs().max().item() for r in recipes])
    """
    kinds = ("none", "learned", "rotary", "slopes")
    recipes = [Recipe(depth=1, position=kind) for kind in kinds]
    blind, *seeing = box(bundle, code, recipes)
    assert blind < 1e-5 and min(seeing) > 1e-3
    (shifted,) = box(bundle, code, [Recipe(depth=1, position="none", shift="half")])
    assert shifted > 1e-3


def test_the_second_optimiser_steps_along_singular_vectors_of_like_size(bundle):
    code = """
    from models.train import orthogonal
    torch.manual_seed(3)
    found = []
    for rows, columns in ((32, 96), (96, 32), (32, 32)):
        step = orthogonal(torch.randn(rows, columns)) / (0.2 * max(rows, columns) ** 0.5)
        values = torch.linalg.svdvals(step)
        found.append([values.min().item(), values.max().item()])
    print(found)
    """
    for least, most in box(bundle, code, []):
        assert least > 0.3 and most < 1.3


def test_the_average_is_the_mean_of_the_last_weights(bundle):
    code = """
    from models.train import Average
    net, kept = made(recipes[0]), []
    average = Average(net, recipes[0], 10)
    for step in range(10):
        for p in net.parameters():
            p.data += step
        kept.append(net.token.weight.detach().clone())
        average.add(step)
    average.finish()
    print((net.token.weight - torch.stack(kept[6:]).mean(0)).abs().max().item())
    """
    assert box(bundle, code, [Recipe(averaging=0.4)]) < 1e-4


def test_shuffled_rows_repeat_only_when_all_were_seen(bundle):
    code = """
    from models.train import Shuffled
    rows = Shuffled(10, torch.Generator().manual_seed(1))
    print([rows.take(4).tolist() for _ in range(5)])
    """
    drawn = [row for rows in box(bundle, code, []) for row in rows]
    assert sorted(drawn[:10]) == list(range(10)) == sorted(drawn[10:])
    assert drawn[:10] != drawn[10:]


@pytest.mark.parametrize("knob, value", [("output_bias", "frequencies"), ("smoothing", 0.1)])
def test_bias_and_smoothing_change_the_training(bundle, knob, value):
    code = """
    from configs.job import Order
    from models.train import train
    items = torch.randint(2, 5, (64, 18), generator=torch.Generator().manual_seed(1)).byte()
    def order(recipe):
        return Order(role="train", task=task, recipe=recipe, seed=1, steps=5)
    nets = [train(order(r), items)[0] for r in recipes]
    print([net.bias.tolist() for net in nets])
    """
    plain_bias, other = box(
        bundle, code, [Recipe(output_bias="zero"), Recipe(**{"output_bias": "zero", knob: value})]
    )
    assert plain_bias != other
    if knob == "output_bias":
        # Tokens 2 to 4 fill the file; the others never occur.
        assert min(other[2:5]) > -1.5 and max(other[5:]) < -5


def test_every_value_on_the_grid_of_text_changes_the_training_or_what_is_read(bundle):
    """A knob that nothing reads would be a coin that proposers are asked to toss."""
    task = compose_settings(["task=text-wide"]).task
    grid = task.grid
    assert len(grid) > 30
    base = replace(task.baseline, notebook=0.1, context=8, width=32, batch_size=8)
    recipes = [base] + [
        replace(base, **{name: value})
        for name, values in grid.items()
        for value in values
        if value != getattr(base, name)
    ]
    code = """
    import hashlib
    from configs.job import Order
    from models.train import train
    task = Task(name="text", notebook=True)
    rng = torch.Generator().manual_seed(2)
    items = torch.randint(2, 99, (300, 65), generator=rng).to(torch.uint8)
    trials = torch.stack([torch.randint(0, 4, (9,), generator=rng)] + [
        torch.randint(first, first + len(task.book().grid[name]), (9,), generator=rng)
        for name, first in task.book().pairs.items()], 1)
    def digest(recipe):
        order = Order(role="train", task=task, recipe=recipe, seed=1, steps=100)
        net, _ = train(order, items, trials)
        whole = b"".join(p.detach().numpy().tobytes() for p in net.parameters())
        return hashlib.sha256(whole).hexdigest()
    torch.set_num_threads(1)
    print(json.dumps([digest(r) for r in recipes]))
    """
    same = dict[str, list[dict]]()
    for recipe, weights in zip(recipes, box(bundle, code, recipes), strict=True):
        same.setdefault(weights, []).append(
            {
                name: getattr(recipe, name)
                for name in grid
                if getattr(recipe, name) != getattr(base, name)
            }
        )
    assert [changes for changes in same.values() if len(changes) > 1] == []


def test_the_context_is_the_end_of_the_window():
    task = Task(name="text", window=64)
    for context in (8, 24, 64):
        lay = layout(task, Recipe(context=context))
        assert lay.order == tuple(range(64 - context, 65))
        assert (lay.question, lay.length, lay.answers) == (context, context + 1, (0,))
    assert layout(Task(name="text", window=16), Recipe(context=64)).order == tuple(range(17))
