"""`heirloop check FILE`: run a person's own task, gate or proposer on a small example.

It says in a sentence what is wrong, before a study rests on the file. A task and a gate run in a
bounded child process, a proposer in a box. Nothing is recorded and nothing is trained.
"""

import ast
from collections.abc import Callable
from typing import Any, cast

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput, VerificationFailed
from configs.history import History, Trial
from configs.recipe import Recipe, grid, knob_values
from configs.records import Amount, JobCount, Plan, Proposal
from evals.data import held_out
from loop.plan import Change, apply_proposal, source
from loop.propose.history import write_history
from loop.propose.limit import list_different
from loop.settings import compose_settings
from loop.study.launch import make_box
from sandbox import own
from sandbox.box.base import Execution
from sandbox.decision import list_regions
from sandbox.run import OUTPUTS

Facts = dict[str, Any]
"""What was seen, for people."""
WANTED = 3
"""Proposals that the example asks for."""
WIDTHS = (32, 96, 128)
"""Widths of the plans about which a gate is asked."""


def check_own(path: str, kind: str = "") -> Facts:
    """Run a file on an example of its kind: task, gate or proposer; return what it did.

    Without `kind` the names that the file defines tell. Raises BadInput or VerificationFailed with
    the file's mistake.
    """
    data = own.read(path, "FILE", own.MOST_BYTES)
    kind = kind or _guess(data, path)
    need(kind in CHECKS, "--as", kind, f"one of {', '.join(CHECKS)}")
    own.name(path, "FILE")  # a person named it here, so it may run here
    return {"kind": kind, **CHECKS[kind](path)}


def _guess(data: bytes, path: str) -> str:
    """Return the kind of a file by the functions that it defines."""
    try:
        body = ast.parse(data).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise BadInput(f"FILE is {path!r}, which is no Python: {error}") from None
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    return "task" if "items" in names else "gate" if "gate" in names else "proposer"


def _check_task(path: str) -> Facts:
    pin = own.name(path, "FILE")
    sizes, data = own.items(pin)
    if own.items(pin) != (sizes, data):
        raise VerificationFailed(
            "items() gives other rows when it is asked again; it should give the same ones"
        )
    config = compose_settings(["task=custom", f"task.file={path}"])
    held_out(config.task.format(), b"example")
    return {**sizes, "next": f"`heirloop task check {path}` measures its worth"}


def _check_gate(path: str) -> Facts:
    pin, answers = own.name(path, "FILE"), Facts()
    for width in WIDTHS:
        for change_class in ("recipe", "promote"):
            plan = cast(Facts, plain(_example_plan(width)))
            reason = own.refusal(pin, plan, change_class)
            if reason.startswith("gates.file gave no"):
                raise BadInput(f"{reason}, for a plan of width {width} and class {change_class}")
            if own.refusal(pin, plan, change_class) != reason:
                raise VerificationFailed(
                    f"gate() answers otherwise when it is asked again, after {reason!r}; it should"
                    " answer from the plan alone"
                )
            answers[f"width {width}, {change_class}"] = reason or "nothing to say"
    return answers


def _example_plan(width: int) -> Plan:
    return Plan(
        study="0" * 64,
        version=1,
        arm="example",
        repeat=0,
        generation=1,
        index=0,
        purpose="candidate",
        parent="0" * 64,
        change_class="recipe",
        changed={"width": width},
        recipe=parse(Recipe, {**plain(Recipe()), "width": width}),
        hypothesis="an example",
        predicted_gain=0.1,
        bundle="0" * 64,
        reference="",
        reference_recipe=None,
        reference_steps=0,
        objective="0" * 64,
        steps=1000,
        planned_cpu_us=2_500_000,
        jobs=(JobCount(role="train", count=1), JobCount(role="predict", count=1)),
        requested=Amount(),
    )


def _check_proposer(path: str) -> Facts:
    config = compose_settings(["study=single", "proposer=command", f"proposer.file={path}"])
    history = _example_history(config.study.most_changes)
    files = {
        **source(),
        "program": own.read(path, "FILE", own.MOST_BYTES),
        "history.json": write_history(history),
        "job.json": b"{}",
    }
    box = make_box(config)
    try:
        result = box.run(
            Execution(
                role="propose",
                files=files,
                limits=config.budget.propose,
                outputs=OUTPUTS["propose"],
            )
        )
    finally:
        box.close()
    if result.status != "ok":
        raise BadInput(
            f"FILE is {path!r}; it ended in the box with {result.status}: {result.detail}"
        )
    lines = result.files["proposals.jsonl"].decode(errors="replace").splitlines()
    need(len(lines) >= WANTED, "proposals of FILE", len(lines), f"at least {WANTED}, one a line")
    return {
        f"proposal {number}": _read_proposal(number, line, history)
        for number, line in enumerate(lines[:WANTED], 1)
    }


def _read_proposal(number: int, line: str, history: History) -> str:
    try:
        change = apply_proposal(history.champion, source(), parse(Proposal, strict_json(line)))
    except BadInput as error:
        raise BadInput(f"proposal {number} of FILE cannot be used: {error}") from None
    _need_few_changes(number, history, change)
    before, after = knob_values(history.champion), knob_values(change.recipe)
    return ", ".join(f"{knob} {after[knob]}" for knob in after if after[knob] != before[knob])


def _need_few_changes(number: int, history: History, change: Change) -> None:
    """Raise BadInput for a proposal beyond the change limit that the history names."""
    files = source()
    regions = [list_regions(files[name], data) for name, data in change.files.items()]
    changes = len(list_different(history.champion, change.recipe)) + sum(map(len, regions))
    limit = history.most_changes
    right = f"at most {limit} knobs and regions (most_changes of the history)"
    need(not limit or changes <= limit, f"changes of proposal {number} of FILE", changes, right)


def _example_history(limit: int) -> History:
    trials = (
        Trial(recipe=Recipe(), outcome="first", score=0.5),
        Trial(recipe=Recipe(depth=3), outcome="better", score=0.6),
        Trial(recipe=Recipe(width=96), outcome="not better"),
    )
    return History(
        champion=Recipe(),
        champion_source="0" * 64,
        champion_score=0.5,
        trials=trials,
        grid=grid(False),
        count=WANTED,
        most_changes=limit,
    )


CHECKS: dict[str, Callable[[str], Facts]] = {
    "task": _check_task,
    "gate": _check_gate,
    "proposer": _check_proposer,
}
"""Kind of file -> its check."""
