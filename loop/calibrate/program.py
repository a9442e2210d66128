"""`heirloop task check DIR`: measure a folder with a training program of people's own.

Its trainings are a study of their own, like those of task.py. The baseline is trained many times.
Single changes of its marked regions are drawn by the operators of arm `evolve`; the best of them is
trained again on fresh seeds.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from configs.build import need, plain
from configs.errors import BadInput
from configs.records import CLASS_OF_FILE, CONFIRM, ClassName, Proposal, find_class
from configs.settings.config import Config
from evals import task as rows
from loop.calibrate.task import FRESH, check_rows, compose_check, read_metric
from loop.calibrate.trainings import open_trainings, train
from loop.campaign import Campaign, passes_gate
from loop.cycle import promote, rank, screen
from loop.plan import Draft, Planned
from loop.propose.evolve.mutate import mutate
from loop.study.folder import read_about
from loop.study.running import Running

CLASSES: tuple[ClassName, ...] = ("recipe", "patch")
"""Classes that its plans may have besides those of task.yaml."""
PAIRS = 8
"""Pairs that a plan of a single change asks for, as in a study; the check trains fewer."""
FILE = "models/train.py"
"""Place in every bundle of the file that changes, of two that of lower risk."""


def check_program(
    folder: str,
    *,
    trainings: int = 8,
    recipes: int = 12,
    overrides: Sequence[str] = (),
    unattended: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Return {task, study, run, rows} for a folder; `recipes` is the number of single changes.

    Raises BadInput for a program whose first training or prediction fails, with its last words, and
    NeedsHuman without a mandate.
    """
    need(4 <= trainings <= 1000, "--trainings", trainings, "between 4 and 1000")
    need(2 <= recipes <= 1000, "--recipes", recipes, "between 2 and 1000")
    config = check_settings(folder, trainings, recipes, overrides)
    first = {"baseline": config.task.baseline}
    with open_trainings(config, first, {"baseline": trainings}, unattended) as (running, plans):
        baseline = plans["baseline"]
        train(running, plans, {"baseline": range(1)}, say)
        _need_scores(running, baseline)
        train(running, plans, {"baseline": range(trainings)}, say)
        campaign = Campaign(running, config.arms()[0], 0, None, lambda _: None)
        changed = list(_grant_changes(campaign, baseline, recipes))
        best = next(iter(_rank(campaign, changed)), None)
        tried: list[float] = []
        if best:
            campaign.look(CONFIRM, best)
            train(running, {"best": best}, {"best": range(1, 1 + FRESH)}, say)
            tried = read_metric(running, {"best": best}, "best")[1:]
        checked = check_rows(running, baseline, tried, "single change")
        if not changed:
            checked[-1] = _unmeasured()
    return {
        "task": config.task.name,
        "study": running.root,
        "run": str(running.folder),
        "rows": [plain(row) for row in checked],
    }


def check_settings(folder: str, trainings: int, changes: int, overrides: Sequence[str]) -> Config:
    """Return the study of a folder's check, with a budget for its trainings."""
    about = read_about(folder)
    places = [f"task.folder={folder}", f"objective={about.metric}"]
    chosen = ["task=program", *places, "proposer=evolve"]
    return compose_check(
        [*chosen, *overrides],
        Path(folder).resolve().name,
        (trainings, changes),
        ", ".join(dict.fromkeys((*CLASSES, *about.may_change.values()))),
        [f"study.confirm_replicates={PAIRS}"],
    )


def _need_scores(running: Running, planned: Planned) -> None:
    """Raise BadInput unless the first training was scored; tell the program's last words."""
    facts = running.facts()
    if facts.scores.get((planned.digest, "predict", 0)):
        return
    result = facts.results.get((planned.digest, "predict", 0))
    role, hint = "predict.py", "; it finds what train.py left in out/, and nothing else of it"
    if result is None:
        result, role, hint = facts.results[planned.digest, "train", 0], "train.py", ""
    log = running.sandbox.store.get(result[0].log).decode(errors="replace").strip().splitlines()
    reasons = "; ".join(facts.failures.get(planned.digest, ()))
    raise BadInput(f"{role} gives no score: {reasons} ({(log or ['no word'])[-1][:200]}){hint}")


def _rank(campaign: Campaign, changed: Sequence[Planned]) -> list[Planned]:
    """Screen changes on feedback, as a study does; return those with a score, best first."""
    return rank(
        [screen(campaign, planned) for planned in changed], campaign.running.config.objective
    )


def _grant_changes(campaign: Campaign, baseline: Planned, count: int) -> Iterator[Planned]:
    """Yield granted plans of single changes of the baseline's marked regions, once each."""
    running = campaign.running
    promote(campaign, baseline)
    files, rng = running.sandbox.store.get_bundle(baseline.plan.bundle), Random(1)
    classes = running.config.task.may_change or CLASS_OF_FILE
    for number in range(count):
        try:
            text, words = mutate(files[FILE].decode(), rng, most=1)
        except BadInput:
            return
        after = {**files, FILE: text.encode()}
        draft = Draft(
            generation=1,
            index=number,
            purpose="candidate",
            parent=baseline.digest,
            change_class=find_class(files, after, classes),
            recipe=baseline.plan.recipe,
            bundle=campaign.store_bundle(after),
            reference=(baseline.plan.bundle, baseline.plan.recipe),
            proposal=Proposal(hypothesis="; ".join(words)[:2000], knobs={}),
        )
        planned = campaign.record(draft)
        if passes_gate(campaign, planned):
            yield planned


def _unmeasured() -> rows.Row:
    return rows.Row(
        check="headroom",
        passed=True,
        value=0.0,
        bound=0.0,
        text="not measured: no region of the file of class patch is marked (# region: NAME)",
    )
