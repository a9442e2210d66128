"""`heirloop run`: the only entry through Hydra's own command line, sweeps (`-m`) included."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import hydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from configs.errors import BadInput, HeirloopError
from configs.settings.config import Config
from loop.campaign import Say
from loop.command.dry import need_generations, print_forecast
from loop.command.live import View
from loop.facts.facts import Facts
from loop.report.make import publish_report
from loop.report.shape import Report
from loop.report.short import write_answers
from loop.session import execute
from loop.settings import check, compose_settings, one_line
from loop.study.running import Running
from loop.terminal import print_answers
from sandbox.ledger import Ledger


@click.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
@click.option("--dry", is_flag=True, help="Run nothing; print what it would cost and could see.")
@click.pass_context
def run(context: click.Context, dry: bool) -> None:
    """Run a study: heirloop run study=quickstart [group=choice] [field=value] [-m]."""
    if dry:
        print_forecast(compose_settings(context.args))
    else:
        run_with_hydra(context.args)


def run_with_hydra(overrides: Sequence[str]) -> None:
    """Compose settings from overrides and run the study, or each study of a sweep."""
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = ["heirloop run", *overrides]
    failures: list[HeirloopError] = []
    sweeper = os.getpid()

    def task(values: DictConfig) -> None:
        try:
            if not failures:
                run_and_show(check(values))
        except HeirloopError as error:
            if os.getpid() != sweeper:
                raise  # from a process of a launcher, Hydra carries it to this one
            # kept from Hydra, which would print a heading of its own
            failures.append(error)

    try:
        hydra.main(version_base="1.3", config_path="../../configs", config_name="config")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        if "-m" in overrides or "--multirun" in overrides:
            raise BadInput(one_line(error)) from None
        compose_settings(overrides)  # raises the same, with advice
        raise BadInput(one_line(error)) from None
    if failures:
        raise failures[0]


def run_and_show(config: Config) -> None:
    """Run a study with a live view, draw its report, and print what came of it."""
    need_generations(config)
    views: list[View] = []
    reports: list[Report] = []

    def publish(ledger: Ledger, facts: Facts, folder: Path) -> dict[str, Any]:
        state, report = publish_report(ledger, facts, folder)
        reports.append(report)
        return state

    @contextmanager
    def show(running: Running) -> Iterator[Say]:
        with View(running) as view:
            views.append(view)
            yield view.say

    summary = execute(config, publish, show)
    views[0].print_table(summary)
    for report in reports:
        print_answers(write_answers(report))
    views[0].print_end(summary)
