"""Real seed noise for calibration: the same recipes trained over and over through the one door, each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it was and `heirloop verify` checks it.
Refuses to train without a mandate. `heirloop calibrate` and `heirloop power` call this; the statistics are evals/calibrate.py.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import parse, plain, strict_json
from configs.errors import Denied, HeirloopError
from configs.recipe import Recipe
from configs.records import JobCount, Proposal
from configs.study import Config
from loop.cycle import Campaign
from loop.main import composed
from loop.measure import replicate
from loop.plan import ROOT, make, requested, source
from loop.study import Running, open_study
from sandbox import keys
from sandbox.canonical import digest
from sandbox.gate import new_mandate

RUNS = {"baseline": 60, "reference": 20, "slow": 80, "bimodal": 100}
"""Trainings of each recipe: what a study starts from, its ceiling, one that is still rising, one that learns or does not."""


def recipes(config: Config) -> dict[str, Recipe]:
    """Return the recipes whose noise is measured."""
    reference = parse(Recipe, strict_json((ROOT / "evals" / "reference" / f"{config.task.name}.json").read_bytes()))
    learner = replace(config.task.baseline, learning_rate=0.002, loss="answer", answer_order="reversed")
    return {"baseline": config.task.baseline, "reference": reference, "slow": replace(reference, learning_rate=0.001), "bimodal": learner}


def settings(task: str, runs: Mapping[str, int]) -> Config:
    """Return the study that measures a task's noise; budget and caps are what the trainings need."""
    total = sum(runs.values())
    cpu = 8 * total + 60
    return composed([
        "study=single", f"study.name=noise-{task}", f"task={task}", "autonomy=autonomous", f"budget.cpu_seconds={cpu}", f"budget.jobs={3 * total}",
        f"budget.wall_seconds={60 * total}", f"budget.output_mib={2 * total + 64}",
        f"gates.unattended={{classes: [recipe], jobs: {3 * total}, cpu_seconds: {cpu}, hours: 24, drift: 40, per_hour: 1000}}",
    ])  # fmt: skip


def measure(task: str, out: Path, *, unattended: bool, runs: Mapping[str, int] = RUNS,
            say: Callable[[str], None] = lambda _: None) -> list[dict[str, Any]]:  # fmt: skip
    """Train what is missing and return every row: kind, number, exact_match, cpu_us. Interrupt it at will; the same call goes on.

    `unattended` signs the mandate that it needs; raises NeedsHuman where none was given, BudgetExhausted where the study's end is reached.
    """
    config = settings(task, runs)
    if unattended:
        _sign(config)
    running = open_study(config)
    try:
        names = {kind: _plan(running, number, kind, recipe, runs[kind]) for number, (kind, recipe) in enumerate(recipes(config).items())}
        wanted = sorted(((kind, i) for kind in names for i in range(runs[kind])), key=lambda slot: slot[1] / runs[slot[0]])  # all kinds grow alike
        with ThreadPoolExecutor(config.box.parallel) as pool:
            for done, _ in enumerate(pool.map(lambda slot: _one(running, names[slot[0]], slot[1]), wanted), 1):
                say(f"{done} of {len(wanted)} trainings")
                if done % 10 == 0:
                    _write(running, names, out)
    finally:
        running.stopped = True
        running.sandbox.box.close()
        running.checkpoint()
    return _write(running, names, out)


def _one(running: Running, name: str, index: int) -> None:
    try:
        if not running.stopped:
            replicate(running, name, index, "gate", None)
    except HeirloopError:
        running.stopped = True
        raise


def _plan(running: Running, number: int, kind: str, recipe: Recipe, count: int) -> str:
    """Record the plan of one recipe, granted once."""
    jobs = (JobCount(role="train", count=count), JobCount(role="predict", count=count))
    arm = running.config.arms()[0]
    campaign = Campaign(running, arm, 0, None, lambda _: None)
    bundle = campaign.bundle(source())
    plan = make(running.config, study=running.root, version=running.gate.rules.version, place=(arm, 0, 0, number), purpose="baseline", parent="",
                parent_recipe=recipe, risk="recipe", recipe=recipe, bundle=bundle, reference=None,
                proposal=Proposal(hypothesis=f"seed noise of the {kind} recipe", knobs={}))  # fmt: skip
    plan = replace(plan, jobs=jobs, requested=requested(running.config, jobs))
    name = digest(plan)
    if name not in running.archive.facts().plans:
        running.ledger.append("plan", {"digest": name, "plan": plain(plan)})
    if not campaign.allowed(name):
        raise Denied(f"the noise of the {kind} recipe cannot be measured: {running.gate.refresh().refused[name, 'recipe']}")
    campaign.admit(name)
    return name


def _write(running: Running, names: Mapping[str, str], out: Path) -> list[dict[str, Any]]:
    rows = list(_rows(running, names))
    command = f"heirloop calibrate {running.config.task.name} --null real --unattended"
    head = {"command": command, "study": running.root, "recipes": {kind: plain(r) for kind, r in recipes(running.config).items()}}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(line) + "\n" for line in [head, *rows]))
    return rows


def _rows(running: Running, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    facts = running.archive.facts()
    kinds = {name: kind for kind, name in names.items()}
    for (name, role, index), scores in sorted(facts.scores.items(), key=lambda item: (item[0][0], item[0][2])):
        if name in kinds and role == "predict" and scores:
            yield {"kind": kinds[name], "number": index, "exact_match": scores.exact_match, "cpu_us": scores.measured_cpu_us}


def _sign(config: Config) -> None:
    """Give the study the unattended mandate that its own caps allow."""
    folder = keys.home() / "mandates"
    if list(folder.glob(f"{config.study.name}-*.json")) or config.gates.unattended is None:
        return
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = new_mandate(config, config.gates.unattended, "unattended", "unattended", keys.public_hex(key))
    (folder / f"{config.study.name}-{digest(made)[:16]}.json").write_bytes(keys.sign(plain(made), key, "mandate"))
