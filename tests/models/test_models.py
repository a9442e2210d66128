"""Net, train and predict, run in the box environment (torch is not in this one), from a bundle as a
box has it.
"""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from conftest import ROOT
from fakes import ONE_DIGIT, table
from safetensors.numpy import load_file, save_file

from configs.build import plain
from configs.cost import parameters
from configs.job import Order
from configs.recipe import GRID, Recipe
from configs.records import Scores
from configs.tokens import Task, layout
from evals.data import answers
from evals.score import score

SMALL = {
    "width": 32,
    "depth": 1,
    "batch_size": 32,
    "learning_rate": 0.01,
    "schedule": "linear",
    "loss": "answer",
}


def job(bundle, recipe, role="train", steps=30, seed=1):
    order = Order(role=role, task=ONE_DIGIT, recipe=recipe, seed=seed, steps=steps)
    (bundle.source / "job.json").write_text(json.dumps(plain(order)))


def train(bundle, name, recipe, **kwargs):
    job(bundle, recipe, **kwargs)
    out = bundle.source.parent / name
    out.mkdir()
    bundle("-m", "models.train", ".", out)
    return out


def test_the_net_has_the_parameters_that_the_cost_formula_counts(bundle):
    recipes = [Recipe(), Recipe(width=16, depth=4, heads=1), Recipe(width=96, depth=3, heads=8)]
    tasks = [Task(name="addition"), Task(name="modular"), Task(name="digits")]
    orders = [
        Order(role="train", task=t, recipe=r, seed=1, steps=1) for r in recipes for t in tasks
    ]
    code = """if True:
        import json, sys
        from configs.build import parse
        from configs.job import Order
        from configs.tokens import layout
        from models.net import Net
        for order in (parse(Order, o) for o in json.loads(sys.argv[1])):
            print(sum(p.numel() for p in Net(order.recipe, layout(order.task, \
order.recipe)).parameters()))
    """
    counted = bundle("-c", code, json.dumps(plain(orders))).split()
    assert [int(n) for n in counted] == [
        parameters(o.recipe, layout(o.task, o.recipe)) for o in orders
    ]


def test_the_same_bundle_and_seed_give_the_same_bytes(bundle):
    recipe = Recipe(dropout=0.1, curriculum=0.4, gradient_clip=1.0, warmup=0.1, weight_decay=0.1)
    first, second = (train(bundle, name, recipe) for name in ("a", "b"))
    other = train(bundle, "c", recipe, seed=2)
    weights = [(out / "weights.safetensors").read_bytes() for out in (first, second, other)]
    assert weights[0] == weights[1] != weights[2]
    claims = json.loads((first / "claims.json").read_text())
    assert claims["steps"] == 30 and set(claims) == {"steps", "final_loss", "seconds"}
    assert all(t.dtype == np.float32 for t in load_file(first / "weights.safetensors").values())


def test_every_knob_changes_the_weights(bundle):
    base = Recipe(curriculum=0.2, gradient_clip=0.3, warmup=0.1, schedule="linear", dropout=0.1)
    recipes = {"base": plain(base)}
    for knob, values in GRID.items():
        value = next(v for v in reversed(values) if v != getattr(base, knob))
        recipes[knob] = plain(base) | {knob: value}
    code = """if True:
        import json, sys, hashlib, torch
        from configs.build import parse
        from configs.job import Order
        from models.train import train
        from safetensors.torch import load_file
        torch.set_num_threads(1)
        told, recipes = json.loads(sys.argv[1]), json.loads(sys.argv[2])
        items = load_file("data.safetensors")["items"]
        for name, recipe in recipes.items():
            net, _ = train(parse(Order, told | {"recipe": recipe}), items, torch.tensor([[3, \
*parse(Order, told).task.book().encode(parse(Order, told).recipe)]]))
            print(name, hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in \
net.parameters())).hexdigest())
    """
    told = plain(
        Order(role="train", task=replace(ONE_DIGIT, notebook=True), recipe=base, seed=1, steps=20)
    )
    found = dict(
        line.split()
        for line in bundle("-c", code, json.dumps(told), json.dumps(recipes)).splitlines()
    )
    assert len(found) == len(GRID) + 1
    assert not [
        name for name, digest in found.items() if name != "base" and digest == found["base"]
    ]


@pytest.mark.parametrize(
    "operands, answer", [("plain", "plain"), ("interleaved", "reversed"), ("reversed", "plain")]
)
def test_predictions_stand_in_canonical_order(bundle, operands, answer):
    """A net that has memorised the table answers it, whatever its column order."""
    recipe = Recipe(**SMALL, operand_order=operands, answer_order=answer)
    out = train(bundle, "out", recipe, steps=500)
    shutil.copy(out / "weights.safetensors", bundle.source)
    job(bundle, recipe, role="predict")
    bundle(
        "-c",
        "from pathlib import Path; import models.predict; models.predict.main(Path('.'),"
        f" Path({str(out)!r}))",
    )
    found = load_file(out / "predictions.safetensors")
    assert found["tokens"].dtype == np.uint8 and found["tokens"].shape == (100, 2)
    assert (found["tokens"] == answers(ONE_DIGIT, table())).mean() > 0.9
    assert found["probabilities"].shape == (100, 2, 12) and np.allclose(
        found["probabilities"].sum(-1), 1, atol=1e-4
    )
    assert (found["probabilities"].argmax(-1) == found["tokens"]).all() and found[
        "probabilities"
    ].dtype == np.float32
    scored = score(
        (out / "predictions.safetensors").read_bytes(), table(), ONE_DIGIT, recipe, "confirm", 1, 1
    )
    assert isinstance(scored, Scores) and scored.nll < 1 and 0 <= scored.calibration_error < 0.5


@pytest.mark.parametrize("spoil", ["name", "shape", "type", "junk"])
def test_predict_refuses_weights_that_are_not_the_nets(bundle, spoil):
    recipe = Recipe(**SMALL)
    path = train(bundle, "out", recipe, steps=1) / "weights.safetensors"
    weights = load_file(path)
    if spoil == "name":
        weights["extra"] = np.zeros(1, np.float32)
    if spoil == "shape":
        weights["norm.weight"] = weights["norm.weight"][:-1]
    if spoil == "type":
        weights["norm.weight"] = weights["norm.weight"].astype(np.float64)
    save_file(weights, bundle.source / "weights.safetensors")
    if spoil == "junk":
        (bundle.source / "weights.safetensors").write_bytes(b"junk")
    job(bundle, recipe, role="predict")
    said = bundle(
        "-c",
        "from pathlib import Path; import models.predict; models.predict.main(Path('.'),"
        " Path('.'))",
        fails=True,
    )
    assert re.search(r"BadInput: weights.safetensors.*it should (be|have)", said.splitlines()[-1])


def test_easy_sums_come_first(bundle):
    code = """if True:
        from configs.tokens import Task
        from models.train import easy_first
        from safetensors.torch import load_file
        items = load_file("data.safetensors")["items"]
        rows = items[easy_first(items, Task(name="addition", digits=1))].tolist()
        print([int(row[0] + row[2] - 4 > 9) for row in rows] == [0] * 55 + [1] * 45, rows[0][:3])
    """
    assert bundle("-c", code).strip() == "True [2, 0, 2]"


def test_the_patchable_file_marks_its_regions():
    lines = (ROOT / "models" / "train.py").read_text().splitlines()
    marks = [line for line in lines if line.startswith(("# region", "# endregion"))]
    assert len(lines) <= 310
    assert marks[1::2] == ["# endregion"] * 5
    assert sorted(marks[::2]) == [
        f"# region: {name}" for name in ("loss", "notebook", "order", "schedule", "update")
    ]
