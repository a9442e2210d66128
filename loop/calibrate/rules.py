"""`heirloop calibrate TASK`: how often each acceptance rule keeps a worthless change of a task.

`--null real` measures on trainings themselves, `--null simulated` on draws from their scores. The
statistics are evals/calibrate.py; the trainings are noise.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import plain
from evals.accepted_gain import FAILING
from evals.calibrate import NULLS, Campaigns, fingerprint, pool_rows, real
from evals.calibrate import calibrate as calibrate_row
from evals.rules import RULES
from loop.calibrate.noise import FIGURES, read_noise, real_scores
from loop.settings import compose_settings
from sandbox.canonical import digest
from sandbox.files import replace_file


def calibrate(
    task: str,
    null: str,
    *,
    unattended: bool,
    folder: Path = FIGURES,
    plan: Campaigns | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return {alpha, task, noise, rules}: each rule's row, {null, campaigns, false_keep_rate, ...}.

    `real` trains the missing lines of noise-TASK.jsonl and uses each score once. `simulated` draws
    from the scores and keeps every row in calibration-TASK.jsonl, so it goes on where it was.
    Raises BadInput where no noise was measured.
    """
    config = compose_settings([f"task={task}"])
    # Betting needs gains between -1 and 1, and an objective without them refuses it.
    names = [name for name in RULES if name != "betting" or config.objective.bounded()]
    plan = plan or Campaigns(deviation=config.task.seed_deviation)
    if null == "real":
        scores = real_scores(task, folder, unattended=unattended, say=say)
        rules = {rule: {"null": "a", **real(rule, scores, plan)} for rule in names}
    else:
        scores = read_noise(task, folder)
        path = folder / f"calibration-{task}.jsonl"
        rules = {rule: _simulate(rule, scores, plan, path, say) for rule in names}
    return {
        "alpha": plan.alpha,
        "task": task,
        "noise": {kind: [len(s), round(float(np.std(s)), 4)] for kind, s in scores.items()},
        "rules": rules,
    }


def _simulate(
    rule: str,
    scores: Mapping[str, Sequence[float]],
    plan: Campaigns,
    path: Path,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Return a rule's rows under every null; the row of null a holds the others."""
    by_null: dict[str, Any] = {}
    for null in NULLS:
        samples = noise_samples(null, scores, plan)
        rows = {
            kind: _read_or_simulate(rule, null, kind, sample, plan, path)
            for kind, sample in samples.items()
        }
        say(f"{rule}, null {null}")
        # Null b counts the made-up noise alone, the other nulls the measured kinds.
        counted = [kind for kind in rows if (kind in scores) != (null == "b")]
        by_null[null] = {"null": null, **pool_rows(rows, counted)}
    return {**by_null["a"], "others": {null: by_null[null] for null in ("b", "c")}}


def noise_samples(
    null: str, scores: Mapping[str, Sequence[float]], plan: Campaigns
) -> dict[str, Sequence[float]]:
    """Return the kinds of noise that a null is simulated on: measured ones, and one made up."""
    if null == "b":
        return {"one in ten fails": FAILING, **scores}
    normal = np.random.default_rng(1).normal(0.5, plan.deviation, 1000)
    return {**scores, "normal": [float(value) for value in normal]}


def stamp_row(rule: str, null: str, sample: Sequence[float], plan: Campaigns) -> str:
    """Return the stamp of a row: everything that its figures rest on.

    The code counts by its behaviour on a fixed sample (evals/calibrate.py), not by its text.
    """
    return digest([fingerprint(rule, null), plain(plan), list(sample), rule, null])[:16]


def _read_or_simulate(
    rule: str, null: str, kind: str, sample: Sequence[float], plan: Campaigns, path: Path
) -> dict[str, Any]:
    """Return one row of simulated campaigns, from the file if its stamp is the same."""
    stamp = stamp_row(rule, null, sample, plan)
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for row in rows:
        if row["stamp"] == stamp:
            return dict(row)
    labels = {"stamp": stamp, "rule": rule, "null": null, "noise": kind}
    new = {**labels, **calibrate_row(rule, null, sample, plan)}
    key = (rule, null, kind)
    others = [row for row in rows if (row["rule"], row["null"], row["noise"]) != key]
    replace_file(path, "".join(json.dumps(row) + "\n" for row in [*others, new]))
    return new
