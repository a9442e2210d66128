"""Does a recipe decide how well its weights propose? The pilot of study amplify-v1.

Commands (P is .venv/bin/python):

    P tests/bench/amplify.py pilot [SETTING]   480 asks in two processes; goes on where it stopped
    P tests/bench/amplify.py fresh [SETTING]   the best neighbours again, on fresh seeds
    P tests/bench/amplify.py decide [SETTING]  the four criteria, from the recorded rows
    P tests/bench/amplify.py settings          all settings with their figures
    P tests/bench/amplify.py bounds [SETTING]  Q of others who propose, on the same histories

An ask trains weights anew on task text, lets them read a notebook, and takes four proposals on each
of four parents: the functions of models/ that arm `self` runs in its box. Q is exact: the mean gain
of the proposals by the means of tab/text-v1.parquet, over their parent, in bits. The design and the
rule of decision stand in `SETTINGS` and `CRITERIA`, and were committed before the first run. Seeds,
secret and histories are those of no study. Rows are appended to docs/figures/amplify-pilot.jsonl.
"""

import json
import random
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.build import parse, plain  # noqa: E402
from configs.cost import steps  # noqa: E402
from configs.history import History, notebook  # noqa: E402
from configs.job import Order  # noqa: E402
from configs.recipe import Recipe  # noqa: E402
from configs.tokens import Task, document, layout  # noqa: E402

TABLE = ROOT / "tab" / "text-v1.parquet"
ROWS = ROOT / "docs" / "figures" / "amplify-pilot.jsonl"
WORK = ROOT / "build" / "amplify"

BLOCKS, PARENTS, PROPOSALS, NEIGHBOURS = 6, 4, 4, 19
"""Seeds of a history; parents of an ask; proposals on each; recipes beside the baseline."""
FRESH, BEST = 12, 4
"""Fresh seeds of a history, and neighbours that are asked again on them."""
HISTORIES = ("start", "whole")
"""The 16 trials of the start with the baseline; and these with twelve generations of four trials of
a program that reads as weights do."""
FLOOR = 6.6
"""Bits with which a proposal that was not written counts: objective.floor of objective=bits."""
DEVIATION = 0.0288
"""Seed deviation of task text, bits: `heirloop tab show tab/text-v1.parquet`."""
MOST_ASKS = 8
"""Asks of a contender that a study can pay."""
GENERATIONS, EVERY, REPEATS, MARGIN = 12, 3, 50, 0.01
"""The study that is simulated: generations, between selections, repeats, task margin in bits."""
CRITERIA = (
    "placebo effect: mean of Q on the true less Q on the permuted notebook; lower bound above 0",
    "neighbours: of the best four, at least two beat the baseline on fresh seeds; Holm, level 0.05",
    f"recipes: at least half of the variance of the mean of a asks, for some a up to {MOST_ASKS}",
    "power: both parts of the primary claim shown in 0.9 of simulated studies of 50 repeats, at a",
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is tried."""

    why: str
    "why it is tried"
    fixed: tuple[tuple[str, Any], ...] = ()
    "knobs of the grid at a value: they are no knobs of the study"
    start: int = 16
    "trials of the start"
    reading: float = 1
    "reading steps, as a multiple of a training's compute"
    wide: bool = False
    """whether recipes are neighbours within six changes over the 32 other knobs of task text-wide;
    the proposals stay on the table
    """
    seeds: int = BLOCKS
    "seeds of a history"
    placebo: bool = True
    "whether the permuted notebook is asked too"


SETTINGS = {
    "default": Setting(why="the baseline of task text; the notebook's share is a knob"),
    "share": Setting(
        why="the notebook's share is 0.2 and no knob, as in the first comparison",
        fixed=(("notebook", 0.2),),
    ),
    "reading": Setting(why="four times the compute to read: a plan buys one", reading=4),
    # These two look where the channel breaks; they came after the first 160 rows of `default`,
    # which show that proposers read and that recipes differ by less than an ask can tell.
    "short": Setting(
        why="an eighth of the reading, so that the recipe's own training decides more",
        reading=0.125,
        seeds=2,
        placebo=False,
    ),
    "wide": Setting(
        why="recipes further away than the table's grid: can any recipe decide?",
        wide=True,
        seeds=2,
        placebo=False,
    ),
    "long": Setting(why="64 trials at the start", start=64),
}


# The asks: torch, in the environment of the box


def train(number: str, of: str, path: str) -> None:
    """Ask every `of`-th task of a file that has no row yet."""
    import torch
    from safetensors.numpy import load_file

    import models.propose as proposing
    from models.train import train as train_weights

    torch.set_num_threads(1)
    given = json.loads(Path(path).read_text())
    task, scores = parse(Task, given["task"]), given["scores"]
    cost, known = given["cost"], recorded()
    cost = parse(type_of_cost(), cost)
    for ask in given["asks"][int(number) :: int(of)]:
        if key(ask) in known:
            continue
        block = given["blocks"][ask["block"]]
        history = parse(History, block["permuted" if ask["permuted"] else "true"])
        recipe, started = parse(Recipe, ask["recipe"]), time.process_time()
        lay, seed = layout(task, recipe), block["seed"]
        count = steps(recipe, lay, cost, given["planned_cpu_us"])
        order = Order(role="train", task=task, recipe=recipe, seed=seed, steps=count)
        items = torch.from_numpy(load_file(str(WORK / block["data"]))["items"])
        rows = torch.tensor(notebook(history.trials, task.book()))
        net, _ = train_weights(order, items, rows)
        net.eval()
        reads = int(given["reading"] * steps(recipe, document(lay), cost, given["planned_cpu_us"]))
        proposing.read(net, recipe, history, seed, reads)
        gains = []
        for parent in (parse(Recipe, one) for one in block["parents"]):
            try:
                lines = proposing.propose(net, replace(history, champion=parent), seed)
            except RuntimeError:  # weights that are no numbers
                lines = []
            before = scores[place(given["grid"], parent)]
            after = [replace(parent, **line["knobs"]) for line in lines]
            own = [round(before - scores[place(given["grid"], one)], 4) for one in after]
            lost = [round(before - FLOOR, 4)] * (PROPOSALS - len(own))
            gains.append(own + lost)
        row = {
            **{name: ask[name] for name in ("setting", "stage", "number", "block", "permuted")},
            "gains": gains,
            "cpu": round(time.process_time() - started, 2),
        }
        with ROWS.open("a") as file:
            file.write(json.dumps(row) + "\n")


def type_of_cost() -> type:
    from configs.cost import Cost

    return Cost


def place(grid: dict[str, list[Any]], recipe: Recipe) -> str:
    """Return a recipe's name: the place of its value in each knob of the table's grid."""
    return "".join(str(values.index(getattr(recipe, name))) for name, values in grid.items())


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in ("setting", "stage", "number", "block", "permuted"))


def read_rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []


def recorded() -> set[tuple[Any, ...]]:
    return {key(row) for row in read_rows()}


# What is asked: the trusted side's environment


def prepare(name: str, stage: str) -> Path:
    """Write the asks of a setting: recipes, histories, seeds and parents."""
    from safetensors.numpy import save_file

    from evals.data import draw_train, replicate_seed
    from loop.propose.history import list_trials, select_trials
    from loop.propose.skill import draw_parents
    from loop.settings import compose_settings
    from loop.study.tab_file import secret_of
    from loop.study.tabulated import read_world

    setting = SETTINGS[name]
    fixed = ",".join(f"{knob}: {value}" for knob, value in setting.fixed)
    count = setting.seeds if stage == "pilot" else FRESH
    config = compose_settings(
        [
            "study=tabulated",
            f"study.name=amplify-{stage}-{name}",
            "study.seed=826",
            "study.arms=[random]",
            f"study.repeats={count}",
            f"study.start_trials={setting.start}",
            f"task.table={TABLE}",
            *([f"task.fixed={{{fixed}}}"] if fixed else []),
        ]
    )
    config = replace(config, study=replace(config.study, arms=("self",)))
    world, task = read_world(config), config.task
    WORK.mkdir(parents=True, exist_ok=True)
    run, blocks = play(config, world), []
    for repeat in range(count):
        campaign = run.campaign("self", repeat)
        own, secret = list_trials(campaign), run.of(repeat).secret
        seed = replicate_seed(secret, "pilot of amplify-v1", 0)
        data = f"{stage}-{name}-{repeat}.safetensors"
        plainly = replace(task.format(), folds=0)
        save_file(
            {"items": draw_train(plainly, secret_of(world.table.name), seed)}, str(WORK / data)
        )
        for kind in HISTORIES:
            trials = select_trials(campaign, own, "first") if kind == "start" else own
            shuffled = list(trials.values())
            outcomes = shuffled.copy()
            random.Random(f"permuted:{seed}:{kind}").shuffle(outcomes)
            permuted = [
                replace(one, outcome=other.outcome, score=other.score, verdict=other.verdict)
                for one, other in zip(shuffled, outcomes, strict=True)
            ]
            both = {
                way: plain(
                    History(
                        champion=task.baseline,
                        champion_source="",
                        champion_score=None,
                        trials=tuple(told),
                        grid=task.choices(),
                        count=PROPOSALS,
                        most_changes=config.study.most_changes,
                    )
                )
                for way, told in (("true", trials.values()), ("permuted", permuted))
            }
            parents = draw_parents(task, secret, "measure", PARENTS)
            drawn = {"seed": seed, "data": data, "kind": kind, "parents": list(map(plain, parents))}
            blocks.append(both | drawn)
    recipes = list_wide(config) if setting.wide else list_recipes(config)
    numbers = range(len(recipes)) if stage == "pilot" else [0, *best(name)]
    asks = [
        {"setting": name, "stage": stage, "number": number, "block": block, "permuted": permuted}
        | {"recipe": plain(recipes[number])}
        for block in range(len(blocks))
        for permuted in ((False, True) if stage == "pilot" and setting.placebo else (False,))
        for number in numbers
    ]
    whole = {knob: list(values) for knob, values in (task.grid or {}).items()}
    from evals.table import list_grid

    told = {
        "task": plain(replace(task.format(), folds=0)),
        "cost": plain(task.cost),
        "planned_cpu_us": task.planned_cpu_us,
        "reading": setting.reading,
        "grid": whole,
        "scores": {place(whole, one): world.score(one) for one in list_grid(world.table.task)},
        "blocks": blocks,
        "asks": asks,
    }
    path = WORK / f"{stage}-{name}.json"
    path.write_text(json.dumps(told))
    return path


def load(name: str) -> dict[str, Any]:
    """Return what a setting asks, prepared where it is not there yet."""
    path = WORK / f"pilot-{name}.json"
    return json.loads((path if path.exists() else prepare(name, "pilot")).read_text())


def play(config: Any, world: Any) -> Any:
    """Return the study as it was played in memory, for its histories and secrets."""
    from loop.calibrate.in_memory import Played, _play_campaign, _play_start

    played = Played(config=config, world=world, cautions=False)
    for repeat in range(config.study.repeats):
        for trial in range(config.study.start_trials):
            _play_start(played, repeat, trial)
        _play_campaign(played, "self", repeat)
    return played


def list_recipes(config: Any) -> list[Recipe]:
    """Return the baseline, each recipe with one changed knob, and pairs of changes by lot."""
    base, grid = config.task.baseline, config.task.choices()
    single = [
        replace(base, **{knob: value})
        for knob, values in grid.items()
        for value in values
        if value != getattr(base, knob)
    ]
    rng, chosen = random.Random("neighbours of the pilot"), single[:NEIGHBOURS]
    while len(chosen) < NEIGHBOURS:
        knobs = rng.sample(sorted(grid), 2)
        changed = {k: rng.choice([v for v in grid[k] if v != getattr(base, k)]) for k in knobs}
        if (pair := replace(base, **changed)) not in chosen:
            chosen.append(pair)
    return [base, *chosen]


def list_wide(config: Any) -> list[Recipe]:
    """Return the baseline, and draws within six changes over the knobs of task text-wide.

    The notebook's share stays.
    """
    from loop.propose.limit import draw_neighbour
    from loop.settings import compose_settings

    base, rng = config.task.baseline, random.Random("wide neighbours of the pilot")
    grid = compose_settings(["task=text-wide"]).task.choices()
    grid = {knob: values for knob, values in grid.items() if knob != "notebook"}
    return [base, *(draw_neighbour(rng, base, grid, 6) for _ in range(NEIGHBOURS))]


def work(name: str, stage: str) -> None:
    path = prepare(name, stage)
    box = str(ROOT / ".box" / "bin" / "python")
    command = [box, str(Path(__file__)), "train"]
    own = [subprocess.Popen([*command, str(one), "2", str(path)]) for one in range(2)]
    if any(process.wait() for process in own):
        raise SystemExit("a process of asks failed")
    decide(name)


def pilot(name: str = "default") -> None:
    work(name, "pilot")


def fresh(name: str = "default") -> None:
    work(name, "fresh")


# The decision


def table(name: str, stage: str) -> dict[bool, np.ndarray]:
    """Return permuted -> Q of each ask, (recipes, seeds, histories, parents)."""
    rows = [row for row in read_rows() if (row["setting"], row["stage"]) == (name, stage)]
    numbers = sorted({row["number"] for row in rows})
    seeds = SETTINGS[name].seeds if stage == "pilot" else FRESH
    empty = np.full((len(numbers), seeds, len(HISTORIES), PARENTS), np.nan)
    q = {False: empty.copy(), True: empty.copy()}
    for row in rows:
        at = numbers.index(row["number"]), row["block"] // 2, row["block"] % 2
        q[row["permuted"]][at] = np.mean(row["gains"], axis=1)
    return q


def find_whole(q: np.ndarray) -> np.ndarray:
    """Return which seeds were asked in full."""
    return ~np.isnan(q[..., 0]).any(axis=(0, 2))


def best(name: str) -> list[int]:
    """Return the numbers of the best neighbours in the pilot, by Q on the true notebook."""
    means = table(name, "pilot")[False].mean(axis=(1, 2, 3))
    if np.isnan(means).any():
        raise SystemExit("the pilot is not whole; `amplify.py pilot` goes on where it stopped")
    return [int(i) for i in 1 + np.argsort(-means[1:], kind="stable")[:BEST]]


def lower(values: np.ndarray, level: float = 0.05) -> tuple[float, float, float]:
    """Return mean, one-sided lower bound and p of a mean above 0, by Student's t."""
    from scipy.stats import t as student

    n, mean = len(values), float(values.mean())
    error = float(values.std(ddof=1)) / n**0.5
    return (
        mean,
        mean - float(student.ppf(1 - level, n - 1)) * error,
        float(student.sf(mean / error, n - 1)),
    )


def holm(ps: list[float], level: float = 0.05) -> list[bool]:
    """Return which hypotheses Holm's procedure rejects."""
    shown = [False] * len(ps)
    for rank, i in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        if ps[i] > level / (len(ps) - rank):
            break
        shown[i] = True
    return shown


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Components of the variance of an ask with one parent, bits squared."""

    recipe: float
    ask: float
    "of weights, history and parent together, beside what all recipes share"
    theta: tuple[float, float, float]
    "recipe over ask: estimate, and 90 % interval by F"

    def share(self, asks: int, which: int = 0) -> float:
        """Return the part of recipes in the variance of the mean of so many measured asks."""
        theta = self.theta[which] * self.ask / (self.ask + 2 * DEVIATION**2 / PROPOSALS)
        return theta / (theta + 1 / asks)


def components(q: np.ndarray) -> Parts:
    """Return the components of Q (recipes, blocks, parents), a balanced layout (Searle 1992)."""
    from scipy.stats import f as fisher

    R, B, P = q.shape
    own = q - q.mean(axis=0)  # what all recipes share with a block and a parent says nothing
    by_recipe, by_block = own.mean(axis=(1, 2)), own.mean(axis=2)
    ms_r = B * P * (by_recipe**2).sum() / (R - 1)
    ms_b = P * ((by_block - by_recipe[:, None]) ** 2).sum() / ((R - 1) * (B - 1))
    ms_p = ((own - by_block[:, :, None]) ** 2).sum() / ((R - 1) * B * (P - 1))
    recipe, block = max(0.0, (ms_r - ms_b) / (B * P)), max(0.0, (ms_b - ms_p) / P)
    ask, df = block + ms_p, (R - 1, (R - 1) * (B - 1))
    ends = [max(0.0, (ms_r / ms_b / fisher.ppf(at, *df) - 1) / B) for at in (0.95, 0.05)]
    scale = ms_b / P / ask
    return Parts(recipe=recipe, ask=ask, theta=(recipe / ask, ends[0] * scale, ends[1] * scale))


def simulate(name: str, q: np.ndarray, parts: Parts, asks: int, studies: int = 200) -> dict:
    """Return the share of simulated studies that show each part of the primary claim.

    The effect of a knob's value on Q is drawn from what the pilot says of it (Gaussian, shrunk
    towards the neighbours' mean); effects of knobs add up. Proposals are the best four of twelve
    random neighbours by true gain plus noise of 0.06 bits. A contender must be non-inferior over
    twelve pairs (Student's t, level 0.05).
    """
    from scipy.stats import t as student

    given = load(name)
    recipes = {ask["number"]: parse(Recipe, ask["recipe"]) for ask in given["asks"]}
    base, sizes = recipes[0], {k: len(v) for k, v in given["grid"].items()}
    changes = [
        (i, j) for i, (k, v) in enumerate(given["grid"].items())
        for j, value in enumerate(v) if value != getattr(base, k)
    ]  # fmt: skip
    code = {n: place(given["grid"], r) for n, r in recipes.items()}
    zero = code[0]
    design = np.array([[code[n][i] == str(j) for i, j in changes] for n in sorted(recipes)], float)
    means = q.mean(axis=(1, 2, 3))
    noise = parts.ask / (q.shape[1] * q.shape[2] * q.shape[3])
    prior = max(parts.recipe / max(design.sum(axis=1).mean(), 1.0), 1e-8)
    gaps, X = means[1:] - means[0], design[1:]
    cover = noise * (np.eye(len(X)) + 1)  # the baseline's own noise is in every difference
    start = gaps.mean() / X.sum(axis=1).mean()
    gain = prior * X.T @ np.linalg.inv(prior * X @ X.T + cover)
    center = start + gain @ (gaps - X @ np.full(len(changes), start))
    spread = prior * np.eye(len(changes)) - gain @ X * prior
    rng, scores = np.random.default_rng(26), given["scores"]
    where = {change: at for at, change in enumerate(changes)}

    def skill(effects: np.ndarray, name: str) -> float:
        return float(sum(effects[where[i, int(c)]] for i, c in enumerate(name) if c != zero[i]))

    def neighbour(name: str) -> str:
        letters = list(name)
        for i in rng.choice(len(sizes), 2, replace=False):
            letters[i] = str(rng.integers(list(sizes.values())[i]))
        return "".join(letters)

    reach, error = float(student.ppf(0.95, 11)), DEVIATION * (2 / 12) ** 0.5
    measured = (parts.ask + 2 * DEVIATION**2 / PROPOSALS) ** 0.5
    shown, effects_of, passed = np.zeros(3), [], []
    for _ in range(studies):
        effects = rng.multivariate_normal(center, spread)
        told = np.zeros((REPEATS, 2))
        for repeat in range(REPEATS):
            for arm in range(2):
                now = zero
                for _ in range(GENERATIONS // EVERY):
                    drawn = [one for one in (neighbour(now) for _ in range(12)) if one in scores]
                    value = {one: scores[now] - scores[one] + rng.normal(0, 0.06) for one in drawn}
                    four = sorted(set(drawn), key=lambda one: -value[one])[:4]
                    fit = [
                        one for one in four
                        if scores[now] - scores[one] + rng.normal(-reach, 1) * error > -MARGIN
                    ]  # fmt: skip
                    passed.append(len(fit))
                    able = [now, *fit]
                    seen = [
                        skill(effects, one) + rng.normal(0, measured / asks**0.5) for one in able
                    ]
                    if arm:
                        seen = list(rng.permutation(seen))
                    now = able[int(np.argmax(seen))]
                told[repeat, arm] = skill(effects, now) + rng.normal(0, measured * (2 / 8) ** 0.5)
        one = lower(told[:, 0], 0.025)[1] > 0
        two = lower(told[:, 0] - told[:, 1], 0.025)[1] > 0
        shown += [one, two, one and two]
        effects_of.append(told.mean(axis=0))
    own, placebo = np.mean(effects_of, axis=0)
    return {
        "self effect shown": shown[0] / studies,
        "difference to the placebo shown": shown[1] / studies,
        "both": shown[2] / studies,
        "mean self effect": own,
        "of the placebo": placebo,
        "contenders that pass the task": float(np.mean(passed)),
    }


def decide(name: str = "default") -> None:
    """Print the four criteria with their figures, and go or no-go.

    Seeds that were not asked in full are left out; fewer than the design has are told.
    """
    q = table(name, "pilot")
    whole = find_whole(q[False])
    true, permuted, met = q[False][:, whole], q[True][:, whole], [False] * 4
    print(
        f"setting {name}: {SETTINGS[name].why}; {whole.sum()} of {len(whole)} seeds asked in full"
    )
    if whole.sum() < 2:
        return
    print(f"1. {CRITERIA[0]}")
    both = ~np.isnan(permuted[..., 0]).any(axis=0)
    gap = (true - permuted).mean(axis=(0, 3))  # (seeds, histories)
    if both.any():
        told = np.array([gap[i][both[i]].mean() for i in range(len(gap)) if both[i].any()])
        each = ", ".join(f"{value:.4f}" for value in gap[both])
        print(f"   {told.mean():.4f} bits a proposal over {len(told)} seeds; each history: {each}")
        print(f"   Q on the permuted notebook {permuted[:, both].mean():.4f}")
        if len(told) > 1:
            met[0] = lower(told)[1] > 0
            print(f"   lower bound {lower(told)[1]:.4f}")
    for at, kind in enumerate(HISTORIES):
        print(f"   Q on history {kind}: {true[:, :, at].mean():.4f}")
    print(f"   Q of the baseline {true[0].mean():.4f}, of its neighbours {true[1:].mean():.4f}")
    met[1] = _decide_fresh(name)
    parts = components(true.reshape(len(true), -1, PARENTS))
    shares = [parts.share(a) for a in range(1, MOST_ASKS + 1)]
    enough = [a for a, share in enumerate(shares, 1) if share >= 0.5]
    met[2] = bool(enough)
    print(
        f"3. {CRITERIA[2]}\n   standard deviation over recipes {parts.recipe**0.5:.4f}, of an ask"
        f" {parts.ask**0.5:.4f}; share at a = {MOST_ASKS}: {shares[-1]:.2f}"
        f" ({parts.share(MOST_ASKS, 1):.2f} to {parts.share(MOST_ASKS, 2):.2f}); a ="
        f" {enough[0] if enough else 'none'}"
    )
    for at, kind in enumerate(HISTORIES):
        own = components(true[:, :, at])
        print(f"   history {kind}: {own.recipe**0.5:.4f} and {own.ask**0.5:.4f}")
    if not SETTINGS[name].wide:  # effects of knobs are of the table's grid
        print(f"4. {CRITERIA[3]}")
        asks = enough[0] if enough else MOST_ASKS
        power = simulate(name, true, parts, asks)
        print(f"   a = {asks}: " + ", ".join(f"{k} {v:.3f}" for k, v in power.items()))
        met[3] = power["both"] >= 0.9
    print("go" if all(met) else f"no-go: criteria {[i for i, one in enumerate(met, 1) if not one]}")


def _decide_fresh(name: str) -> bool:
    """Print the second criterion; return whether it is met."""
    again = table(name, "fresh")[False]
    print(f"2. {CRITERIA[1]}")
    if not again.size or np.isnan(again).any():
        print("   not asked: `amplify.py fresh`")
        return False
    gaps = (again - again[0]).mean(axis=(2, 3))
    found = [lower(gaps[i]) for i in range(1, len(gaps))]
    wins = holm([p for _, _, p in found])
    for number, (mean, low, p), win in zip(sorted(best(name)), found, wins, strict=True):
        told = f"{mean:+.4f} (at least {low:+.4f}), p {p:.2g}"
        print(f"   {describe(name, number)}: {told}, {'beats it' if win else 'not shown'}")
    return sum(wins) >= 2


def describe(name: str, number: int) -> str:
    """Return a recipe of the pilot by what it changes."""
    given = load(name)
    recipes = {ask["number"]: ask["recipe"] for ask in given["asks"]}
    base = recipes[0]
    changed = {k: v for k, v in recipes[number].items() if base.get(k) != v}
    return ", ".join(f"{k}={v}" for k, v in changed.items())


def bounds(name: str = "default") -> None:
    """Print Q of others who propose on the same histories and parents: by lot, a program, all
    knowledge. Seeds that were not asked in full are left out.
    """
    from loop.calibrate.reader import MOST_DRAFTS, write_proposals
    from loop.propose.limit import draw_neighbour

    given = load(name)
    scores, told = given["scores"], {"by lot": [], "program that reads": [], "all knowledge": []}
    whole = find_whole(table(name, "pilot")[False])
    for number, block in enumerate(given["blocks"]):
        if not whole[number // len(HISTORIES)]:
            continue
        history = parse(History, block["true"])
        tried = {place(given["grid"], trial.recipe) for trial in history.trials}
        for parent in (parse(Recipe, one) for one in block["parents"]):
            rng, zero = random.Random(f"bounds:{number}"), place(given["grid"], parent)
            gains = {
                one: scores[zero] - value
                for one, value in scores.items()
                if 0 < sum(a != b for a, b in zip(one, zero, strict=True)) <= 2 and one not in tried
            }
            texts = write_proposals(replace(history, champion=parent), rng, MOST_DRAFTS)
            read = [replace(parent, **json.loads(text)["knobs"]) for text in texts]
            lot = [draw_neighbour(rng, parent, history.grid, 2) for _ in range(40)]
            told["by lot"].append([scores[zero] - scores[place(given["grid"], one)] for one in lot])
            told["program that reads"].append([gains[place(given["grid"], one)] for one in read])
            told["all knowledge"].append(sorted(gains.values())[-PROPOSALS:])
    for who, gains in told.items():
        print(f"   Q of {who}: {np.mean([np.mean(own) for own in gains]):.4f}")


def settings() -> None:
    """Print what was measured, setting by setting."""
    for name in SETTINGS:
        if any(row["setting"] == name for row in read_rows()):
            decide(name)


if __name__ == "__main__":
    named = (pilot, fresh, decide, settings, bounds, train)
    commands = {one.__name__: one for one in named}
    commands[sys.argv[1]](*sys.argv[2:])
