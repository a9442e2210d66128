"""`heirloop doctor`: try every promise of a box on this machine, with small limits, and tell the
tier that holds.

The probes are programs of the attack catalogue, so the doctor promises nothing that the attacks do
not try.
"""

import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Limits, Outcome
from evals.attacks.table import text
from loop.attack.run import Host, host, survivors
from sandbox.box.base import Box, Execution

LIMITS = Limits(
    cpu_us=10_000_000,
    wall_us=15_000_000,
    memory_bytes=200_000_000,
    processes=40,
    disk_bytes=8_000_000,
    output_bytes=4_000_000,
)


SHORT = replace(LIMITS, cpu_us=1_000_000, wall_us=1_000_000)


DENIALS = {
    "E07": "no file of the host",
    "S09": "no network, no DNS",
    "S10": "no socket of the host",
    "S11": "no abstract socket of the host",
    "S14": "no signal reaches outside",
    "S13": "no other process is read or traced",
    "S15": "no inherited descriptor",
    "S16": "no secret in the environment",
    "S22": "no terminal",
    "S12": "no vsock, netlink, io_uring, keys, bpf, perf",
    "S18": "no capability, namespace or mount",
    "S19": "no control group, no /proc/sys",
    "B13": "no limit raised, no other core",
    "B15": "no device",
    "S04d": "nothing written outside /tmp, /out, /dev/shm",
    "S04": "/tmp and /out hold 8 MB each",
    "S03": "/dev/shm holds 8 MB",
    "S04b": "4,096 files in each of them",
    "D01": "no package but the box environment's",
}
"""Probes that end by themselves: one job runs them one after another. Named as in the catalogue."""


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


@dataclass(frozen=True, slots=True)
class Probe:
    """A promise that needs a job of its own."""

    id: str
    promised: str
    limits: Limits
    expect: str
    "pattern of `status: detail`"
    figure: Callable[[Outcome, Limits], str]
    holds: Callable[[Outcome], bool] = lambda _: True
    "what must be true besides"


def _used(o: Outcome) -> float:
    return (o.cpu_us - o.startup_cpu_us) / 1e6


def _over(o: Outcome, most: Limits) -> str:
    return f"ended {max(0.0, _used(o) - most.cpu_us / 1e6):.3f} s over {most.cpu_us / 1e6:.0f} s"


def _late(o: Outcome, most: Limits) -> str:
    return f"ended {max(0, o.wall_us - most.wall_us) / 1e6:.3f} s after {most.wall_us / 1e6:.0f} s"


def _end(o: Outcome, _: Limits) -> str:
    return f"{o.status}: {o.detail}, after {o.wall_us / 1e6:.2f} s"


def probes(tier: str) -> tuple[Probe, ...]:
    """Return the limits that a tier promises."""
    together = Probe(
        "S02", "200 MB over all processes, or the job ends", LIMITS, "limit: memory", _end
    )
    apart = Probe("D02", "200 MB a process (no limit over several)", LIMITS, "(ok|program): ", _end)
    return (
        Probe(
            "S01",
            "40 processes; a denied fork ends the job" if tier != "C" else "48 processes",
            SHORT,
            "limit: processes" if tier != "C" else "limit: (processes|cpu|wall)",
            _end,
        ),
        apart if tier == "C" else together,
        Probe("S05", "4 MB of output, or the job ends", LIMITS, "limit: output", _end),
        Probe(
            "B07",
            "1 s of CPU over all children, then killed",
            replace(SHORT, wall_us=15_000_000),
            "limit: cpu",
            _over,
        ),
        Probe(
            "B08b",
            "1 s by the host's clock, then killed",
            replace(SHORT, cpu_us=10_000_000),
            "limit: wall",
            _late,
        ),
        Probe("B08", "nothing outlives the job (a setsid child)", LIMITS, "ok: ", _end),
        Probe(
            "B06",
            "a double fork is charged",
            LIMITS,
            "ok: ",
            lambda o, _: f"{_used(o):.2f} s charged ({o.charged_by}), 1.2 s burnt",
            lambda o: _used(o) >= 1.0,
        ),
    )


def examine(box: Box, canaries: Host, root: Path) -> list[dict[str, Any]]:
    """Try every promise of a box; return rows {box, probe, promised, proved, figure}."""
    marked = f"{canaries.mark}-{box.kind[0]}"

    def send(program: str, most: Limits) -> Outcome:
        code = program.replace(canaries.mark, marked).encode()
        return box.run(
            Execution(
                role="train",
                files={"models/__init__.py": b"", "models/train.py": code, "job.json": b"{}"},
                limits=most,
                outputs={},
                key="doctor",
                study="doctor",
            )
        )

    def row(probe: str, promised: str, proved: bool, figure: str) -> dict[str, Any]:
        return {
            "box": box.kind,
            "probe": probe,
            "promised": promised,
            "proved": proved and not canaries.reached,
            "figure": figure,
        }

    parts = {name: canaries.told(text(name), root) for name in DENIALS}
    outcome = send(f"PARTS = {parts!r}\n{RUNNER}", LIMITS)
    if outcome.status == "box":
        return [row("start", "a job runs", False, outcome.detail)]
    said = dict(
        re.findall(
            r"^== (\w+)\n(.*?)(?=^== |\Z)", outcome.log.decode(errors="replace"), re.M | re.S
        )
    )
    rows = [
        row("start", "a job runs", True, f"{outcome.startup_cpu_us / 1e6:.1f} s of CPU to start")
    ]
    for name, promised in DENIALS.items():
        rows.append(
            row(
                name,
                promised,
                *_denied(
                    said.get(name, ""), canaries.secret, f"{outcome.status}: {outcome.detail}"
                ),
            )
        )
    for one in probes(box.tier):
        ended = send(canaries.told(text(one.id), root), one.limits)
        fine = (
            re.match(one.expect, f"{ended.status}: {ended.detail}") is not None
            and b"THROUGH" not in ended.log
            and one.holds(ended)
        )
        left = survivors(marked)
        figure = one.figure(ended, one.limits) if fine else _end(ended, one.limits)
        rows.append(
            row(
                one.id,
                one.promised,
                fine and not left,
                figure + (f"; {len(left)} left" if left else ""),
            )
        )
    return rows


def _denied(said: str, secret: str, ended: str) -> tuple[bool, str]:
    """Return (proved, figure) of one denial from what its program printed."""
    lines = said.splitlines()
    through = [line for line in lines if line.startswith("THROUGH")] or (
        ["THROUGH the secret"] if secret in said else []
    )
    if through or "ENDED" not in lines:
        return False, through[0][8:100] if through else f"it did not finish; {ended}"
    packages = [line.partition(" ")[2] for line in lines if line.startswith("PACKAGES")]
    denied = sum(line.startswith("denied") for line in lines)
    return True, packages[0] if packages else f"{denied} denied" if denied else "none found"


def doctor(
    makes: Mapping[str, Callable[[], Box]], root: Path
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Examine each box that starts here, side by side; return the rows and the tier that each box
    proved.

    `root` is the study folder that no box may see. A box that cannot be made is a row that holds
    the remedy.
    """
    with host() as canaries, ThreadPoolExecutor(len(makes)) as pool:

        def one(name: str) -> tuple[list[dict[str, Any]], str]:
            try:
                box = makes[name]()
            except NoBox as error:
                return [
                    {
                        "box": name,
                        "probe": "start",
                        "promised": "a job runs",
                        "proved": False,
                        "figure": str(error),
                    }
                ], ""
            try:
                rows = examine(box, canaries, root)
                return rows, box.tier if all(r["proved"] for r in rows) else ""
            finally:
                box.close()

        found = list(pool.map(one, makes))
    return [row for rows, _ in found for row in rows], {
        name: tier for name, (_, tier) in zip(makes, found, strict=True) if tier
    }
