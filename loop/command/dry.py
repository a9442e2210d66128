"""`heirloop run --dry`: what a study would cost and could see, before anything runs."""

from pathlib import Path
from typing import Any

from configs.errors import BadInput
from configs.settings.config import Config
from loop.calibrate.forecast import forecast, list_payable, visible_gain
from loop.command.claims import print_registered
from loop.terminal import print_line, print_table
from sandbox.address import has_ledger


def print_forecast(config: Config) -> None:
    """Print the forecast of a study, and whether it would begin."""
    expected, worst, budget = forecast(config, False), forecast(config, True), config.budget
    rows: list[list[Any]] = [
        ["jobs", expected.jobs, worst.jobs, budget.jobs],
        [
            "CPU-seconds",
            f"{expected.cpu_seconds:.0f}",
            f"{worst.cpu_seconds:.0f}",
            budget.cpu_seconds,
        ],
        ["minutes on this machine", f"{expected.minutes:.1f}", f"{worst.minutes:.1f}", "-"],
        ["money (millionths)", expected.money_micros, worst.money_micros, budget.money_micros],
    ]
    print_table(rows, [f"study {config.study.name}", "expected", "at worst", "budget"], False)
    rows = [[arm, f"{paid} of {rounds}"] for arm, paid, rounds in list_payable(config)]
    print_table(rows, ["arm", "generations that plan and jobs pay for"], False)
    gain, objective = visible_gain(config), config.objective
    sees = f"a true gain of {gain:.2f}" if gain else "no gain up to 1"
    print_line(
        f"a confirmation sees {sees} in {objective.metric} ({objective.scale}) with probability"
        f" {objective.power:g}; smaller gains are mostly missed"
    )
    print_registered(config.study.claims, config.study.repeats, config.study.claim_runs)
    if config.study.warning and not config.study.skill_proposals:
        print_line(
            "the warning sign will read `not evaluable`: without study.skill_proposals no self"
            " effect is measured"
        )
    need_generations(config)
    print_line("nothing ran; the same command without --dry begins it")


def need_generations(config: Config) -> None:
    """Refuse a new study whose plan pays for less than half of its generations, unless told so."""
    begun = has_ledger(Path(config.runs) / config.study.name)
    if config.study.accept_short or begun:
        return
    for arm, paid, rounds in list_payable(config):
        if 2 * paid < rounds:
            raise BadInput(
                f"study.generations is {rounds}, and plan and budget pay for {paid} of them in arm"
                f" {arm}; it should be at most {2 * paid}, or raise study.plan_trainings and"
                " budget.jobs, or say study.accept_short=true"
            )
