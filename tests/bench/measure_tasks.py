"""Measure a task: its cost constants, and the scores of random recipes; draw the tasks' climbs.

Commands (P is .venv/bin/python, B is .box/bin/python):

    P tests/bench/measure_tasks.py data              items for the trainings
    B tests/bench/measure_tasks.py constants TASK    CPU time per step over sizes, and the fit
    B tests/bench/measure_tasks.py random TASK 200   random recipes
    B tests/bench/measure_tasks.py again TASK 6      trains recorded rows once more
    P tests/bench/measure_tasks.py figure            docs/figures/climbs.svg and the tables

The climbs are those of `heirloop task climb TASK --json`, kept in docs/figures/climb-TASK.json.

Resumable: every training is a line of docs/figures/tasks-TASK.jsonl, every timing a line of
cost-TASK.jsonl. CPU time is the training process's. `again` shows whether rows still repeat after
a change of code.
"""

import ast
import hashlib
import json
import random
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs import cost as costs  # noqa: E402
from configs.build import parse, plain  # noqa: E402
from configs.job import Order  # noqa: E402
from configs.recipe import Recipe, grid  # noqa: E402
from configs.tokens import Task, layout  # noqa: E402

TASKS = {
    "addition": (Task(name="addition", digits=2, held_out=400), 2_500_000),
    "modular": (Task(name="modular", modulus=31, held_out=60), 2_500_000),
    "digits": (Task(name="digits", held_out=200), 2_500_000),
    "fast": (Task(name="digits", side=4, levels=9, held_out=300), 400_000),
    "text": (Task(name="text", window=64, train_items=12_000, held_out=2000), 1_000_000),
}
CLIMBED = ("text", "fast", "digits", "addition", "modular")
SECRET = b"task measurement, not a study's!"
FIGURES = ROOT / "docs" / "figures"
SEEDS = 8


def data_file(name: str) -> Path:
    return ROOT / "build" / f"task-{name}.npz"


def data() -> None:
    from evals import data as items
    from loop.settings import compose_settings

    for name, (task, _) in TASKS.items():
        if own := compose_settings([f"task={name}"]).task.grid:
            (ROOT / "build").mkdir(exist_ok=True)
            (ROOT / "build" / f"grid-{name}.json").write_text(json.dumps(own))
        splits = items.held_out(task, SECRET)
        data_file(name).parent.mkdir(exist_ok=True)
        files = {f"train{i}": items.draw_train(task, SECRET, i) for i in range(SEEDS)}
        np.savez(data_file(name), gate=splits["confirm"], **files)


def train_and_score(name: str, recipe: Recipe, seed: int, steps: int) -> dict:
    import torch

    from models.train import train

    torch.set_num_threads(1)
    task, _ = TASKS[name]
    lay, files = layout(task, recipe), np.load(data_file(name))
    order = Order(role="train", task=task, recipe=recipe, seed=seed, steps=steps)
    items = torch.from_numpy(files[f"train{seed % SEEDS}"])
    started = time.process_time()
    net, _ = train(order, items)
    used = time.process_time() - started
    rows = torch.from_numpy(files["gate"])[:, list(lay.order)].long()
    asked = rows.clone()
    net.eval()
    with torch.no_grad():
        for i in range(lay.question, lay.question + lay.answer):
            asked[:, i] = net(asked[:, :i])[:, -1].argmax(-1)
    right = (asked[:, lay.question :] == rows[:, lay.question :]).all(1).float().mean().item()
    return {"cpu_us": int(used * 1e6), "exact_match": round(right, 4)}


def own_grid(name: str) -> dict | None:
    """The grid of a task that has one, as data() left it, for the box's Python reads no YAML."""
    file = ROOT / "build" / f"grid-{name}.json"
    if not file.exists():
        return None
    return {knob: tuple(values) for knob, values in json.loads(file.read_text()).items()}


def random_recipe(rng: random.Random, name: str) -> Recipe:
    while True:
        knobs = {knob: rng.choice(values) for knob, values in grid(False, own_grid(name)).items()}
        if knobs["width"] % knobs["heads"] == 0:
            return Recipe(**knobs)


def step_us(task: Task, recipe: Recipe, items: "np.ndarray") -> float:
    """CPU-microseconds of one step: least of three trainings of about 0.15 s, less the least
    set-up.
    """
    import torch

    from models.train import train

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    data = torch.from_numpy(items)

    def used(steps: int) -> float:
        started = time.process_time()
        train(Order(role="train", task=task, recipe=recipe, seed=1, steps=steps), data)
        return time.process_time() - started

    setup = min(used(0) for _ in range(3))
    guess = max(1e-4, used(2) - setup) / 2
    steps = max(2, min(60, int(0.15 / guess)))
    return (min(used(steps) for _ in range(3 if guess < 0.5 else 1)) - setup) / steps * 1e6


def constants(name: str, count: str = "80") -> None:
    """Measure random recipes, each a line of cost-TASK.jsonl; then fit."""
    rng, path = random.Random(5), FIGURES / f"cost-{name}.jsonl"
    done = len(path.read_text().splitlines()) if path.exists() else 0
    task, items = TASKS[name][0], np.load(data_file(name))["train0"]
    for i in range(int(count)):
        recipe = random_recipe(rng, name)
        if i >= done:
            with path.open("a") as file:
                row = {"step_us": round(step_us(task, recipe, items), 1), "recipe": plain(recipe)}
                file.write(json.dumps(row) + "\n")
    fit(name)


def fit(name: str) -> None:
    """Non-negative least squares on relative error, or on logarithms for text; scaled up if more
    than one recipe in ten passes
    1.1 x its plan.
    """
    rows = [json.loads(line) for line in (FIGURES / f"cost-{name}.jsonl").read_text().splitlines()]
    x, y = [], np.array([row["step_us"] for row in rows])
    for row in rows:
        recipe = parse(Recipe, row["recipe"])
        lay = layout(TASKS[name][0], recipe)
        x.append(
            [
                1.0,
                costs.blocks_per_step(recipe),
                costs.flops_per_step(recipe, lay),
                costs.elements_per_step(recipe, lay),
                costs.weights_per_step(recipe, lay) if name == "text" else 0.0,
            ]
        )
    a = np.array(x) / y[:, None]
    best, solved = np.inf, np.zeros(5)
    if name == "text":  # recipes differ more, and a squared relative error hears the cheap ones
        best, solved = 0.0, fit_logarithms(a)
    for used in (
        (0, 1, 2, 3),
        (1, 2, 3),
        (0, 1, 3),
        (0, 1, 2),
        (1, 3),
        (1, 2),
        (0, 3),
        (0, 2),
    ):
        found, *_ = np.linalg.lstsq(a[:, used], np.ones(len(y)), rcond=None)
        error = np.square(a[:, used] @ found - 1).sum()
        if (found > 0).all() and error < best:
            best, solved = error, np.zeros(5)
            solved[list(used)] = found
    solved *= max(1.0, np.quantile(1 / (a @ solved), 0.9) / 1.1)
    ratio = 1 / (a @ solved)
    base, block = (round(float(v), 1) for v in np.maximum(solved[:2], 0.1))
    flops, elements, weights = (round(float(1 / v), 1) for v in np.maximum(solved[2:], 1e-7))
    found = {"base_us": base, "block_us": block, "flops_per_us": flops, "elements_per_us": elements}
    if name == "text":
        found["weights_per_us"] = weights
    quantiles = {
        str(q): round(float(np.quantile(ratio, q)), 3) for q in (0, 0.1, 0.5, 0.9, 0.95, 1)
    }
    print(
        json.dumps({"task": name, "constants": found, "measured / planned": quantiles}), flush=True
    )
    (FIGURES / f"cost-{name}.json").write_text(
        json.dumps({"constants": found, "ratio": quantiles}, indent=1) + "\n"
    )


def fit_logarithms(a: "np.ndarray") -> "np.ndarray":
    """Weights w >= 0 that make the logarithms of a @ w small: (N, 5) -> (5,); plain descent."""
    scale = a.max(0)
    w = np.full(a.shape[1], 1 / a.shape[1] ** 2)
    for _ in range(20_000):
        planned = a / scale @ w
        w = np.maximum(w - 0.002 * (a / scale).T @ (np.log(planned) / planned), 1e-9)
    return w / scale


def pinned(name: str) -> costs.Cost:
    return parse(costs.Cost, json.loads((FIGURES / f"cost-{name}.json").read_text())["constants"])


def stamp(name: str) -> str:
    """Digest of all that decides a score: code without comments, task, compute, constants, grid.
    Other rows are stale.
    """
    files = ("models/net.py", "models/train.py", "configs/tokens.py", "configs/cost.py")
    code = [ast.dump(ast.parse((ROOT / file).read_text())) for file in files]
    told = [
        *code,
        repr(TASKS[name]),
        repr(pinned(name)),
        repr(grid(False)),
    ]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]


def rows_of(name: str) -> list[dict]:
    """Rows with the newest stamp, which `again` may have found to repeat."""
    path = FIGURES / f"tasks-{name}.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [r for r in rows if r["stamp"] == rows[-1]["stamp"]]


def measure(name: str, count: str = "200") -> None:
    """Train random recipes; each training is a line of tasks-TASK.jsonl."""
    path, current, cost = FIGURES / f"tasks-{name}.jsonl", stamp(name), pinned(name)
    done = {r["number"] for r in rows_of(name) if r["stamp"] == current}
    task, planned = TASKS[name]
    rng = random.Random(11)
    for number, recipe in enumerate([random_recipe(rng, name) for _ in range(int(count))]):
        if number in done:
            continue
        steps = costs.steps(recipe, layout(task, recipe), cost, planned)
        row = {
            "kind": "random",
            "number": number,
            "steps": steps,
            **train_and_score(name, recipe, number, steps),
        }
        with path.open("a") as file:
            file.write(json.dumps(row | {"stamp": current, "recipe": plain(recipe)}) + "\n")


def again(name: str, count: str = "6") -> None:
    """Train recorded rows once more, spread over all; print which differ, and stamp every row with
    today's code if none does.
    """
    path, cost = FIGURES / f"tasks-{name}.jsonl", pinned(name)
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    differ = 0
    for row in (kept[i] for i in np.linspace(0, len(kept) - 1, int(count)).astype(int)):
        recipe = parse(Recipe, row["recipe"])
        steps = costs.steps(recipe, layout(TASKS[name][0], recipe), cost, TASKS[name][1])
        found = train_and_score(name, recipe, row["number"], steps)["exact_match"]
        if (steps, found) != (row["steps"], row["exact_match"]):
            differ += 1
            print(
                f"{row['kind']} {row['number']} gave {row['exact_match']} in {row['steps']} steps,"
                f" now {found} in {steps}"
            )
    if differ:
        raise SystemExit(f"{name}: {differ} of {count} rows differ; their stamp stays")
    path.write_text(
        "".join(
            json.dumps(r | {"stamp": stamp(name), "recipe": plain(parse(Recipe, r["recipe"]))})
            + "\n"
            for r in kept
        )
    )
    print(f"{name}: {count} of {len(kept)} rows repeat exactly; all are stamped {stamp(name)}")


def summary(name: str) -> str:
    """One line of the table of random recipes in docs/tasks.md."""
    rows, plan = rows_of(name), TASKS[name][1]
    r = np.array([x["exact_match"] for x in rows])
    pace = np.array([x["cpu_us"] for x in rows]) / plan
    over = int((pace > 1.25).sum())
    quantiles = [*np.quantile(r, [0.25, 0.5, 0.9]), r.max()]
    parts = [name, f"{plan / 1e6:g}", len(r), *(f"{q:.3f}" for q in quantiles)]
    parts += [f"{np.median(pace):.2f}", f"{np.quantile(pace, 0.9):.2f}", f"{over} of {len(pace)}"]
    return "| " + " | ".join(map(str, parts)) + " |"


def climb_of(name: str) -> tuple[dict, list[dict], dict]:
    """A task's climb, its best change of each knob, and its ends: from the table of `text`, whose
    truth is known, else as `heirloop task climb` recorded it.
    """
    if name == "text":
        from evals.table import World
        from loop.calibrate.climb import TableBench, measure_climb
        from loop.calibrate.tab import describe
        from loop.study.tab_file import read_table

        table = read_table(str(ROOT / "tab" / "text-v1.parquet"))
        world, told = World(table), describe(table)
        best, bits = world.best()
        bench = TableBench(world, world)
        climb, singles = measure_climb(bench, table.task, best, lambda _: None, True)
        scores = {"baseline": told["baseline_bits"], "reference": bits}
        noise = told["seed_deviation"]
        ends = {end: {"mean": mean, "deviation": noise} for end, mean in scores.items()}
        return plain(climb), singles, ends
    found = json.loads((FIGURES / f"climb-{name}.json").read_text())
    return found["climb"], found["singles"], {k: found[k] for k in ("baseline", "reference")}


def described(name: str) -> str:
    """One line of the table of tasks in docs/tasks.md."""
    from evals.climb import Climb

    found, singles, ends = climb_of(name)
    climb = parse(Climb, found)
    depth, told = (
        climb.depth(),
        [f"`{x['knob']}={x['value']}` {x['gain']['value']:+.3f}" for x in singles],
    )
    parts = [name, "bits" if name == "text" else "exact match"]
    parts += [f"{end['mean']:.3f} ({end['deviation']:.3f})" for end in ends.values()]
    parts.append(", ".join(told[:3]))
    steps = f"{depth.climb} of {len(climb.steps)}" + ", stalls" * depth.stalled
    parts += [f"{climb.distance.value:.3f}", f"{depth.single:.0%}", f"{depth.pair:.0%}", steps]
    return "| " + " | ".join([*parts, climb.word()]) + " |"


def figure() -> None:
    """Draw the greedy climb of each task; print the lines of the tables."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "heirloop"
    import matplotlib.pyplot as plt

    climbed = [n for n in CLIMBED if n == "text" or (FIGURES / f"climb-{n}.json").exists()]
    drawing, axes = plt.subplots(
        len(climbed), 1, figsize=(7.5, 2.6 * len(climbed)), constrained_layout=True
    )
    for axis, name in zip(axes, climbed, strict=True):
        climb, _, _ = climb_of(name)
        draw_climb(axis, name, climb)
        print(described(name))
    for name in CLIMBED:
        if rows_of(name):
            print(summary(name))
    drawing.savefig(FIGURES / "climbs.svg", metadata={"Date": None})


def draw_climb(axis, name: str, climb: dict) -> None:
    """Draw what each step of a climb came to, and the reference's line."""
    whole, steps = climb["distance"]["value"], climb["steps"]
    came = [0.0, *(step["reached"] * whole for step in steps)]
    axis.plot(range(len(came)), came, color="#0072b2", zorder=1)
    certain = [True, *(step["gain"]["low"] > 0 for step in steps)]
    colours = ["#0072b2" if sure else "white" for sure in certain]
    axis.scatter(range(len(came)), came, c=colours, edgecolors="#0072b2", zorder=2)
    for i, step in enumerate(steps, 1):
        text = f"{step['knob']}\n{step['value']}"
        axis.annotate(
            text,
            (i, came[i]),
            xytext=(0, -26),
            ha="center",
            fontsize=7,
            textcoords="offset points",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )
    axis.axhline(whole, color="#009e73", linestyle="--", linewidth=1, zorder=0)
    axis.text(0, whole, "reference", color="#009e73", fontsize=8, va="bottom")
    unit = "bits" if name == "text" else "exact match"
    axis.set(title=name, ylabel=f"gain, {unit}", xlim=(-0.4, max(7, len(came)) - 0.5))
    axis.margins(y=0.35)
    axis.xaxis.get_major_locator().set_params(integer=True)


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    verbs = {
        "data": data,
        "figure": figure,
        "constants": constants,
        "fit": fit,
        "random": measure,
        "again": again,
    }
    verbs[verb](*rest)
