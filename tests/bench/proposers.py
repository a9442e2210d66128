"""Rivals at equal planned compute from one notebook, and how well each generation proposes.

Commands (P is .venv/bin/python, B is .box/bin/python):

    P tests/bench/proposers.py run 10     study `proposers` once per seed, about 4 minutes a seed
    P tests/bench/proposers.py collect    a row per campaign in docs/figures/proposers.jsonl
    P tests/bench/proposers.py ask        histories and programs' proposals, for `skill`
    B tests/bench/proposers.py skill      trains weights on them, then trains their proposals
    P tests/bench/proposers.py figure     tables, docs/figures/proposers.svg and skill.svg
    B tests/bench/proposers.py reading    proposals of weights by how long they read
    P tests/bench/proposers.py latency    thread time of one proposal of each trusted program
    P tests/bench/proposers.py acts       do islands and grid act? draws, and a played evolve-v1

Runs are resumable. Gains come from the closing look: the champion against the baseline on fresh
paired seeds. A campaign that accepted nothing gained 0. `skill` asks on fixed parents and scores
one training per proposal; nothing here touches `sealed`.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.build import parse, plain, strict_json  # noqa: E402
from configs.history import History, notebook  # noqa: E402
from configs.recipe import Recipe  # noqa: E402

RUNS, FIGURES = ROOT / "build" / "proposers", ROOT / "docs" / "figures"
REFERENCE = ROOT / "evals" / "reference" / "fast-v1.json"
ARMS = ("random", "local", "tpe", "evolve", "self")
COLOURS = {
    "random": "#999999",
    "local": "#e69f00",
    "tpe": "#009e73",
    "evolve": "#cc79a7",
    "self": "#0072b2",
}
K = 4
"""Proposals of weights; a program gets one more, for weights also cost a training."""


def names() -> list[str]:
    return sorted(
        (p.parent.name for p in RUNS.glob("proposers-*/summary.json")),
        key=lambda n: int(n.split("-")[1]),
    )


def run(count: str = "10") -> None:
    for seed in range(1, int(count) + 1):
        name = f"proposers-{seed}"
        done = RUNS / name / "summary.json"
        if done.exists() and json.loads(done.read_text())["finished"]:
            continue
        told = ["study=proposers", f"study.seed={seed}", f"study.name={name}", f"runs={RUNS}"]
        told.append("study.most_changes=0")  # the figures of docs/proposers.md are of any changes
        heirloop = [str(ROOT / ".venv" / "bin" / "heirloop")]
        if not (RUNS / name).exists():
            subprocess.run(
                [*heirloop, "mandate", "grant", "--unattended", *told],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        subprocess.run([*heirloop, "run", *told], check=True)


def facts_of(name: str):
    from loop.facts.reader import FactsReader
    from sandbox.ledger import Ledger

    ledger = Ledger.file(RUNS / name / "ledger.sqlite")
    return ledger, FactsReader(ledger).facts()


def collect() -> None:
    """One row per campaign: verified gain, proposals per generation, invalid, duplicates, compute
    by stage, latency.
    """
    rows = []
    for name in names():
        ledger, facts = facts_of(name)
        told = json.loads((RUNS / name / "summary.json").read_text())
        entries = ledger.entries()
        for arm in (a for a in told["arms"] if told["finished"]):
            key = (arm["arm"], arm["repeat"])
            mine = {n: p for n, p in facts.plans.items() if (p.arm, p.repeat) == key}
            candidates = [(n, p) for n, p in mine.items() if p.purpose == "candidate"]
            invalid = sum(
                e.kind == "invalid" and (e.body["arm"], e.body["repeat"]) == key for e in entries
            )
            seen, twice = (
                {
                    (p.bundle, json.dumps(plain(p.recipe)))
                    for p in mine.values()
                    if p.purpose == "baseline"
                },
                0,
            )
            for _, p in candidates:
                twice += (what := (p.bundle, json.dumps(plain(p.recipe)))) in seen
                seen.add(what)
            spent = {"propose": 0, "train": 0, "predict": 0}
            for (plan, role, _), (result, _) in facts.results.items():
                if plan in mine:
                    stage = (
                        "propose"
                        if mine[plan].purpose == "propose"
                        else "train"
                        if role.endswith("train")
                        else "predict"
                    )
                    spent[stage] += result.charged.cpu_us
            own = [
                e
                for e in entries
                if e.kind == "settle"
                and e.body["key"].startswith(f"propose:('{key[0]}', {key[1]},")
            ]
            spent["propose"] += sum(e.body["spent"]["cpu_us"] for e in own)
            share = sum(
                r.charged.cpu_us * (mine[n].recipe.notebook if role == "train" else 0)
                for (n, role, _), (r, _) in facts.results.items()
                if n in mine and mine[n].purpose != "propose"
            )
            planned = sum(
                400_000
                for (plan, role, _) in facts.results
                if plan in mine and role.endswith("train")
            )
            asked = {
                "box": [
                    r.charged.wall_us
                    for (n, role, _), (r, _) in facts.results.items()
                    if n in mine and mine[n].purpose == "propose"
                ],
                "own": [e.body["spent"]["cpu_us"] for e in own],
            }
            generations = {}
            for n, p in candidates:
                found = facts.scores.get((n, "predict", 0))
                generations.setdefault(p.generation, []).append(
                    found.exact_match if found else None
                )
            rows.append(
                {
                    "run": name,
                    "head": entries[-1].hash[:16],
                    "arm": arm["arm"],
                    "accepted": arm["accepted"],
                    "gain": arm["gate"]["gain"] if arm["gate"] else 0.0,
                    "candidates": len(candidates),
                    "invalid": invalid,
                    "duplicates": twice,
                    "cpu_us": spent,
                    "notebook_cpu_us": int(share),
                    "planned_us": planned,
                    "proposals": generations,
                    "corrected": [
                        [facts.plans[n].generation, v.corrected]
                        for n, v in facts.verdicts.items()
                        if n in mine and v.answer == "accept" and mine[n].purpose == "candidate"
                    ],
                    "notebook": [mine[n].recipe.notebook for n in facts.champions[key]],
                    "latency_ms": round(
                        (sum(asked["box"]) + sum(asked["own"]))
                        / max(1, len(candidates) + invalid)
                        / 1000,
                        1,
                    ),
                }
            )
    (FIGURES / "proposers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    print(len(rows), "campaigns")


def ask() -> None:
    """Write build/proposers/skill.json: per run the histories of arm self by generation, fixed
    parents, and what programs propose.
    """
    from configs.settings.proposer import Proposer
    from loop.propose.table import PROPOSERS
    from loop.propose.view import ProposerView
    from sandbox.store import Store

    told = []
    for name in names():
        _, facts = facts_of(name)
        store, seed = Store(RUNS / name / "store"), int(name.split("-")[1])
        history = {
            g: parse(History, strict_json(store.get(facts.shown[plan][0]), limit=16_000_000))
            for (arm, _, g), plan in sorted(facts.asks.items())
            if arm == "self"
        }
        parents = [
            history[1].champion,
            max(
                (t for t in history[1].trials if t.score is not None), key=lambda t: t.score
            ).recipe,
        ]
        last, programs = history[max(history)], {}
        for program in ("random", "local", "tpe"):
            for number, parent in enumerate(parents):
                rng = random.Random(f"{seed}:{program}:{number}")
                made = []
                for _ in range(K + 1):
                    seen = replace(last, champion=parent, trials=(*last.trials, *made))
                    source = {t.source: "" for t in seen.trials} | {seen.champion_source: ""}
                    view = ProposerView(
                        history=seen,
                        sources=source,
                        settings=Proposer(name=program),
                        rng=rng,
                        generation=9,
                        index=len(made),
                    )
                    knobs = json.loads(PROPOSERS[program].write(view))["knobs"]
                    made.append(
                        replace(
                            last.trials[0],
                            recipe=parse(Recipe, {**plain(parent), **knobs}),
                            outcome="waiting",
                            score=None,
                        )
                    )
                programs[f"{program}:{number}"] = [plain(t.recipe) for t in made]
        told.append(
            {
                "seed": seed,
                "histories": {g: plain(h) for g, h in history.items()},
                "programs": programs,
                "parents": [plain(p) for p in parents],
            }
        )
    (RUNS / "skill.json").write_text(json.dumps(told))
    print(len(told), "runs")


class World:
    """Task `fast-v1` outside the loop: trainings, weights that read, one score on gate."""

    def __init__(self) -> None:
        import measure_tasks
        import torch

        torch.set_num_threads(1)
        torch.set_deterministic_debug_mode("error")
        plain_task, self.planned = measure_tasks.TASKS["fast"]
        self.task, self.cost = replace(plain_task, notebook=True), measure_tasks.pinned("fast")
        self.files = np.load(measure_tasks.data_file("fast"))

    def steps(self, recipe: Recipe, reading: bool = False) -> int:
        from configs.cost import steps
        from configs.tokens import document, layout

        lay = layout(self.task, recipe)
        return steps(recipe, document(lay) if reading else lay, self.cost, self.planned)

    def train(self, recipe: Recipe, book: History, seed: int, steps: int):
        import torch

        from configs.job import Order
        from models.train import train

        order = Order(role="train", task=self.task, recipe=recipe, seed=seed, steps=steps)
        return train(
            order,
            torch.from_numpy(self.files[f"train{seed % 8}"]),
            torch.tensor(notebook(book.trials, self.task.book())),
        )[0].eval()

    def measured(self, recipe: Recipe, book: History, seed: int) -> float:
        """Gate score of one training; as in a study, a recipe's notebook share is spent on the
        notebook.
        """
        import torch

        from configs.tokens import layout

        net, lay = self.train(recipe, book, seed, self.steps(recipe)), layout(self.task, recipe)
        rows = torch.from_numpy(self.files["gate"])[:, list(lay.order)].long()
        with torch.no_grad():
            return (
                (net(rows[:, : lay.question])[:, -1].argmax(-1) == rows[:, -1])
                .float()
                .mean()
                .item()
            )


def reading(seeds: str = "10") -> None:
    """Weights trained on the task and a notebook read it for some steps, then propose four recipes
    that are trained once each.
    """
    from configs.history import Trial
    from configs.recipe import grid
    from models import propose

    world, path = World(), FIGURES / "reading.jsonl"
    pool = [r for r in map(json.loads, (FIGURES / "tasks-fast.jsonl").read_text().splitlines())]
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(r["seed"], r["trials"], r["recipe"], r["steps"]) for r in rows}
    recipes = {
        "baseline": Recipe(learning_rate=0.001, width=32, depth=1, batch_size=32),
        "reference": parse(Recipe, json.loads(REFERENCE.read_text())),
    }
    for seed, count, (name, plain_recipe), steps in product(
        range(1, int(seeds) + 1), (8, 16, 48), recipes.items(), (0, 100, 300)
    ):
        if (seed, count, name, steps) in done:
            continue
        recipe, drawn = replace(plain_recipe, notebook=0.2), random.Random(seed).sample(pool, count)
        trials = tuple(
            Trial(
                recipe=parse(Recipe, r["recipe"]),
                outcome="scored",
                score=round(r["exact_match"], 2),
            )
            for r in drawn
        )
        told = History(
            champion=recipe,
            champion_source="",
            champion_score=None,
            trials=trials,
            grid=grid(False),
            count=K,
        )
        net = world.train(recipe, told, seed, world.steps(recipe))
        propose.read(net, recipe, told, seed, steps)
        made = [
            parse(Recipe, {**plain(recipe), **p["knobs"], "notebook": 0.0})
            for p in propose.propose(net, told, seed)
        ]
        row = {
            "seed": seed,
            "trials": count,
            "recipe": name,
            "steps": steps,
            "pool": round(float(np.mean([r["exact_match"] for r in drawn])), 4),
            "scores": [
                round(world.measured(r, told, 1000 * seed + i), 4) for i, r in enumerate(made)
            ],
        }
        rows.append(row)
        with path.open("a") as file:
            file.write(json.dumps(row) + "\n")
    print(
        "| trials | recipe of the weights | steps read | mean score of what is proposed | minus its"
        " trials' mean |"
    )
    for count, name, steps in product((8, 16, 48), recipes, (0, 100, 300)):
        mine = [r for r in rows if (r["trials"], r["recipe"], r["steps"]) == (count, name, steps)]
        score = [float(np.mean(r["scores"])) for r in mine]
        print(
            f"| {count} | {name} | {steps} | {shown(score)} |"
            f" {shown([s - r['pool'] for s, r in zip(score, mine, strict=True)])} |"
        )


def latency() -> None:
    """Thread time of one proposal, median of eleven after a first; half of the trials have a
    program of their own.
    """
    from configs.history import Trial
    from configs.recipe import grid
    from configs.settings.proposer import Proposer
    from loop.plan import source
    from loop.propose.rivals import propose_random
    from loop.propose.table import PROPOSERS
    from loop.propose.view import ProposerView

    text, rng = source()["models/train.py"].decode(), random.Random(1)
    print("| trials | " + " | ".join(programs := ("local", "tpe", "evolve")) + " |")
    for count in (0, 16, 100, 400):
        base = History(
            champion=Recipe(),
            champion_source="s",
            champion_score=0.2,
            trials=(),
            grid=grid(True),
            count=1,
        )
        one = ProposerView(
            history=base,
            sources={"s": text},
            settings=Proposer(name="random"),
            rng=rng,
            generation=1,
            index=0,
        )
        made = [
            parse(Recipe, {**plain(Recipe()), **json.loads(propose_random(one))["knobs"]})
            for _ in range(count)
        ]
        own = {
            f"p{i}": text.replace("share = 1.0", f"share = {1 + i}.0") for i in range(0, count, 2)
        }
        trials = tuple(
            Trial(
                recipe=r,
                outcome="scored",
                score=round(rng.random(), 2),
                source="s" if i % 2 else f"p{i}",
            )
            for i, r in enumerate(made)
        )
        cells = []
        for program in programs:
            used = []
            for index in range(12):
                view = ProposerView(
                    history=replace(base, trials=trials),
                    sources={"s": text, **own},
                    settings=Proposer(name=program),
                    rng=random.Random(index),
                    generation=1,
                    index=index,
                )
                started = time.thread_time()
                PROPOSERS[program].write(view)
                used.append(time.thread_time() - started)
            cells.append(f"{1000 * float(np.median(used[1:])):.1f} ms")
        print(f"| {count} | " + " | ".join(cells) + " |")


def skill() -> None:
    """Train weights on recorded histories, let them propose on fixed parents, and train each
    proposal once: a line of skill.jsonl each.
    """
    from models import propose

    world, path = World(), FIGURES / "skill.jsonl"
    done = (
        {(r["seed"], r["who"], r["parent"]) for r in map(json.loads, path.read_text().splitlines())}
        if path.exists()
        else set()
    )
    for told in json.loads((RUNS / "skill.json").read_text()):
        seed, parents = told["seed"], [parse(Recipe, p) for p in told["parents"]]
        histories = {int(g): parse(History, h) for g, h in told["histories"].items()}
        first, last = histories[min(histories)], histories[max(histories)]
        makers = {f"self {g}": (h.champion, h, False) for g, h in histories.items()}
        makers |= {
            f"generation 0 on history {g}": (first.champion, h, False)
            for g, h in histories.items()
            if g != min(histories)
        }
        makers["random weights"] = (last.champion, last, True)
        for number, parent in enumerate(parents):
            base = [world.measured(parent, first, 1000 * seed + i) for i in range(3)]
            for who in (*makers, "random", "local", "tpe"):
                if (seed, who, number) in done:
                    continue
                if (
                    who in makers
                    # weights as a study makes them: trained on the task and the first notebook,
                    # then
                    # they read the one that stands
                ):
                    recipe, history, untrained = makers[who]
                    net = world.train(recipe, first, seed, 0 if untrained else world.steps(recipe))
                    propose.read(
                        net,
                        recipe,
                        history,
                        seed,
                        0 if untrained else world.steps(recipe, reading=True),
                    )
                    asked = replace(history, champion=parent, champion_score=None, count=K)
                    made = [
                        parse(Recipe, {**plain(parent), **p["knobs"]})
                        for p in propose.propose(net, asked, seed)
                    ]
                else:
                    made = [parse(Recipe, r) for r in told["programs"][f"{who}:{number}"]]
                gains = [
                    round(world.measured(r, first, 1000 * seed + 10 + i) - sum(base) / len(base), 4)
                    for i, r in enumerate(made)
                ]
                row = {
                    "seed": seed,
                    "who": who,
                    "parent": number,
                    "base": round(sum(base) / len(base), 4),
                    "gains": gains,
                }
                with path.open("a") as file:
                    file.write(json.dumps(row) + "\n")


def interval(values: list[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % percentile bootstrap over seeds."""
    found = np.array(values, float)
    means = np.random.default_rng(seed).choice(found, (10_000, len(found))).mean(1)
    return float(found.mean()), *(float(q) for q in np.quantile(means, [0.025, 0.975]))


def shown(values: list[float]) -> str:
    return "{:+.3f} ({:+.3f} to {:+.3f})".format(*interval(values))


def figure() -> None:
    rows = [json.loads(line) for line in (FIGURES / "proposers.jsonl").read_text().splitlines()]
    by = {arm: {r["run"]: r for r in rows if r["arm"] == arm} for arm in ARMS}
    print(
        "| arm | verified gain on gate | minus random, paired | accepts | CPU-s | proposing, with"
        " notebook share | ms each | invalid | twice |"
    )
    for arm, found in by.items():
        spent = [sum(r["cpu_us"].values()) for r in found.values()]
        ask_share = sum(r["cpu_us"]["propose"] for r in found.values()) / sum(spent)
        with_book = ask_share + sum(r["notebook_cpu_us"] for r in found.values()) / sum(spent)
        tried = sum(r["candidates"] + r["invalid"] for r in found.values())
        paired = [found[n]["gain"] - by["random"][n]["gain"] for n in found if n in by["random"]]
        cells = [
            arm,
            shown([r["gain"] for r in found.values()]),
            "" if arm == "random" else shown(paired),
            f"{sum(r['accepted'] for r in found.values()) / len(found):.1f}",
            f"{np.mean(spent) / 1e6:.0f}",
            f"{ask_share:.1%}, {with_book:.1%}",
            f"{np.mean([r['latency_ms'] for r in found.values()]):.0f}",
            f"{sum(r['invalid'] for r in found.values()) / tried:.1%}",
            f"{sum(r['duplicates'] for r in found.values()) / tried:.1%}",
        ]
        print("| " + " | ".join(cells) + " |")
    levels = {arm: generation_means(found) for arm, found in by.items()}
    print(
        "\n| arm | "
        + " | ".join(f"generation {g}" for g in sorted(levels["random"]))
        + " | from 2 on, minus random |"
    )
    for arm, found in levels.items():
        later = [
            np.mean([found[g][n] for g in found if g >= 2 and n in found[g]])
            - np.mean([levels["random"][g][n] for g in found if g >= 2])
            for n in by[arm]
        ]
        print(
            f"| {arm} | "
            + " | ".join(f"{np.mean(list(found[g].values())):.3f}" for g in sorted(found))
            + f" | {shown(later)} |"
        )
    draw_rivals(levels, by)
    if (FIGURES / "skill.jsonl").exists():
        draw_skill()


def generation_means(found: dict) -> dict[int, dict[str, float]]:
    """Generation -> run -> mean feedback score of its proposals, a failed or invalid one counting
    0.
    """
    result: dict[int, dict[str, float]] = {}
    for name, row in found.items():
        for g, scores in row["proposals"].items():
            result.setdefault(int(g), {})[name] = float(np.mean([s or 0.0 for s in scores]))
    return result


def champion_shares(row: dict, generations: list[int]) -> list[float]:
    """The notebook's share in the champion's recipe at the baseline and after each generation."""
    accepted = sorted(generation for generation, _ in row["corrected"])
    return [row["notebook"][sum(a <= g for a in accepted)] for g in (0, *generations)]


def plotter():
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "heirloop"
    import matplotlib.pyplot as plt

    return plt


def draw_rivals(levels: dict, by: dict) -> None:
    plt = plotter()
    drawing, (left, right, share) = plt.subplots(
        1, 3, figsize=(13, 4.1), constrained_layout=True, width_ratios=(4, 3, 3)
    )
    for i, (arm, found) in enumerate(levels.items()):
        at = sorted(found)
        bars = np.array([interval(list(found[g].values())) for g in at])
        x = np.array(at) + (i - 2) * 0.07
        left.errorbar(
            x,
            bars[:, 0],
            [bars[:, 0] - bars[:, 1], bars[:, 2] - bars[:, 0]],
            color=COLOURS[arm],
            label=arm,
            marker="o",
            ms=4,
            capsize=2,
        )
        mean, low, high = interval([r["gain"] for r in by[arm].values()])
        right.errorbar(
            [i], [mean], [[mean - low], [high - mean]], color=COLOURS[arm], marker="o", capsize=4
        )
    left.set(
        title="what is proposed",
        xlabel="generation",
        ylabel="exact match on feedback, mean of 4 proposals",
        xticks=at,
    )
    left.set_ylim(0, None)
    left.legend(fontsize=8, ncols=3, loc="lower left")
    right.set(
        title="what is verified",
        ylabel="gain on gate over the baseline, exact match",
        xticks=range(len(by)),
        xticklabels=list(by),
    )
    right.axhline(0, color="#cccccc", lw=0.8, zorder=0)
    shares = np.array([champion_shares(row, at) for row in by["self"].values()])
    share.plot([0, *at], shares.T, color=COLOURS["self"], alpha=0.25, lw=1)
    share.plot(
        [0, *at],
        shares.mean(axis=0),
        color=COLOURS["self"],
        marker="o",
        ms=4,
        label="mean; thin: a seed each",
    )
    share.set(
        title="notebook's share, champions of self",
        xlabel="generation",
        ylabel="share of the training's steps",
        xticks=[0, *at],
    )
    share.legend(fontsize=8)
    drawing.suptitle(
        f"task fast-v1, {len(by['random'])} seeds, means with 95 % bootstrap intervals", fontsize=10
    )
    drawing.savefig(FIGURES / "proposers.svg", metadata={"Date": None})


def draw_skill() -> None:
    plt = plotter()
    rows = [json.loads(line) for line in (FIGURES / "skill.jsonl").read_text().splitlines()]
    seeds = sorted({r["seed"] for r in rows})
    who = sorted(
        {r["who"] for r in rows}, key=lambda w: (w[:4] != "self", w[:10] != "generation", w)
    )
    drawing, axes = plt.subplots(
        1, 2, figsize=(10, 0.32 * len(who) + 1.6), sharey=True, constrained_layout=True
    )
    print(
        "\n| who proposes | mean gain of a proposal | improvement at k | minus generation 0 on the"
        " same history |"
    )
    stats = {}
    for w in who:
        per = {s: [r for r in rows if (r["seed"], r["who"]) == (s, w)] for s in seeds}
        stats[w] = {
            "mean": [np.mean([np.mean(r["gains"]) for r in per[s]]) for s in seeds if per[s]],
            "best": [np.mean([max(0.0, *r["gains"]) for r in per[s]]) for s in seeds if per[s]],
        }
    for y, w in enumerate(who):
        for axis, what in zip(axes, ("mean", "best"), strict=True):
            mean, low, high = interval(stats[w][what])
            axis.errorbar(
                [mean],
                [y],
                xerr=[[mean - low], [high - mean]],
                marker="o",
                capsize=3,
                color=(
                    "#0072b2"
                    if w.startswith("self")
                    else "#d55e00"
                    if w.startswith("gen")
                    else "#777777"
                ),
            )
        twin = f"generation 0 on history {w.split()[1]}" if w.startswith("self") else ""
        against = (
            shown(list(np.array(stats[w]["mean"]) - np.array(stats[twin]["mean"])))
            if twin in stats
            else ""
        )
        print(f"| {w} | {shown(stats[w]['mean'])} | {shown(stats[w]['best'])} | {against} |")
    axes[0].set(
        yticks=range(len(who)),
        yticklabels=who,
        xlabel="mean gain of a proposal over its parent, exact match",
    )
    axes[1].set(xlabel=f"improvement at k: best of {K} (programs: {K + 1}), or 0")
    axes[0].invert_yaxis()
    for axis in axes:
        axis.axvline(0, color="#cccccc", lw=0.8, zorder=0)
    drawing.suptitle(
        f"skill on two fixed parents, task fast-v1, {len(seeds)} seeds, 95 % bootstrap intervals",
        fontsize=10,
    )
    drawing.savefig(FIGURES / "skill.svg", metadata={"Date": None})


def acts() -> None:
    """Print how often the champion is parent, and the figures of a played study: the real loop, on
    a box that computes nothing and scores a program by how much of it was changed.
    """
    sys.path[:0] = [str(ROOT / name) for name in ("tests", "tests/loop")]
    from studies import mandate
    from test_evolve import ProgramBox, draw_parents

    from loop import session
    from loop.instruments.measure import measure
    from loop.settings import compose_settings
    from loop.study import open as study_open
    from sandbox import keys

    for accepted in (False, True):
        print(f"accepted {accepted}: champion {draw_parents(accepted)[1]['champion'] / 56:.2f}")
    keys.new_secret = lambda: keys.plain_secret(b"evolve acts")  # the same draws each time
    study_open.make_box = lambda _: ProgramBox()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
        cfg = compose_settings(
            [
                "study=evolve-v1-short",
                "study.name=played",
                f"runs={folder}/runs",
                "study.arms=[evolve,evolve_one_island,evolve_no_grid,edits]",
                "study.generations=4",
                "study.proposals=8",
                "study.plan_trainings=0",
                "study.final_replicates=0",
                "task=digits",
                "task.held_out=100",
                "task.train_items=500",
                "box.parallel=1",
                "budget.looks.feedback=100000",
            ]
        )
        mandate(cfg)
        session.execute(cfg)
        for arm, told in measure([Path(folder) / "runs" / "played"])["arms"].items():
            print(arm, {name: round(one["value"], 2) for name, one in told["database"].items()})


if __name__ == "__main__":
    verb, *rest = sys.argv[1:]
    {
        "run": run,
        "collect": collect,
        "ask": ask,
        "skill": skill,
        "figure": figure,
        "reading": reading,
        "latency": latency,
        "acts": acts,
    }[verb](*rest)
