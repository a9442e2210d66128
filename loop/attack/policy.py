"""Attacks on the policy of a study: its settings, keys, amendments, orders and recalls.

Each attack opens a study of its own where people hold the gates.
"""

from collections.abc import Callable

from configs.entries import ChampionEntry
from configs.errors import BadInput, Denied, HeirloopError, NeedsHuman
from configs.records import Caps
from loop.attack.attended import PASSPHRASE, AttendedStudy, replace_settings
from loop.attack.gate import REFUSALS
from loop.attack.outcome import GOT_THROUGH, try_act, try_each
from loop.attack.suite import Suite
from loop.people import amend
from loop.people.acts import recall
from loop.people.lines import list_lines
from loop.people.view import view_subject
from loop.settings import compose_settings
from loop.study.open import open_study
from sandbox import control, keys


def resume_with(*changes: str) -> Callable[[Suite], str]:
    """Return an attack: resume a study with each of these settings changed."""

    def attack(suite: Suite) -> str:
        study = suite.open_attended()

        def resume(changed: str) -> object:
            study.release_lock()
            return open_study(
                compose_settings(replace_settings(study.settings, changed)), suite.box
            )

        return try_each(resume, changes, BadInput)

    return attack


def add_late_key(suite: Suite) -> str:
    """Make a key after the study began, resume the study, and sign with the new key."""
    study = suite.open_attended()
    name, late = study.plan(), f"late{study.running.root[:6]}"
    keys.new_key(late, "person", PASSPHRASE)
    study.release_lock()
    open_study(compose_settings(study.settings), suite.box)
    return study.decide(name, study.sign(name, late))


def _amend(study: AttendedStudy) -> None:
    """Amend the study with ada's approval, so that its version rises."""
    name = amend.amend(study.folder, ["budget.jobs=999"], "user carol", "")
    study.admit(study.sign(name))
    study.release_lock()
    amend.apply_amendment(study.folder, name)


def use_old_approval(suite: Suite) -> str:
    """Use an approval from before an amendment."""
    study = suite.open_attended()
    name = study.plan()
    approval = study.sign(name)
    _amend(study)
    return study.decide(name, approval)


def use_old_mandate(suite: Suite) -> str:
    """Use a mandate from before an amendment."""
    caps = Caps(classes=("recipe",), jobs=100, cpu_seconds=100, hours=1)
    study = suite.open_attended("autonomy=autonomous", mandate=caps)
    _amend(study)
    name = study.plan(version=study.gate.memory.rules.version)
    study.gate.admit(study.mandate, "mandate")
    return try_act(lambda: study.gate.authority(name, "recipe"), *REFUSALS)


def use_old_grant(suite: Suite) -> str:
    """Use a grant from before an amendment."""
    study = suite.open_attended()
    grants = study.approve(study.plan())
    _amend(study)
    return try_act(lambda: study.launch(grants["train", 0]), *REFUSALS)


def plan_other_objective(suite: Suite) -> str:
    """Approve and start a plan for another objective."""
    study = suite.open_attended()
    name = study.plan(objective="0" * 64)
    study.admit(study.sign(name))
    return try_act(lambda: study.launch(study.grant(name)["train", 0]), *REFUSALS)


def apply_undecided_amendment(suite: Suite) -> str:
    """Apply an amendment of the objective without any decision on it."""
    study = suite.open_attended()
    changes = ["objective.minimum_effect=0", "objective.alpha=0.5"]
    name = amend.amend(study.folder, changes, "user carol", "quite harmless")
    rows = dict(list_lines(view_subject(study.gate, study.gate.memory.subjects[name])))
    study.release_lock()
    answer = try_act(lambda: amend.apply_amendment(study.folder, name), NeedsHuman)
    if "objective.alpha: 0.05 -> 0.5" not in rows["changes"]:
        return f"{GOT_THROUGH}: the change is not shown"
    return answer


def start_from_recalled(suite: Suite) -> str:
    """Approve a successor of a recalled champion."""
    study = suite.open_attended()
    name = study.plan()
    study.running.ledger.append(ChampionEntry(arm="local", repeat=0, plan=name, generation=1))
    recall(study.folder, name, "user bob", "it cheats")
    child = study.plan(parent=name)
    return study.decide(child, study.sign(child))


def start_from_unaccepted(suite: Suite) -> str:
    """Approve a successor of a plan never made champion."""
    study = suite.open_attended()
    child = study.plan(parent=study.plan())
    return try_act(lambda: study.approve(child), Denied)


def soften_stop(suite: Suite) -> str:
    """Follow an order to stop with weaker orders."""
    study = suite.open_attended()
    grants = study.approve(study.plan())
    control.order(study.running.ledger, "stop", "user bob", "smoke")
    (study.folder / "STOP").unlink(missing_ok=True)
    for order in ("pause", "drill-end", "slow"):
        control.order(study.running.ledger, order, "the loop", "", 9)
    return try_act(lambda: study.launch(grants["train", 0]), HeirloopError)


def resume_alone(suite: Suite) -> str:
    """Let the loop order itself to resume after a stop."""
    study = suite.open_attended()
    grants = study.approve(study.plan())
    control.order(study.running.ledger, "stop", "user bob", "smoke")
    control.order(study.running.ledger, "resume", "the loop", "all is well")
    return try_act(lambda: study.launch(grants["train", 0]), HeirloopError)
