"""Real seed noise for calibration: the same recipes trained over and over through the one door,
each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it
was and `heirloop verify` checks it. Refuses to train without a mandate. `heirloop calibrate` and
`heirloop power` call this; the statistics are evals/calibrate.py.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.build import plain
from evals import beside as beside_code
from evals import calibrate as calibrate_code
from evals import rules as rules_code
from evals.beside import FAILING
from evals.calibrate import NULLS, Campaigns, pooled, real
from evals.calibrate import calibrate as calibrate_row
from evals.rules import RULES
from loop.calibrate.noise import (
    FIGURES,
    noise,
    real_scores,
)
from loop.settings import composed
from sandbox.canonical import digest


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
