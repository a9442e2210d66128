"""Name the cause of a namespace box that does not start, and its remedy.

The kernel answers "Operation not permitted" to very different faults, so this asks the machine.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CLOSED = (
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("user.max_user_namespaces", "0", "15000"),
)
"""Setting of the kernel, the value that closes user namespaces, and a value that opens them."""
DENIED = re.compile(r"uid map|new namespace|Operation not permitted|Permission denied|unshare")
CONTAINER_MARKS = (".dockerenv", "run/.containerenv", "run/systemd/container")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The facts on a machine that explain a refusal."""

    root: Path = Path("/")
    "where the machine's files are"

    def read(self, path: str) -> str:
        """Return a small file of the machine, or nothing."""
        try:
            return (self.root / path).read_text().strip()
        except OSError:
            return ""

    def closed_by(self) -> str:
        """Return the settings that close user namespaces, as arguments of sysctl."""
        return " ".join(
            f"{name}={right}"
            for name, wrong, right in CLOSED
            if self.read(f"proc/sys/{name.replace('.', '/')}") == wrong
        )

    def is_container(self) -> bool:
        """Tell whether this is a container's inside, by its marks or by its filter of calls."""
        if any((self.root / mark).exists() for mark in CONTAINER_MARKS):
            return True
        text = self.read("proc/1/status")
        return bool(re.search(r"^Seccomp:\s*2", text, re.M))


def explain_start(errors: str, machine: Machine | None = None) -> str:
    """Return a sentence on a failed start, with its cause and the remedy."""
    machine = machine or Machine()
    last = errors.strip().splitlines()[-1] if errors.strip() else "it ended without a word"
    for fits, sentence in CAUSES:
        if fits(errors, machine):
            closed = machine.closed_by()
            return f"{sentence.format(closed=closed)}, or choose box=docker ({last[:160]})"
    return f"the namespace box does not start: {last[:200]}; `heirloop doctor` tells more"


def _is_hidden_proc(errors: str, machine: Machine) -> bool:
    return "mount proc" in errors and "not permitted" in errors


def _is_group_refused(errors: str, machine: Machine) -> bool:
    return "cgroup.procs" in errors


def _is_closed(errors: str, machine: Machine) -> bool:
    return DENIED.search(errors) is not None and machine.closed_by() != ""


def _is_nested(errors: str, machine: Machine) -> bool:
    return DENIED.search(errors) is not None and machine.is_container()


def _is_denied(errors: str, machine: Machine) -> bool:
    return re.search(r"uid map|new namespace", errors) is not None


CAUSES: tuple[tuple[Callable[[str, Machine], bool], str], ...] = (
    (
        _is_hidden_proc,
        "this runs in a container that hides parts of /proc; start that container with"
        " `--security-opt systempaths=unconfined`",
    ),
    (
        _is_group_refused,
        "the kernel lets no process into the control group of the box; have one delegated"
        " (`systemd-run --user --scope -p Delegate=yes`)",
    ),
    (
        _is_closed,
        "user namespaces are closed on this machine; run `sudo sysctl {closed}`",
    ),
    (
        _is_nested,
        "this runs in a container that forbids namespaces and mounts; start that container with"
        " `--cap-add SYS_ADMIN --security-opt seccomp=unconfined --security-opt"
        " apparmor=unconfined`",
    ),
    (
        _is_denied,
        "user namespaces are closed on this machine, and none of its settings says why; ask who"
        " runs it",
    ),
)
"""Causes in the order of their certainty: whether it fits, and the sentence on it."""
