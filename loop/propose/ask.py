"""How proposals are got: written by a program on the trusted side, or asked of weights in a box by
way of a propose plan.

A propose plan is decided on, paid for and recorded like any other; one stands for all proposals of
a generation.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import BadInput, HeirloopError, NeedsHuman, VerificationFailed
from configs.objective import objective_text
from configs.records import JobCount, Proposal
from loop.measure.replicate import proposed
from loop.propose.evolve.database import rebased, shown
from loop.propose.outside.ask import answered
from loop.propose.outside.prompt import prompt
from loop.propose.outside.read import Unusable, read
from loop.propose.simulated import write as write_simulated
from loop.propose.table import proposer, variant
from loop.study.open import charge_proposer
from loop.study.own_files import recorded
from loop.study.simulated import PROPOSE_US, law, simulated
from sandbox.canonical import digest
from sandbox.store import Store

if TYPE_CHECKING:
    from loop.cycle import Campaign
from loop.propose.history import history_of, scene_of, show

MOST = 70_000
"""Characters of a proposal that are kept; longer ones are refused as too long."""


def ask(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Return the text of one proposal and the digest of the propose plan that it comes from, if
    any; raise BadInput where there is none.
    """
    text, asked = WAYS[proposer(c.arm).where](c, generation, index)
    return text[:MOST], asked


def _written(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Let a program on the trusted side write, and charge it its CPU time."""
    scene, write, config = scene_of(c, generation, index), proposer(c.arm).write, c.running.config
    with _charged(c, generation, index):
        if write is None or (simulated(config) and not law(config).search):
            return write_simulated(config, c.arm, c.repeat, scene), ""
        return write(scene), ""


@contextmanager
def _charged(c: Campaign, generation: int, index: int) -> Iterator[None]:
    """Charge the trusted side's own CPU time to the arm, whatever comes of it."""
    started = time.thread_time()
    try:
        yield
    finally:
        place, used = (
            (c.arm, c.repeat, generation, index),
            int((time.thread_time() - started) * 1e6),
        )
        charge_proposer(
            c.running,
            c.arm,
            f"propose:{place}",
            PROPOSE_US if simulated(c.running.config) else used,
        )


def _in_box(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Let the champion's weights or the study's own program write, in a box: all proposals of a
    generation at once.
    """
    name = _passed(
        c, c.running.archive.facts().asks.get((c.arm, c.repeat, generation)) or _plan(c, generation)
    )
    return line(proposed(c.running, name, c.cpu), index), name


def line(lines: list[str] | str, index: int) -> str:
    """Return the text of one proposal of what a propose job wrote; raise BadInput where there is
    none, with why.
    """
    if isinstance(lines, str) or index >= len(lines):
        raise BadInput(
            lines
            if isinstance(lines, str)
            else f"{len(lines)} proposals were written and number {index + 1} was wanted"
        )
    return lines[index]


def _outside(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Ask an outside model one question, and read its answer as one proposal."""
    config, endpoint = c.running.config, c.running.config.proposer.llm
    assert endpoint is not None
    name = _passed(
        c,
        c.running.archive.facts().asks.get((c.arm, c.repeat, generation))
        or _question_plan(c, generation),
    )
    with _charged(c, generation, index):
        scene, evolving = scene_of(c, generation, index), proposer(c.arm).evolves
        history, source, others = (
            shown(scene)
            if evolving
            else (scene.history, scene.sources[scene.history.champion_source], ())
        )
        about = "\n".join([f"The task is {config.task.name}.", *objective_text(config.objective)])
        number = (generation, index, c.shape()[1])
        data = prompt(
            endpoint,
            history,
            source,
            about,
            number,
            scene.rng.getrandbits(31),
            [(one.told(), one.source) for one in others],
        )
    text = answered(c.running, name, index, data)
    try:
        with _charged(c, generation, index):
            found = read(text, source)
            return rebased(scene, history, source, found) if evolving else found, name
    except BadInput as error:
        raise Unusable(str(error), text) from None


def _passed(c: Campaign, name: str) -> str:
    """Return a propose plan that has passed its gate."""
    if not c.allowed(name):
        raise BadInput(
            "asking for proposals was refused:"
            f" {c.running.gate.refresh().refused.get((name, 'propose'), 'quarantined')}"
        )
    c.admit(name)
    return name


def _by_people(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Take the next proposal that people handed in; wait for it as long as the study's patience,
    then raise NeedsHuman.
    """
    until = time.monotonic() + c.running.config.gates.patience_seconds
    while True:
        facts = c.running.archive.facts()
        left = Counter(facts.handed[c.arm, c.repeat]) - Counter(facts.taken[c.arm, c.repeat])
        waiting = next((name for name in facts.handed[c.arm, c.repeat] if left[name]), "")
        if waiting:
            return c.running.sandbox.store.get(waiting).decode(), ""
        if time.monotonic() >= until or c.running.stopped:
            place = f"proposal {index + 1} of {c.shape()[1]} of generation {generation}"
            repeat = f" --repeat {c.repeat}" if c.repeat else ""
            raise NeedsHuman(
                f"arm {c.arm} waits for people's {place}; `heirloop propose {c.running.folder} FILE"
                f" --arm {c.arm}{repeat}` hands one in"
            )
        time.sleep(0.2)


def _from_record(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Make the proposal of a recorded run that stands in the same place; raise UsedUp where there
    is none, VerificationFailed for another record.
    """
    settings = c.running.config.proposer
    known = recorded(settings.replay, settings.replay_arm)
    if digest(known) != settings.replay_digest:
        raise VerificationFailed(
            f"proposer.replay {settings.replay} holds other proposals than those that the study"
            " pins; restore it"
        )
    place = f"{c.repeat}:{generation}:{index}"
    if place not in known:
        raise UsedUp(
            f"{settings.replay}, arm {settings.replay_arm}, recorded {len(known)} proposals and"
            f" none for repeat {c.repeat}, generation {generation}, number {index + 1}"
        )
    if not known[place]:
        raise BadInput("the recorded run has no text here: its proposer wrote none")
    return (
        Store(Path(settings.replay) / "store").get(known[place]).decode(errors="surrogatepass"),
        "",
    )


def _from_script(c: Campaign, generation: int, index: int) -> tuple[str, str]:
    """Make the next proposal of a person's list; raise UsedUp at its end."""
    script, number = c.running.config.proposer.script, (generation - 1) * c.shape()[1] + index
    if number >= len(script):
        raise UsedUp(f"proposer.script lists {len(script)} changes, and all were proposed")
    return (
        json.dumps(
            {"hypothesis": f"number {number + 1} of a person's list", "knobs": script[number]}
        ),
        "",
    )


class UsedUp(HeirloopError):
    """A recorded run or a person's list has no more proposals; the campaign ends with what it
    has.
    """


WAYS: dict[str, Callable[[Campaign, int, int], tuple[str, str]]] = {
    "trusted": _written,
    "box": _in_box,
    "outside": _outside,
    "people": _by_people,
    "script": _from_script,
    "record": _from_record,
}
"""One way per place where proposals are written (loop.propose.table.Proposer.where)."""


def _plan(c: Campaign, generation: int) -> str:
    """Record the propose plan of a generation and what it is shown: the champion's weights read the
    notebook as it stands, then write.

    A study's own program goes into the bundle instead, and the champion's weights stay out.
    """
    own, count = proposer(c.arm).program, c.shape()[1]
    parent = c.champions()[0 if variant(c.arm).weights == "first" else -1]
    best, book, config = c.plan(parent), "" if own else c.notebook(), c.running.config
    bundle = best.bundle
    if own:
        program = c.running.sandbox.store.get(
            config.proposer.program_digest or config.proposer.file_digest
        )
        bundle = c.bundle({**c.running.sandbox.store.get_bundle(best.bundle), "program": program})
    name = c.record(
        (generation, 0),
        "propose",
        parent,
        best.recipe,
        "propose",
        best.recipe,
        bundle,
        None,
        Proposal(
            hypothesis=f"asks {'the program' if own else 'the champion'} for {count} proposals",
            knobs={},
        ),
        notebook=book,
        jobs=(JobCount(role="propose", count=1),),
    )
    show(c, name, history_of(c, count))
    return name


def _question_plan(c: Campaign, generation: int) -> str:
    """Record the plan of a generation's questions to an outside model, one for each proposal."""
    parent, count = c.parent(), c.shape()[1]
    best, model = c.plan(parent), c.running.config.proposer.llm
    assert model is not None
    return c.record(
        (generation, 0),
        "propose",
        parent,
        best.recipe,
        "propose",
        best.recipe,
        best.bundle,
        None,
        Proposal(
            hypothesis=f"asks the outside model {model.model} at {model.url} for {count} proposals",
            knobs={},
        ),
        jobs=(JobCount(role="ask", count=count),),
    )
