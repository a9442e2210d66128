"""`heirloop doctor`: try every promise of a box on this machine, and report the proved tier.

The probes are programs of the attack catalogue, with small limits. So the doctor promises nothing
that the attacks do not try.
"""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits, Outcome
from evals.attacks.attack import read_payload
from loop.attack.host import Host, find_survivors, open_host
from loop.attack.probes import DENIALS, LIMITS, Probe, describe_end, list_probes
from sandbox.box.base import Box, Execution

RUNNER = """
import os, shutil
def main(i, o):
    for name, program in PARTS.items():
        print(f"\\n== {name}", flush=True)
        space = {}
        exec(compile(program, name, "exec"), space)
        space["main"](i, o)
        print("ENDED", flush=True)
        for folder in ("/tmp", "/out", "/dev/shm"):
            for entry in os.scandir(folder):
                shutil.rmtree(entry.path) if entry.is_dir() else os.unlink(entry.path)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """A box under examination."""

    box: Box
    canaries: Host
    root: Path
    "study folder, hidden from every box"

    @property
    def mark(self) -> str:
        """Name of this box's processes; boxes are examined side by side."""
        return f"{self.canaries.mark}-{self.box.kind[0]}"

    def send(self, program: str, limits: Limits) -> Outcome:
        """Run a probe in the box."""
        code = program.replace(self.canaries.mark, self.mark).encode()
        return self.box.run(
            Execution(
                role="train",
                files={"models/__init__.py": b"", "models/train.py": code, "job.json": b"{}"},
                limits=limits,
                outputs={},
                key="doctor",
                study="doctor",
            )
        )

    def read_program(self, name: str) -> str:
        """Return a payload with the addresses of its targets."""
        return self.canaries.fill_in(read_payload(name), self.root)

    def row(self, probe: str, promised: str, proved: bool, figure: str) -> dict[str, Any]:
        """Return a row; nothing is proved once a canary was reached."""
        return _row(self.box.kind, probe, promised, proved and not self.canaries.reached, figure)


def _row(box: str, probe: str, promised: str, proved: bool, figure: str) -> dict[str, Any]:
    return {"box": box, "probe": probe, "promised": promised, "proved": proved, "figure": figure}


def examine(box: Box, canaries: Host, root: Path) -> list[dict[str, Any]]:
    """Try every promise of a box; return rows {box, probe, promised, proved, figure}."""
    examination = Examination(box=box, canaries=canaries, root=root)
    rows = _try_denials(examination)
    if rows[0]["proved"]:
        rows += [_try_probe(examination, probe) for probe in list_probes(box.tier)]
    return rows


def _try_denials(examination: Examination) -> list[dict[str, Any]]:
    """Run all denials in a single job; the first row tells whether a job runs at all."""
    parts = {name: examination.read_program(name) for name in DENIALS}
    limits = LIMITS
    if examination.box.tier == "C":
        # There the wall time is charged as CPU, and a busy machine stretches it.
        limits = replace(LIMITS, cpu_us=LIMITS.wall_us)
    outcome = examination.send(f"PARTS = {parts!r}\n{RUNNER}", limits)
    if outcome.status == "box":
        return [examination.row("start", "a job runs", False, outcome.detail)]
    log, ending = outcome.log.decode(errors="replace"), f"{outcome.status}: {outcome.detail}"
    printed = dict(re.findall(r"^== (\w+)\n(.*?)(?=^== |\Z)", log, re.M | re.S))
    start = f"{outcome.startup_cpu_us / 1e6:.1f} s of CPU to start"
    rows = [examination.row("start", "a job runs", True, start)]
    for name, promised in DENIALS.items():
        secret = examination.canaries.secret
        proved, figure = _judge_denial(printed.get(name, ""), secret, ending)
        rows.append(examination.row(name, promised, proved, figure))
    return rows


def _judge_denial(text: str, secret: str, ending: str) -> tuple[bool, str]:
    """Return (proved, figure) of a denial from the printed text of its program."""
    lines = text.splitlines()
    successes = [line[8:100] for line in lines if line.startswith("THROUGH")]
    if successes:
        return False, successes[0]
    if secret in text:
        return False, "the secret"
    if "ENDED" not in lines:
        return False, f"it did not finish; {ending}"
    packages = [line.partition(" ")[2] for line in lines if line.startswith("PACKAGES")]
    if packages:
        return True, packages[0]
    denied = sum(line.startswith("denied") for line in lines)
    return True, f"{denied} denied" if denied else "none found"


def _try_probe(examination: Examination, probe: Probe) -> dict[str, Any]:
    """Run one probe in a job of its own, and count the processes left behind."""
    outcome = examination.send(examination.read_program(probe.id), probe.limits)
    matches = re.match(probe.expect, f"{outcome.status}: {outcome.detail}") is not None
    holds = matches and b"THROUGH" not in outcome.log and probe.holds(outcome)
    survivors = find_survivors(examination.mark)
    figure = (probe.figure if holds else describe_end)(outcome, probe.limits)
    if survivors:
        figure += f"; {len(survivors)} left"
    return examination.row(probe.id, probe.promised, holds and not survivors, figure)


Examined = tuple[list[dict[str, Any]], str]
"""Rows of a box, and its tier or an empty string."""


def doctor(
    makers: Mapping[str, Callable[[], Box]], root: Path
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Examine boxes side by side; return the rows of all, and the tier that each box proved.

    `root` is the study folder, hidden from every box. If a box cannot be made, its row holds the
    remedy.
    """
    with open_host() as canaries, ThreadPoolExecutor(len(makers)) as pool:

        def examine_box(name: str) -> Examined:
            return _make_and_examine(name, makers[name], canaries, root)

        examined = list(pool.map(examine_box, makers))
    rows = [row for box_rows, _ in examined for row in box_rows]
    tiers = {name: tier for name, (_, tier) in zip(makers, examined, strict=True) if tier}
    return rows, tiers


def _make_and_examine(name: str, make: Callable[[], Box], canaries: Host, root: Path) -> Examined:
    try:
        box = make()
    except NoBox as error:
        return [_row(name, "start", "a job runs", False, str(error))], ""
    try:
        rows = examine(box, canaries, root)
        return rows, box.tier if all(row["proved"] for row in rows) else ""
    finally:
        box.close()
