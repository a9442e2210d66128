"""`heirloop run`: compose a configuration with Hydra, check it once, run the study to its end or to
what stops it.
"""

from collections.abc import Sequence

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.build import need, parse
from configs.errors import BadInput
from configs.settings.config import Config
from evals.judge import least, spend
from evals.law import LAWS
from loop import settings
from loop.plan import ROOT
from loop.propose.table import proposer, variant
from loop.study import own_files
from loop.study.simulated import law, simulated

LEAST = 16
"""Trials that a notebook starts with at least; from fewer, weights that propose collapse onto one
corner (docs/proposers.md).
"""


def check(composed: DictConfig) -> Config:
    """Return composed values as the typed configuration; raise BadInput naming the field that is
    wrong.
    """
    try:
        raw = own_files.named(OmegaConf.to_object(composed))
        if raw["task"].get("world", "") is None:  # YAML reads the name of world `null` as nothing
            raw["task"]["world"] = "null"
        config = parse(Config, raw)
    except OmegaConfBaseException as error:
        raise BadInput(str(error).splitlines()[0]) from None
    for name in config.arms():
        if variant(name).proposer == "notebook" and not (
            config.task.notebook and config.study.start_trials >= LEAST
        ):
            raise BadInput(
                f"arm {name} proposes from a notebook; it needs task.notebook=true and"
                f" study.start_trials of at least {LEAST}"
            )
        wanted = proposer(name).needs
        if wanted and not any(getattr(config.proposer, one) for one in wanted):
            raise BadInput(
                f"arm {name} needs a setting; give"
                f" {' or '.join(f'proposer.{one}' for one in wanted)}"
            )
    settings.check_simulated(config)
    _outside(config)
    rule, most, level = (
        config.objective.acceptance,
        config.study.confirm_replicates,
        spend(config.objective.alpha, config.confirmations(), ()),
    )
    if least(config.objective, level, most) is None:
        raise BadInput(
            f"study.confirm_replicates is {most}; {rule} at level {level:.2g}"
            f" ({config.objective.alpha:g} over {config.confirmations()} confirmations) cannot"
            " accept within so few pairs, `heirloop power` tells how many it needs"
        )
    return config


def _outside(config: Config) -> None:
    """Refuse an arm that asks an outside model without one, or without a budget for one
    question.
    """
    if not any(proposer(arm).where == "outside" for arm in config.arms()):
        return
    model = config.proposer.llm
    need(model is not None, "proposer.llm", None, "an endpoint; proposer=llm gives one")
    assert model is not None
    least = model.worst(model.prompt_bytes)
    for name in ("tokens", "money_micros"):
        held, wanted = getattr(config.budget, name), getattr(least, name)
        need(
            held >= wanted,
            f"budget.{name}",
            held,
            f"at least {wanted}, the worst case of one question",
        )


def composed(overrides: Sequence[str]) -> Config:
    """Compose a configuration from overrides, without running anything."""
    try:
        with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            return check(compose("config", list(overrides)))
    except (HydraException, OmegaConfBaseException) as error:
        raise BadInput(_one_line(error)) from None


def _one_line(error: BaseException) -> str:
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text[:400]


def check_simulated(config: Config) -> None:
    """Raise BadInput for an unknown world, for arms that need more than a law, and where nobody
    would stand in for a world's people.
    """
    if simulated(config):
        world = config.task.world
        need(world in LAWS, "task.world", world, f"one of {', '.join(LAWS)}")
        waits = config.autonomy.rules.recipe == "approve" and config.reviewer.policy != "people"
        need(
            waits or not law(config).human,
            "autonomy and reviewer",
            [config.autonomy.stage, config.reviewer.policy],
            "autonomy=assisted with a reviewer that stands in, reviewer=scripted or fatigue, in a"
            " world whose people decide",
        )
        for arm in config.arms():
            named = proposer(arm)
            writes = (named.where == "trusted" and arm not in ("evolve", "hostile")) or (
                named.where == "box" and not named.program
            )
            need(
                writes,
                "study.arms",
                arm,
                "planted, random, local, tpe or an arm whose weights propose, in a simulated study",
            )
            need(
                named.where == "trusted" or not law(config).mirrored,
                "study.arms",
                arm,
                "planted, random, local or tpe where arms share their noise: a job that proposes"
                " has a seed of its own",
            )
