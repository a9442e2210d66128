"""Compose the settings of a study with Hydra, and check them once.

After `check` the settings are typed and frozen; nothing later handles composed values.
"""

from collections.abc import Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from configs.arms import EVOLVE, variant
from configs.build import need, parse
from configs.errors import BadInput
from configs.metrics import ON_TABLE
from configs.objective import Objective
from configs.records import AGENT
from configs.settings.config import Config
from evals.judge import least, spend
from evals.planted import LAWS
from evals.rules import MOST_PATTERNS
from evals.table import PLANNED
from loop.plan import ROOT
from loop.propose.table import PROPOSERS, proposer, study_asks_outside
from loop.study import own_files
from loop.study.overrides import help_with
from loop.study.simulated import law, planted
from loop.study.tab_file import read_about
from loop.study.workers import list_cores
from sandbox.address import need_url
from sandbox.remote_store import need_store_url

MOST_PAIRS = 20
"""Most pairs tried for a rule that cannot accept within the study's."""
FEWEST_START_TRIALS = 8
"""Fewest trials at the start of a notebook. From fewer, proposing weights collapse onto a single
corner (docs/proposers.md).
"""


def compose_settings(overrides: Sequence[str]) -> Config:
    """Compose settings from overrides, without running anything."""
    with initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
        try:
            return check(compose("config", list(overrides)))
        except (HydraException, OmegaConfBaseException, BadInput) as error:
            raise explain(error, overrides) from None


def explain(error: Exception, overrides: Sequence[str]) -> BadInput:
    """Return the error of a composition, with the override that was meant where one is near."""
    refusal = error if isinstance(error, BadInput) else BadInput(one_line(error))
    refusal.advice = refusal.advice or help_with(overrides)
    return refusal


def check(values: DictConfig) -> Config:
    """Return composed values as typed settings; raise BadInput with the name of the wrong field."""
    try:
        raw = own_files.pin_files(_fill_in_cores(OmegaConf.to_object(values)))
        if raw["task"].get("world", "") is None:
            # YAML reads the name of world `null` as nothing.
            raw["task"]["world"] = "null"
        config = parse(Config, raw)
    except OmegaConfBaseException as error:
        raise BadInput(str(error).splitlines()[0]) from None
    if config.ledger:
        need_url(config.ledger)
    if config.store:
        need_store_url(config.store)
    _check_tabulated(config)
    _check_program(config)
    _check_device(config)
    _check_launcher(config)
    for arm in config.arms():
        _check_arm(config, arm)
    check_simulated(config)
    _check_outside_model(config)
    _check_confirmations(config)
    return config


def _fill_in_cores(raw: Any) -> Any:
    """Write the cores that this process may use in the place of 0 workers."""
    if repr(raw["box"].get("parallel")) == "0":
        raw["box"]["parallel"] = min(256, len(list_cores()))
    return raw


def _check_arm(config: Config, arm: str) -> None:
    """Refuse an arm without the settings for its proposer, or without a box for its doors."""
    doors = config.proposer.door_trials(arm) or config.proposer.door_calls(arm)
    right = "empty, or proposer.trials=0 and proposer.calls=0: that runtime has no doors"
    need(not config.box.runtime or not doors, "box.runtime", config.box.runtime, right)
    wanted = proposer(arm).needs
    enough = config.task.notebook and config.study.start_trials >= FEWEST_START_TRIALS
    if variant(arm).proposer == "notebook" and not enough:
        raise BadInput(
            f"arm {arm} proposes from a notebook; it needs task.notebook=true and"
            f" study.start_trials of at least {FEWEST_START_TRIALS}"
        )
    if proposer(arm).program and variant(arm).proposer != AGENT:
        folder = config.proposer.folder
        need(
            not folder, "proposer.folder", folder, f"empty: arm {arm} runs a file; agents have one"
        )
    if variant(arm).programs and config.proposer.door_trials(arm):
        right = f"rounded: the trials of arm {arm} answer questions about several parents"
        need(config.objective.feedback == "rounded", "objective.feedback", "ladder", right)
    if wanted and not any(getattr(config.proposer, name) for name in wanted):
        names = " or ".join(f"proposer.{name}" for name in wanted)
        raise BadInput(f"arm {arm} needs a setting; give {names}")


def check_simulated(config: Config) -> None:
    """Refuse a simulated study of an unknown world, or with unsupported arms or people."""
    if not planted(config):
        return
    world = config.task.world
    need(world in LAWS, "task.world", world, f"one of {', '.join(LAWS)}")
    stands_in = config.autonomy.rules["recipe"] == "approve" and config.reviewer.policy != "people"
    need(
        stands_in or not law(config).human,
        "autonomy and reviewer",
        [config.autonomy.stage, config.reviewer.policy],
        "autonomy=assisted with a reviewer that stands in, reviewer=scripted or fatigue, in a"
        " world whose people decide",
    )
    for arm in config.arms():
        _check_simulated_arm(config, arm)


def _check_simulated_arm(config: Config, arm: str) -> None:
    way = proposer(arm)
    from_program = way.where == "trusted" and variant(arm).proposer not in (
        EVOLVE,
        "hostile",
        "reseed",
    )
    from_weights = way.where == "box" and not way.program
    need(
        from_program or from_weights,
        "study.arms",
        arm,
        "planted, random, local, tpe or an arm whose weights propose, in a simulated study",
    )
    need(
        way.where == "trusted" or not law(config).mirrored,
        "study.arms",
        arm,
        "planted, random, local or tpe where arms share their noise: a job that proposes has a"
        " seed of its own",
    )


def _check_tabulated(config: Config) -> None:
    """Refuse what a table of recorded trainings cannot answer."""
    if not config.task.table:
        return
    for arm in config.arms():
        way = proposer(arm)
        if variant(arm).proposer == "notebook":
            _check_proposing_weights(config, arm)
        need(
            (not way.program or bool(variant(arm).programs))
            and variant(arm).proposer not in ("hostile", "planted"),
            "study.arms",
            arm,
            "an arm that needs no program of people's own in a box, in a study on a table",
        )
        _check_level(config, arm)
    objective = config.objective
    conditions = (*objective.secondary, *objective.constraints)
    used = {objective.metric, *(condition.metric for condition in conditions)}
    other = sorted(used - ON_TABLE)
    need(not other, "objective.metric", other, f"metrics of a table: {', '.join(sorted(ON_TABLE))}")


def _check_program(config: Config) -> None:
    """Refuse what needs a recipe, in a study of a training program of people's own."""
    if not config.task.folder:
        return
    right = ", ".join(name for name, way in PROPOSERS.items() if way.edits)
    for arm in config.arms():
        need(proposer(arm).edits, "study.arms", arm, f"one of {right} with task program")
    trials = config.study.start_trials
    need(not trials, "study.start_trials", trials, "0 with task program")


def _check_device(config: Config) -> None:
    """Refuse a device for our own programs, which use none, and one without GPU-seconds."""
    gpu, device = config.budget.gpu, config.box.device
    need(
        device == "cpu" or bool(config.task.folder),
        "box.device",
        device,
        "cpu without task program",
    )
    if device == "cuda":
        right = "{seconds: 3600, train: 60, predict: 20}, or box.device=cpu"
        need(gpu is not None, "budget.gpu", gpu, right)
    need(device == "cuda" or gpu is None, "budget.gpu", gpu, "null with box.device=cpu")


def _check_launcher(config: Config) -> None:
    """Refuse what the nodes of a cluster do not have: an agent's doors, a device, own packages."""
    if config.launcher.kind == "local":
        return
    box, right = config.box, "without launcher=ray"
    need(not config.task.format().stand_in(), "launcher", "ray", "local: no job is executed")
    need(box.device == "cpu", "box.device", box.device, f"cuda {right}")
    need(not box.environment, "box.environment", box.environment, f"given {right}")
    for arm in config.arms():
        doors = config.proposer.door_trials(arm) or config.proposer.door_calls(arm)
        need(not doors, f"arm {arm}", "an agent with doors", f"asked {right}")
    need(not config.factory.any(), "factory", "a service with a door", f"asked {right}")


def _check_level(config: Config, arm: str) -> None:
    """Refuse an arm with more compute than the table has a level for."""
    if config.compute(arm) == config.task.planned_cpu_us:
        return
    levels = [level for level in read_about(config.task.table).levels if level > PLANNED]
    factor, listed = config.study.factor("compute"), ", ".join(f"{x:g}" for x in levels)
    right = f"a larger level of the table for arm {arm}: {listed or 'none'}"
    need(factor in levels, "study.raised.compute", factor, right)


def _check_proposing_weights(config: Config, arm: str) -> None:
    """Refuse weights that propose without a notebook in the table, or without compute for them."""
    if not config.task.notebook:
        raise BadInput(
            f"arm {arm} proposes from a notebook, and the trainings of table {config.task.table}"
            " had none; build a table whose design has baseline.notebook and chance_rows above 0"
        )
    least = 2 * config.compute(arm)
    need(
        config.budget.propose.cpu_us >= least,
        "budget.propose.cpu_us",
        config.budget.propose.cpu_us,
        f"at least {least}: the job trains the weights that propose, and lets them propose",
    )


def _check_outside_model(config: Config) -> None:
    """Refuse a study that asks an outside model without one, or without budget for a question."""
    if not study_asks_outside(config):
        return
    model = config.proposer.llm
    need(model is not None, "proposer.llm", None, "an endpoint; proposer=llm gives one")
    assert model is not None
    question = model.worst(model.prompt_bytes)
    for name in ("tokens", "money_micros"):
        budget, wanted = getattr(config.budget, name), getattr(question, name)
        right = f"at least {wanted}, the worst case of one question"
        need(budget >= wanted, f"budget.{name}", budget, right)


def _check_confirmations(config: Config) -> None:
    """Refuse an acceptance rule unable to judge so many pairs, or to accept within them."""
    objective, pairs = config.objective, config.study.confirm_replicates
    most = MOST_PATTERNS if objective.acceptance == "group_sequential" else 1000
    for name in ("confirm_replicates", "final_replicates", "larger_replicates"):
        count = getattr(config.study, name)
        limit = f"at most {most} with group_sequential; sign_flip has no such limit"
        need(count <= most, f"study.{name}", count, limit)
    confirmations = max(map(config.confirmations, ("", *config.arms())))
    level = spend(objective.alpha, confirmations, ())
    if least(objective, level, pairs) is None:
        raise BadInput(
            f"study.confirm_replicates is {pairs}; {objective.acceptance} at level {level:.2g}"
            f" ({objective.alpha:g} over {confirmations} confirmations) cannot"
            f" accept within so few pairs; {_more_pairs(objective, level, pairs)}"
        )


def _more_pairs(objective: Objective, level: float, pairs: int) -> str:
    """Return the fewest pairs with which a rule can accept, as a setting to type."""
    enough = (most for most in range(pairs + 1, MOST_PAIRS + 1) if least(objective, level, most))
    fewest = next(enough, 0)
    if fewest:
        return f"study.confirm_replicates={fewest} is the least that can"
    return f"no number up to {MOST_PAIRS} can: take fewer generations or a larger objective.alpha"


def one_line(error: BaseException) -> str:
    """Return an error of a library as a single line of at most 400 characters."""
    lines = (line.strip() for line in str(error).splitlines())
    return " ".join(line for line in lines if line)[:400]
