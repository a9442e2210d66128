"""Studies of trainings alone: fixed recipes, each trained and scored many times.

Such a study goes through the same gate, budget and ledger as every other. noise.py and task.py
open it with `open_trainings` and call `train`.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import plain
from configs.errors import Denied, HeirloopError
from configs.recipe import Recipe
from configs.records import CONFIRM, JobCount, Plan, Proposal
from configs.settings.config import Config
from loop.campaign import Campaign, passes_gate
from loop.measure.jobs import Replicate
from loop.measure.replicate import measure
from loop.plan import Draft, Planned, make_plan, worst_case
from loop.study.open import open_study
from loop.study.running import Running
from sandbox import keys
from sandbox.canonical import digest
from sandbox.files import replace_file
from sandbox.unsigned import new_mandate


@contextmanager
def open_trainings(
    config: Config, recipes: Mapping[str, Recipe], counts: Mapping[str, int], unattended: bool
) -> Iterator[tuple[Running, dict[str, Planned]]]:
    """Open a study of trainings; yield it with the granted plan of each recipe, by kind."""
    if unattended:
        sign_mandate(config)
    running = open_study(config)
    try:
        plans = {}
        for number, (kind, recipe) in enumerate(recipes.items()):
            plans[kind] = grant_plan(running, number, kind, recipe, counts[kind])
        yield running, plans
    finally:
        running.stopped = True
        running.sandbox.box.close()
        running.checkpoint()


def budget_for(trainings: int, cpu_seconds: int, classes: str = "recipe") -> list[str]:
    """Return the overrides of budget and mandate caps for a number of trainings.

    The mandate covers plans of `classes`.
    """
    jobs = 3 * trainings
    return [
        f"budget.cpu_seconds={cpu_seconds}",
        f"budget.jobs={jobs}",
        f"budget.wall_seconds={60 * trainings}",
        f"budget.output_mib={2 * trainings + 64}",
        (
            f"gates.unattended={{classes: [{classes}], jobs: {jobs}, cpu_seconds: {cpu_seconds},"
            " hours: 24, drift: 40, per_hour: 1000}"
        ),
    ]


def train(
    running: Running,
    plans: Mapping[str, Planned],
    wanted: Mapping[str, range],
    say: Callable[[str], None],
    write: Callable[[], object] = lambda: None,
) -> None:
    """Train and score the missing replicates of `wanted`, numbers per kind, side by side.

    All kinds grow alike. `write` is called after every ten trainings.
    """
    slots = [(kind, index) for kind in wanted for index in wanted[kind]]
    slots.sort(key=lambda slot: (slot[1] - wanted[slot[0]].start) / len(wanted[slot[0]]))

    def measure_slot(slot: tuple[str, int]) -> None:
        kind, index = slot
        _measure(running, plans[kind], index)

    with ThreadPoolExecutor(running.config.box.parallel) as pool:
        for done, _ in enumerate(pool.map(measure_slot, slots), 1):
            say(f"{done} of {len(slots)} trainings")
            if done % 10 == 0:
                write()


def _measure(running: Running, planned: Planned, index: int) -> None:
    try:
        if not running.stopped:
            measure(running, Replicate(planned=planned, index=index), CONFIRM, None)
    except HeirloopError:
        running.stopped = True
        raise


def grant_plan(running: Running, number: int, kind: str, recipe: Recipe, count: int) -> Planned:
    """Record the plan of one recipe and pass its gate, once.

    A recorded plan goes on with the bytes that it began with.
    """
    campaign = Campaign(running, running.config.arms()[0], 0, None, lambda _: None)
    recorded = running.facts().at.get((campaign.arm, 0, 0, number))
    name = recorded if isinstance(recorded, str) else ""
    if name and running.facts().plans[name].recipe == recipe:
        planned = campaign.planned(name)
    else:
        planned = campaign.record_plan(_make_plan(campaign, number, kind, recipe, count))
    if not passes_gate(campaign, planned):
        refused = running.gate.refresh().memory.refused[planned.digest, "recipe"]
        raise Denied(f"the noise of the {kind} recipe cannot be measured: {refused}")
    return planned


def _make_plan(campaign: Campaign, number: int, kind: str, recipe: Recipe, count: int) -> Plan:
    running = campaign.running
    jobs = (JobCount(role="train", count=count), JobCount(role="predict", count=count))
    draft = Draft(
        generation=0,
        index=number,
        purpose="baseline",
        recipe=recipe,
        bundle=campaign.pristine_bundle(),
        proposal=Proposal(hypothesis=f"seed noise of the {kind} recipe", knobs={}),
        jobs=jobs,
    )
    plan = make_plan(
        running.config,
        draft,
        study=running.gate.memory.rules.study,
        version=running.gate.memory.rules.version,
        arm=campaign.arm,
        repeat=0,
    )
    return replace(plan, requested=worst_case(running.config, jobs))


def read_scores(running: Running, plans: Mapping[str, Planned]) -> Iterator[dict[str, Any]]:
    """Yield {kind, number, exact_match, cpu_us} of every replicate that was trained and scored."""
    kinds = {planned.digest: kind for kind, planned in plans.items()}
    rows = sorted(running.facts().scores.copy().items(), key=lambda row: (row[0][0], row[0][2]))
    for (name, role, index), scores in rows:
        if name in kinds and role == "predict" and scores:
            yield {
                "kind": kinds[name],
                "number": index,
                "exact_match": scores.exact_match,
                **({"nll": scores.nll} if running.config.task.metric() == "nll" else {}),
                **({} if scores.bits is None else {"bits": scores.bits}),
                "cpu_us": scores.measured_cpu_us,
            }


def sign_mandate(config: Config) -> None:
    """Give the study the unattended mandate that its own caps allow, once."""
    folder = keys.home() / "mandates"
    if keys.find_mandates(config.study.name) or config.gates.unattended is None:
        return
    key = Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    mandate = new_mandate(
        config, config.gates.unattended, "unattended", "unattended", keys.public_hex(key)
    )
    path = folder / f"{config.study.name}-{digest(mandate)[:16]}.json"
    replace_file(path, keys.sign(plain(mandate), key, "mandate"))
