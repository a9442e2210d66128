"""Real seed noise for calibration: the same recipes trained over and over through the one door,
each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it
was and `heirloop verify` checks it. Refuses to train without a mandate. `heirloop calibrate` and
`heirloop power` call this; the statistics are evals/calibrate.py.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput, Denied, HeirloopError
from configs.recipe import Recipe
from configs.records import JobCount, Proposal
from configs.study import Config
from evals import beside as beside_code
from evals import calibrate as calibrate_code
from evals import rules as rules_code
from evals.beside import FAILING
from evals.calibrate import NULLS, Campaigns, campaigns_needed, pairs_needed, pooled, real
from evals.calibrate import calibrate as calibrate_row
from evals.rules import RULES, Gains
from loop.cycle import Campaign
from loop.main import composed
from loop.measure import replicate
from loop.plan import ROOT, make, requested, source
from loop.study import Running, open_study
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import new_mandate

FIGURES = ROOT / "docs" / "figures"
RUNS = {"baseline": 60, "reference": 16, "slow": 60, "bimodal": 80}
"""Trainings of each recipe: what a study starts from, its ceiling, one that is still rising, one
that learns or does not.
"""
ENOUGH = 200
"""Scores from which on nothing is trained any more; a failed training leaves none."""


def recipes(config: Config) -> dict[str, Recipe]:
    """Return the recipes whose noise is measured."""
    reference = parse(
        Recipe,
        strict_json((ROOT / "evals" / "reference" / f"{config.task.name}.json").read_bytes()),
    )
    learner = replace(
        config.task.baseline, learning_rate=0.002, loss="answer", answer_order="reversed"
    )
    return {
        "baseline": config.task.baseline,
        "reference": reference,
        "slow": replace(reference, learning_rate=0.001),
        "bimodal": learner,
    }


def settings(task: str, runs: Mapping[str, int]) -> Config:
    """Return the study that measures a task's noise; budget and caps are what the trainings
    need.
    """
    total = sum(runs.values())
    cpu = 8 * total + 60
    return composed(
        [
            "study=single",
            f"study.name=noise-{task}",
            f"task={task}",
            "autonomy=autonomous",
            f"budget.cpu_seconds={cpu}",
            f"budget.jobs={3 * total}",
            f"budget.wall_seconds={60 * total}",
            f"budget.output_mib={2 * total + 64}",
            (
                f"gates.unattended={{classes: [recipe], jobs: {3 * total}, cpu_seconds: {cpu},"
                " hours: 24, drift: 40, per_hour: 1000}"
            ),
        ]
    )


def measure(
    task: str,
    out: Path,
    *,
    unattended: bool,
    runs: Mapping[str, int] = RUNS,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Train what is missing and return every row: kind, number, exact_match, cpu_us. Interrupt it
    at will; the same call goes on.

    `unattended` signs the mandate that it needs; raises NeedsHuman where none was given,
    BudgetExhausted where the study's end is reached.
    """
    config = settings(task, runs)
    with opened(config, recipes(config), runs, unattended) as (running, names):
        train(running, names, runs, say, lambda: _write(running, names, out))
    return _write(running, names, out)


@contextmanager
def opened(
    config: Config, chosen: Mapping[str, Recipe], counts: Mapping[str, int], unattended: bool
) -> Iterator[tuple[Running, dict[str, str]]]:
    """Open a study of trainings alone; yield it and the plan of each recipe, granted for its
    count.
    """
    if unattended:
        _sign(config)
    running = open_study(config)
    try:
        yield (
            running,
            {
                kind: _plan(running, number, kind, recipe, counts[kind])
                for number, (kind, recipe) in enumerate(chosen.items())
            },
        )
    finally:
        running.stopped = True
        running.sandbox.box.close()
        running.checkpoint()


def train(
    running: Running,
    names: Mapping[str, str],
    wanted: Mapping[str, int],
    say: Callable[[str], None],
    write: Callable[[], object] = lambda: None,
) -> None:
    """Train and score what is missing of `wanted` replicates of each recipe, side by side; all
    kinds grow alike.
    """
    slots = sorted(
        ((kind, i) for kind in wanted for i in range(wanted[kind])),
        key=lambda slot: slot[1] / wanted[slot[0]],
    )
    with ThreadPoolExecutor(running.config.box.parallel) as pool:
        for done, _ in enumerate(
            pool.map(lambda slot: _one(running, names[slot[0]], slot[1]), slots), 1
        ):
            say(f"{done} of {len(slots)} trainings")
            if done % 10 == 0:
                write()


def calibrate(
    task: str,
    null: str,
    *,
    unattended: bool,
    folder: Path = FIGURES,
    plan: Campaigns | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return {alpha, task, noise, rules: {name: {null, campaigns, false_keep_rate, upper,
    fake_gain, power, replicates, ...}}}.

    `real` trains what is missing of noise-TASK.jsonl and uses each score once; `simulated` draws
    from it and keeps every row in calibration-TASK.jsonl, so that it goes on where it was. Raises
    BadInput where nothing has been measured.
    """
    config = composed([f"task={task}"])
    plan = plan or Campaigns(deviation=config.task.seed_deviation)
    if null == "real":
        scores = real_scores(task, folder, unattended=unattended, say=say)
        found = {rule: {"null": "a", **real(rule, scores, plan)} for rule in RULES}
    else:
        scores = noise(task, folder)
        found = {
            rule: _simulated(rule, scores, plan, folder / f"calibration-{task}.jsonl", say)
            for rule in RULES
        }
    return {
        "alpha": plan.alpha,
        "task": task,
        "noise": {kind: [len(s), round(float(np.std(s)), 4)] for kind, s in scores.items()},
        "rules": found,
    }


def real_scores(
    task: str, folder: Path, *, unattended: bool, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return the measured scores, after training what is missing."""
    known = noise(task, folder) if (folder / f"noise-{task}.jsonl").exists() else {}
    if sum(map(len, known.values())) < ENOUGH:
        measure(task, folder / f"noise-{task}.jsonl", unattended=unattended, say=say)
    return noise(task, folder)


def noise(task: str, folder: Path = FIGURES) -> dict[str, list[float]]:
    """Return the measured scores of a task, recipe by recipe; raise BadInput where there are
    none.
    """
    path = folder / f"noise-{task}.jsonl"
    if not path.exists():
        raise BadInput(
            f"TASK is {task!r}, whose seed noise was not measured yet; run `heirloop calibrate"
            f" {task} --null real --unattended` first"
        )
    found: dict[str, list[float]] = {}
    for line in path.read_text().splitlines()[1:]:
        row = json.loads(line)
        found.setdefault(row["kind"], []).append(row["exact_match"])
    return found


def _simulated(
    rule: str,
    scores: Mapping[str, Sequence[float]],
    plan: Campaigns,
    path: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    normal = [float(v) for v in np.random.default_rng(1).normal(0.5, plan.deviation, 1000)]
    by_null: dict[str, Any] = {}
    for null in NULLS:
        kinds = (
            {"one in ten fails": FAILING, **scores} if null == "b" else {**scores, "normal": normal}
        )
        rows = {kind: _row(rule, null, kind, sample, plan, path) for kind, sample in kinds.items()}
        say(f"{rule}, null {null}")
        by_null[null] = {
            "null": null,
            **pooled(rows, [k for k in rows if (k in scores) != (null == "b")]),
        }
    return {**by_null["a"], "others": {null: by_null[null] for null in ("b", "c")}}


def _row(
    rule: str, null: str, kind: str, sample: Sequence[float], plan: Campaigns, path: Path
) -> dict[str, Any]:
    """Return one row of simulated campaigns, from the file if these very bytes and settings made
    it.
    """
    code = [
        Path(module.__file__ or "").read_text()
        for module in (beside_code, calibrate_code, rules_code)
    ]
    stamp = digest([code, plain(plan), list(sample), rule, null])[:16]
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = next((row for row in rows if row["stamp"] == stamp), None)
    if known is None:
        known = {
            "stamp": stamp,
            "rule": rule,
            "null": null,
            "noise": kind,
            **calibrate_row(rule, null, sample, plan),
        }
        kept = [
            row for row in rows if (row["rule"], row["null"], row["noise"]) != (rule, null, kind)
        ]
        path.write_text("".join(json.dumps(row) + "\n" for row in [*kept, known]))
    return dict(known)


def power(
    overrides: Sequence[str],
    *,
    gain: float,
    target: float | None = None,
    deviation: float | None = None,
    folder: Path = FIGURES,
) -> list[dict[str, Any]]:
    """Return what it takes to see a true `gain` with probability `target` in the study that
    overrides compose, per kind of noise.

    `target` is the objective's power if left out.

    Noise: normal at `deviation` (default the task's), and each recipe measured. CPU-seconds are
    planned ones, both sides trained.
    """
    config = composed(overrides)
    target = config.objective.power if target is None else target
    need(
        0 < gain <= 1 and 0 < target < 1,
        "--gain/--target",
        (gain, target),
        "a gain above 0, at most 1, and a probability between 0 and 1",
    )
    study, objective, task = config.study, config.objective, config.task
    spread = deviation or config.deviation()
    samples = {"normal": np.random.default_rng(1).normal(0.5, spread, 2000)}
    if (folder / f"noise-{task.name}.jsonl").exists():
        samples |= {kind: np.array(s) for kind, s in noise(task.name, folder).items()}
    plan = Campaigns(
        confirmations=config.confirmations(),
        alpha=objective.alpha,
        most=study.confirm_replicates,
        first_look=objective.first_look,
        deviation=config.deviation(),
    )
    return [_question(kind, sample, config, plan, gain, target) for kind, sample in samples.items()]


def _question(
    kind: str, sample: Gains, config: Config, plan: Campaigns, gain: float, target: float
) -> dict[str, Any]:
    seconds, spread = config.task.planned_cpu_us / 1e6, float(sample.std())
    most, used, idle = pairs_needed(
        config.objective.acceptance, sample, gain - config.objective.minimum_effect, plan, target
    )
    screening = config.study.generations * config.study.proposals + 1
    worst = None if most is None else seconds * (screening + 2 * most * config.study.generations)
    likely = (
        None
        if most is None
        else seconds * (screening + 2 * (used + idle * (config.study.generations - 1)))
    )
    arms = campaigns_needed(gain, max(spread, 1e-3) * 2**0.5, config.objective.alpha, target)
    return {
        "noise": kind,
        "deviation": round(spread, 4),
        "most pairs": most,
        "pairs used": round(used, 1),
        "pairs used without gain": round(idle, 1),
        "CPU-seconds of a campaign, most": worst,
        "likely": None if likely is None else round(likely, 1),
        "campaigns per arm": arms,
    }


def _one(running: Running, name: str, index: int) -> None:
    try:
        if not running.stopped:
            replicate(running, name, index, "gate", None)
    except HeirloopError:
        running.stopped = True
        raise


def _plan(running: Running, number: int, kind: str, recipe: Recipe, count: int) -> str:
    """Record the plan of one recipe, granted once; one that is recorded goes on with the bytes that
    it began with.
    """
    campaign, facts = (
        Campaign(running, running.config.arms()[0], 0, None, lambda _: None),
        running.archive.facts(),
    )
    name = facts.at.get((campaign.arm, 0, 0, number), "")
    if not name or facts.plans[name].recipe != recipe:
        name = _record(running, campaign, number, kind, recipe, count)
    if not campaign.allowed(name):
        raise Denied(
            f"the noise of the {kind} recipe cannot be measured:"
            f" {running.gate.refresh().refused[name, 'recipe']}"
        )
    campaign.admit(name)
    return name


def _record(
    running: Running, campaign: Campaign, number: int, kind: str, recipe: Recipe, count: int
) -> str:
    jobs = (JobCount(role="train", count=count), JobCount(role="predict", count=count))
    plan = make(
        running.config,
        study=running.root,
        version=running.gate.rules.version,
        place=(campaign.arm, 0, 0, number),
        purpose="baseline",
        parent="",
        parent_recipe=recipe,
        risk="recipe",
        recipe=recipe,
        bundle=campaign.bundle(source()),
        reference=None,
        proposal=Proposal(hypothesis=f"seed noise of the {kind} recipe", knobs={}),
    )
    plan = replace(plan, jobs=jobs, requested=requested(running.config, jobs))
    running.ledger.append("plan", {"digest": digest(plan), "plan": plain(plan)})
    return digest(plan)


def _write(running: Running, names: Mapping[str, str], out: Path) -> list[dict[str, Any]]:
    rows = list(scored(running, names))
    command = f"heirloop calibrate {running.config.task.name} --null real --unattended"
    head = {
        "command": command,
        "study": running.root,
        "recipes": {kind: plain(r) for kind, r in recipes(running.config).items()},
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(line) + "\n" for line in [head, *rows]))
    return rows


def scored(running: Running, names: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yield {kind, number, exact_match, cpu_us} of every replicate that was trained and scored."""
    facts = running.archive.facts()
    kinds = {name: kind for kind, name in names.items()}
    for (name, role, index), scores in sorted(
        facts.scores.items(), key=lambda item: (item[0][0], item[0][2])
    ):
        if name in kinds and role == "predict" and scores:
            yield {
                "kind": kinds[name],
                "number": index,
                "exact_match": scores.exact_match,
                "cpu_us": scores.measured_cpu_us,
            }


def _sign(config: Config) -> None:
    """Give the study the unattended mandate that its own caps allow."""
    folder = keys.home() / "mandates"
    if list(folder.glob(f"{config.study.name}-*.json")) or config.gates.unattended is None:
        return
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = new_mandate(
        config, config.gates.unattended, "unattended", "unattended", keys.public_hex(key)
    )
    (folder / f"{config.study.name}-{digest(made)[:16]}.json").write_bytes(
        keys.sign(plain(made), key, "mandate")
    )
