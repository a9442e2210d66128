"""Advice: the commands that help after an error, typed for this very run.

Example: `heirloop resume runs/mine`. Each stands in backquotes and can be pasted; NAME, WHY and
FILE stand for words of the reader's own. Begin with `advise`.
"""

import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.build import plain
from configs.errors import BudgetExhausted, Denied, HeirloopError, Interrupted, NeedsHuman
from configs.records import ACTS, CHANGE_CLASSES
from configs.settings.config import Config
from sandbox import keys
from sandbox.budget import UNATTENDED, look_account
from sandbox.gate import Gate, Halted
from sandbox.gate.decide import decide, find_rule
from sandbox.gate.quorum import names

INBOX = "http://127.0.0.1:8321"
"""Address of the inbox, where `heirloop inbox` is given no other."""
AGAIN = "the same command goes on where it was"
STANDING = ("recipe", "propose", "promote")
"""Classes that a study of recipes needs, as far as its rules take a mandate for them."""
SETTINGS = {
    "cpu_us": "cpu_seconds",
    "wall_us": "wall_seconds",
    "jobs": "jobs",
    "output_bytes": "output_mib",
    "tokens": "tokens",
    "money_micros": "money_micros",
}
"""Resource of an account -> its setting in group `budget`."""


def advise(error: HeirloopError, gate: Gate, folder: Path) -> None:
    """Give an error of a run the commands that help, once."""
    if error.advice or isinstance(error, Denied):
        return
    if isinstance(error, Halted | Interrupted):
        error.advice = to_resume(folder) if gate.refresh().memory.halted else AGAIN
    elif isinstance(error, BudgetExhausted):
        error.advice = to_pay(gate.refresh(), folder, error)
    elif isinstance(error, NeedsHuman) and error.question[0]:
        error.advice = to_decide(gate.refresh(), folder, *error.question)


def describe_wait(gate: Gate, folder: Path, error: NeedsHuman) -> str:
    """Return the line of a loop that waits for people: the plan, the commands, the inbox."""
    gates, runs = gate.memory.rules.config.gates, quote(folder.parent)
    commands = to_decide(gate.refresh(), folder, *error.question)
    return (
        f"{error}; waits up to {gates.patience_seconds / 60:.0f} minutes: {commands}; or decide in"
        f" a browser, `heirloop inbox {runs}` serves {INBOX}"
    )


@contextmanager
def advising(gate: Gate, folder: Path) -> Iterator[None]:
    """Advise on the errors of the block."""
    try:
        yield
    except HeirloopError as error:
        advise(error, gate, folder)
        raise


def to_resume(folder: Path) -> str:
    """Return the clause that lets a held study go on."""
    return f"`heirloop resume {quote(folder)}` lets it go on"


def to_decide(gate: Gate, folder: Path, subject: str, change_class: str) -> str:
    """Return the clause with the commands for a yes to a subject, as this study takes a yes."""
    memory, place = gate.memory, quote(folder)
    rule, voters = find_rule(memory, change_class), list_voters(gate, change_class)
    if decide(memory, gate.moment(), subject, change_class).cooling_off:
        return AGAIN
    if rule == "deny":
        setting = f"autonomy.rules.{change_class}"
        return _to_amend(gate, folder, [f"{setting}=approve"]) + f", since {setting} is deny"
    clauses = []
    if rule == "mandate" and not _covered(gate, subject, change_class):
        clauses += _to_grant(memory.rules.config, place, change_class, voters)
    if voters:
        option = f" --as {change_class}" if change_class in ACTS else ""
        key = voters[0] if len(voters) == 1 else "NAME"
        command = f"heirloop approve {subject[:12]}{option} --run {place} --key {key} --reason WHY"
        clauses.append(f"`{command}` gives one decision")
    return "; or ".join(clauses) if clauses else _without_voters(gate)


def list_voters(gate: Gate, change_class: str) -> list[str]:
    """Return the names of the pinned keys that may vote on a class, the stand-in left out."""
    policy, quorum = gate.memory.rules.config.reviewer.policy, gate.wanted(change_class)
    revoked = keys.revoked()
    return [
        half.name
        for half in gate.memory.rules.reviewers
        if half.name != keys.STAND_IN
        and half.public not in revoked
        and names(quorum, half.name, half.kind, policy)
    ]


def standing_classes(config: Config) -> tuple[str, ...]:
    """Return the classes of a mandate with which a study does not stop at its first proposal."""
    caps, rules = config.gates.unattended, config.autonomy.rules
    wanted = caps.classes if caps else STANDING
    return tuple(name for name in wanted if rules[name] == "mandate")


def _covered(gate: Gate, subject: str, change_class: str) -> bool:
    """Tell whether another mandate would change nothing: one lives, or none may promote this."""
    plan = gate.memory.plans.get(subject)
    if change_class == "promote" and plan is not None and gate.computable(plan):
        return True
    lives = gate.live_mandates().values()
    return any(change_class in mandate.caps.classes for mandate in lives)


def _to_grant(config: Config, place: str, change_class: str, voters: list[str]) -> list[str]:
    """Return the clause with the command for a mandate that covers a class, if people may sign."""
    may_cover: set[str] = {name for name, one in CHANGE_CLASSES.items() if one.mandate}
    if change_class not in may_cover:
        return []
    caps = config.gates.unattended
    if caps and change_class in caps.classes:
        return [f"`heirloop mandate grant --unattended --run {place}` gives a mandate"]
    if not voters:
        return []
    key = voters[0] if len(voters) == 1 else "NAME"
    classes = standing_classes(config)
    option = "" if change_class in classes else f" --classes {','.join((*classes, change_class))}"
    return [f"`heirloop mandate grant --key {key}{option} --run {place}` gives a mandate"]


def to_pay(gate: Gate, folder: Path, error: BudgetExhausted) -> str:
    """Return the clause with the command for more of what accounts have too little of."""
    changes = [
        f"{setting}={2 * value if value else 1}"
        for setting, value in _list_settings(gate.memory.rules.config, error)
    ]
    if not changes:
        return ""
    return _to_amend(gate, folder, list(dict.fromkeys(changes)))


def _list_settings(config: Config, error: BudgetExhausted) -> Iterator[tuple[str, int]]:
    """Yield the settings behind the short accounts, with their present values."""
    budget, caps = plain(config.budget), plain(config.gates.unattended)
    looks = {look_account(split): split for split in budget["looks"]}
    setting = SETTINGS.get(error.resource, "")
    for account in error.short:
        if account in looks:
            yield f"budget.looks.{looks[account]}", budget["looks"][looks[account]]
        elif account == UNATTENDED and caps and setting in caps:
            yield f"gates.unattended.{setting}", caps[setting]
        elif setting and not account.startswith("grant:"):
            yield f"budget.{setting}", budget[setting]


def _to_amend(gate: Gate, folder: Path, changes: Iterable[str]) -> str:
    """Return the clause that proposes other settings, or says that nobody can decide on them."""
    if not list_voters(gate, "amend"):
        return f"{_without_voters(gate)}; begin it with {' '.join(changes)}"
    return f"`heirloop amend {quote(folder)} {' '.join(map(shlex.quote, changes))}` proposes more"


def _without_voters(gate: Gate) -> str:
    pinned = [half.name for half in gate.memory.rules.reviewers if half.name != keys.STAND_IN]
    who = "none of the keys pinned here may decide" if pinned else "no key is pinned here"
    return (
        f"{who}, so nobody can say yes: `heirloop keys new NAME` makes a key, and a study with"
        " another study.name pins it"
    )


def quote(folder: Path) -> str:
    """Return a folder as it is typed in a shell."""
    return shlex.quote(str(folder))
