"""A study's results depend neither on how many jobs run at a time nor on the order in which they
end. A fake box holds jobs back in a seeded order.
"""

import json
import random
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeBox, outcome, read_history
from safetensors.numpy import save
from studies import config, mandate, read_facts

from configs.build import parse, plain, strict_json
from configs.cost import parameters
from configs.job import Order
from configs.tokens import layout
from loop import session
from loop.command.study import read_summary
from loop.instruments.measure import measure
from loop.propose import ask
from sandbox import keys
from sandbox.canonical import canonical, digest

STUDY = [
    "task.notebook=true",
    "study.start_trials=8",
    "study.repeats=2",
    "study.confirm_replicates=6",
    "study.final_replicates=4",
    "objective.first_look=3",
    "objective.feedback=rounded",
    "objective.acceptance=greedy",
    "budget.jobs=4000",
    "gates.unattended.jobs=4000",
    "budget.cpu_seconds=4000",
    "gates.unattended.cpu_seconds=4000",
    "budget.looks.feedback=2000",
    "budget.looks.confirm=500",
]
LATE = ["study.repeats=1", "study.larger_replicates=4", "study.ablate=2", "study.skill_proposals=2"]
"""Everything that a campaign does after its last generation."""
RUNS = ((2, 1), (4, 2))
"""Jobs at a time, and the seed of the order in which they end."""
MEASURED = ("given before", "speed-up if", "conditions")
"""Figures that hold the machine's own time."""


def quality(order):
    """Return a share of right answers that hangs on the recipe alone, and grows with depth."""
    rng = random.Random(digest(order.recipe))
    return min(0.98, 0.1 + 0.15 * order.recipe.depth + 0.2 * rng.random())


class HoldingBox(FakeBox):
    """A fake box that ends its jobs in a seeded order; without a seed it holds nothing back."""

    def __init__(self, seed=None, script=lambda execution: None):
        super().__init__(quality, lambda execution: self.write(execution) or script(execution))
        self.seed, self.began, self.ended, self.most = seed, [], [], 0
        self.lock = threading.Lock()

    def write(self, execution):
        """Write proposals that hang on the whole history, and on its order."""
        if execution.role != "propose":
            return None
        history = read_history(execution)
        told = [[plain(t.recipe), t.outcome, t.score] for t in history.trials]
        rng, texts = random.Random(digest(canonical(told))), []
        for _ in range(history.count):
            knobs = {"depth": rng.randint(1, 4), "dropout": round(rng.uniform(0.01, 0.4), 3)}
            gain = round(rng.random(), 3)
            texts.append(json.dumps({"hypothesis": "h", "knobs": knobs, "predicted_gain": gain}))
        return outcome(files={"proposals.jsonl": "\n".join(texts).encode()})

    def run(self, execution):
        order = execution.files["job.json"]
        job = execution.role, parse(Order, strict_json(order)).seed
        with self.lock:
            self.began.append(job)
            self.most = max(self.most, len(self.began) - len(self.ended))
        done = super().run(execution)
        if self.seed is not None:
            time.sleep(random.Random(f"{self.seed}:{digest(order)}").uniform(0, 0.03))
        with self.lock:
            self.ended.append(job)
        return done


def results(folder):
    """Return what a study came to, by place; digests of plans are replaced by their places."""
    facts, told = read_facts(folder), {}
    names = {
        name: f"{p.purpose}:{p.arm}:{p.repeat}:{p.generation}:{p.index}"
        for name, p in facts.plans.items()
    }
    root = next(iter(facts.plans.values())).study

    def swap(what):
        text = what if isinstance(what, str) else json.dumps(what)
        for name, place in names.items():
            text = text.replace(name, place)
        return text.replace(root, "root")

    def stored(blob):
        return (folder / "store" / blob[:2] / blob[2:]).read_text()

    for name, plan in facts.plans.items():
        told["plan", names[name]] = swap(plain(plan))
        if name in facts.shown:
            told["history", names[name]] = swap(stored(facts.shown[name][0]))
        if name in facts.verdicts:
            told["verdict", names[name]] = plain(facts.verdicts[name])
    for (name, role, index), scores in facts.scores.items():
        told["score", names[name], role, index] = scores and plain(scores)
    for place, proposal in facts.at.items():
        told["at", place] = names.get(proposal, str(proposal))
    for key, champions in facts.champions.items():
        told["champions", key] = [names[name] for name in champions]
    summary = read_summary(folder)
    for part in ("baseline", "champion"):
        told["summary", part] = swap(summary[part])
    for row in summary["arms"]:
        told["summary", row["arm"], row["repeat"]] = swap(row)
    figures = measure([folder])
    told["figures"] = {name: json.dumps(figures[name]) for name in figures if name not in MEASURED}
    return told


def play(tmp_path, go, parallel, box, *more):
    """Run the study with so many jobs at a time; return what it came to."""
    cfg = config(tmp_path / f"{parallel}", *STUDY, f"box.parallel={parallel}", *more)
    mandate(cfg)
    assert go(cfg, box, session.execute)["finished"]
    return results(Path(cfg.runs) / "t")


def find_differences(one, other):
    return sorted(str(key) for key in one.keys() | other.keys() if one.get(key) != other.get(key))


@pytest.fixture(autouse=True)
def same_luck(monkeypatch):
    """Every study has the same secret, and no proposer's charge hangs on the machine."""
    monkeypatch.setattr(keys, "new_secret", lambda: keys.plain_secret(b"any order"))
    monkeypatch.setattr(ask.time, "thread_time", lambda: 0.0)


@pytest.mark.parametrize(
    ("runs", "more"),
    [(RUNS, ["study.arms=[self,tpe]"]), (RUNS[1:], ["study.arms=[self]", *LATE])],
    ids=["two repeats", "late"],
)
def test_neither_the_number_of_workers_nor_the_order_of_ends_changes_a_result(
    tmp_path, go, runs, more
):
    wanted = play(tmp_path, go, 1, HoldingBox(), *more)
    assert any(len(names) > 1 for key, names in wanted.items() if key[0] == "champions")
    for parallel, seed in runs:
        box = HoldingBox(seed)
        got = play(tmp_path, go, parallel, box, *more)
        assert 1 < box.most <= parallel and box.ended != box.began
        assert not find_differences(wanted, got)


def test_which_of_two_copies_is_refused_does_not_hang_on_which_was_first(tmp_path, go):
    """Two arms train the same weights whatever the seed; a campaign's own copies are refused."""

    def same_weights(execution):
        if execution.role != "train":
            return None
        order = parse(Order, strict_json(execution.files["job.json"]))
        if order.recipe.depth < 3:
            return None
        count = parameters(order.recipe, layout(order.task, order.recipe))
        weights = save({"w": np.random.default_rng(0).standard_normal(count).astype(np.float32)})
        return outcome(files={"weights.safetensors": weights, "claims.json": b"{}"})

    arms = "study.arms=[self,scrambled_start]"
    wanted = play(tmp_path, go, 1, HoldingBox(None, same_weights), arms)
    refused = [key for key, score in wanted.items() if key[0] == "score" and score is None]
    assert refused
    got = play(tmp_path, go, 4, HoldingBox(3, same_weights), arms)
    assert not find_differences(wanted, got)
