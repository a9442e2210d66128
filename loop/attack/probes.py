"""The promises of a box, as probes: programs of the attack catalogue with small limits."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from configs.job import Limits, Outcome

LIMITS = Limits(
    cpu_us=10_000_000,
    wall_us=600_000_000,
    memory_bytes=200_000_000,
    processes=40,
    disk_bytes=8_000_000,
    output_bytes=4_000_000,
)

"""Limits of the probes. A busy machine stretches the wall clock, so it decides nothing here: a
program that does not end by itself passes its CPU limit, or sleeps for half a minute at most.
"""

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
"""Probes that end by themselves, named as in the catalogue. A single job runs them in turn."""


def describe_end(outcome: Outcome, _: Limits) -> str:
    """Tell how a job ended, and when."""
    return f"{outcome.status}: {outcome.detail}, after {outcome.wall_us / 1e6:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A promise with a job of its own."""

    id: str
    "payload of the catalogue"
    promised: str
    "promise in words"
    limits: Limits = LIMITS
    "limits of the job"
    expect: str
    "pattern of `status: detail`"
    figure: Callable[[Outcome, Limits], str] = describe_end
    "measured figure, in words"
    holds: Callable[[Outcome], bool] = lambda _: True
    "further condition on the outcome"


def _used_seconds(outcome: Outcome) -> float:
    return (outcome.cpu_us - outcome.startup_cpu_us) / 1e6


def _describe_cpu_excess(outcome: Outcome, limits: Limits) -> str:
    limit = limits.cpu_us / 1e6
    return f"ended {max(0.0, _used_seconds(outcome) - limit):.3f} s over {limit:.0f} s"


def _describe_delay(outcome: Outcome, limits: Limits) -> str:
    late = max(0, outcome.wall_us - limits.wall_us) / 1e6
    return f"ended {late:.3f} s after {limits.wall_us / 1e6:.0f} s"


def _describe_charge(outcome: Outcome, _: Limits) -> str:
    return f"{_used_seconds(outcome):.2f} s charged ({outcome.charged_by}), 1.2 s burnt"


BY_GROUP = (
    Probe(
        id="S01",
        promised="40 processes; a denied fork ends the job",
        expect="limit: processes",
    ),
    Probe(
        id="S02",
        promised="200 MB over all processes, or the job ends",
        expect="limit: memory",
    ),
)
"""Promises of a control group on processes and memory."""

BY_PROCESS = (
    Probe(
        id="S01",
        promised="48 processes",
        expect="limit: (processes|cpu|wall)",
    ),
    Probe(
        id="D02",
        promised="200 MB a process (no limit over several)",
        expect="(ok|program): ",
    ),
)
"""The same promises of tier C, where each process has a limit of its own."""

EVERYWHERE = (
    Probe(id="S05", promised="4 MB of output, or the job ends", expect="limit: output"),
    Probe(
        id="B07",
        promised="1 s of CPU over all children, then killed",
        limits=replace(LIMITS, cpu_us=1_000_000),
        expect="limit: cpu",
        figure=_describe_cpu_excess,
    ),
    Probe(
        id="B08b",
        promised="1 s by the host's clock, then killed",
        limits=replace(LIMITS, wall_us=1_000_000),
        expect="limit: wall",
        figure=_describe_delay,
    ),
    Probe(id="B08", promised="nothing outlives the job (a setsid child)", expect="ok: "),
    Probe(
        id="B06",
        promised="a double fork is charged",
        expect="ok: ",
        figure=_describe_charge,
        holds=lambda outcome: _used_seconds(outcome) >= 1.0,
    ),
)
"""Promises of every tier."""


def list_probes(tier: str) -> tuple[Probe, ...]:
    """Return the promised limits of a tier."""
    return (*(BY_PROCESS if tier == "C" else BY_GROUP), *EVERYWHERE)
