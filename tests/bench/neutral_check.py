"""Are the weights and proposals of the neutral edits those of the baseline, byte for byte?

`.box/bin/python tests/bench/packs.py equal` trains each bundle for 12 steps, some of them on a
notebook: once by the baseline's recipe, and once by a recipe that uses what the baseline leaves
off, such as a schedule, a curriculum, smoothing, averaging, and other positions and norms. Then it
answers questions and lets the weights propose. 12 steps show a change of the arithmetic; they are
no proof for a change that waits longer, and no edit of pack_words.py looks at the step's number.
"""

import hashlib
import sys
import types
from pathlib import Path

import torch

from configs.history import History, Trial, notebook
from configs.job import Order
from configs.recipe import Recipe
from configs.tokens import Task, layout

ROOT = Path(__file__).resolve().parents[2]
FILES = ("net", "train", "predict", "propose")
STEPS = 12
BASE = dict(learning_rate=0.003, warmup=0.05, beta2=0.99, batch_size=16, width=64, depth=1, heads=2)
BASE |= dict(gradient_clip=1.0, notebook=0.25, context=24, position="rotary", shift="half")
BASE |= dict(residual_scale=0.0, output="free")
OTHER = BASE | dict(schedule="cosine", curriculum=0.4, smoothing=0.1, averaging=0.2, logit_cap=20.0)
OTHER |= dict(position="slopes", norm_place="after", output_bias="frequencies", depth=2)
OTHER |= dict(activation="swiglu", loss="answer")
TASK = dict(name="text", window=64, train_items=1000, held_out=20, notebook=True)


def load(files: dict[str, str]) -> dict[str, types.ModuleType]:
    """Return the modules of a bundle."""
    package = types.ModuleType("models")
    package.__path__ = []  # type: ignore[attr-defined]
    sys.modules["models"], modules = package, {}
    for name in FILES:
        module = modules[name] = types.ModuleType(f"models.{name}")
        sys.modules[f"models.{name}"] = module
        exec(compile(files[name], f"{name}.py", "exec"), module.__dict__)
    return modules


def mark(files: dict[str, str], task: Task, knobs: dict[str, object], seed: int) -> str:
    """Return a digest of weights, answers and proposals of a short training."""
    modules, recipe = load(files), Recipe(**knobs)  # type: ignore[arg-type]
    lay, rng = layout(task, recipe), torch.Generator().manual_seed(seed)
    items = torch.randint(2, 99, (task.train_items, 65), generator=rng).to(torch.uint8)
    grid = {"learning_rate": (0.002, 0.003, 0.005), "width": (48, 64), "mlp_ratio": (2, 4)}
    tried = [Recipe(**{**BASE, "learning_rate": rate}) for rate in (0.002, 0.005)]
    trials = tuple(Trial(recipe=r, outcome="scored", score=-3.0 - i) for i, r in enumerate(tried))
    rows = torch.tensor(notebook(trials, task.book()))
    order = Order(role="train", task=task, recipe=recipe, seed=seed, steps=STEPS)
    net, _ = modules["train"].train(order, items, rows)
    net.eval()
    weights = b"".join(value.numpy().tobytes() for value in net.state_dict().values())
    with torch.no_grad():
        answers = net(items[:32, list(lay.order)].long()[:, :-1], last=True).numpy().tobytes()
    history = History(
        champion=Recipe(**BASE), champion_source="", champion_score=None, trials=trials,
        grid=grid, count=1, most_changes=2,
    )  # fmt: skip
    modules["propose"].read(net, recipe, history, seed, 2)
    written = repr(modules["propose"].propose(net, history, seed)).encode()
    return hashlib.sha256(weights + answers + written).hexdigest()


def check(plans: list[tuple[list[dict[str, str]], str]]) -> None:
    """Print how many bundles are equal; exit 1 with those that are not."""
    torch.set_num_threads(1)
    task = Task(**TASK)  # type: ignore[arg-type]
    pristine = {name: (ROOT / "models" / f"{name}.py").read_text() for name in FILES}
    cases = [(knobs, seed) for seed, knobs in enumerate((BASE, OTHER), 1)]
    wanted = [mark(pristine, task, *case) for case in cases]
    wrong = []
    for edits, text in plans:
        files = dict(pristine)
        for edit in edits:
            name = Path(edit["file"]).stem
            assert files[name].count(edit["search"]) == 1, edit
            files[name] = files[name].replace(edit["search"], edit["replace"])
        if [mark(files, task, *case) for case in cases] != wanted:
            wrong.append(text)
    print(f"{len(plans) - len(wrong)} of {len(plans)} neutral patches are equal")
    if wrong:
        raise SystemExit("these are not: " + "; ".join(wrong))
