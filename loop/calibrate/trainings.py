"""Real seed noise for calibration: the same recipes trained over and over through the one door,
each training a line of noise-TASK.jsonl.

It is a study like any other (its own run folder, budget, mandate, ledger), so it resumes where it
was and `heirloop verify` checks it. Refuses to train without a mandate. `heirloop calibrate` and
`heirloop power` call this; the statistics are evals/calibrate.py.
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
from configs.records import JobCount, Proposal
from configs.settings.config import Config
from loop.cycle import Campaign
from loop.measure.replicate import replicate
from loop.plan import make, requested, source
from loop.study.open import Running, open_study
from sandbox import keys
from sandbox.canonical import digest
from sandbox.decision import new_mandate


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
