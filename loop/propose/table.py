"""The table of proposers: PROPOSERS names every way to get a proposal from a history.

The output of a proposer is data, and its compute is charged. Programs on the trusted side are
charged their own CPU time. `heirloop proposers` lists all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from configs.arms import ARMS, variant
from configs.errors import BadInput
from configs.settings.config import Config
from loop.propose.evolve.children import propose_evolve
from loop.propose.hostile import propose_hostile
from loop.propose.rivals import propose_local, propose_random, propose_same, propose_tpe
from loop.propose.view import ProposerView


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """A way to get proposals."""

    where: Literal["trusted", "box", "outside", "people", "script", "record"]
    """writer: a program on the trusted side, a job in a box, an outside model, people, a person's
    list, or a recorded run
    """
    sees: str
    "everything in its view, in a short clause"
    costs: str
    "charge for it, in a short clause"
    write: Callable[[ProposerView], str] | None = None
    "trusted: returns the text of a proposal (configs.records.Proposal)"
    evolves: bool = False
    """whether it draws a parent from evolve's database. outside: the model improves that program
    instead of the champion, and sees other programs beside it
    """
    needs: tuple[str, ...] = ()
    "settings of group `proposer`; it needs at least one of them"
    blind: bool = False
    "trusted: it sees the champion's recipe alone, and no trial is looked up for it"
    program: bool = False
    "box: the study's own program writes, not the champion's weights"
    edits: bool = False
    "whether it proposes without knobs, so that it serves a training program of people's own"
    notes: bool = False
    "box: the program finds the notes that it left in the generation before"


HISTORY = "own campaign's recipes, rounded feedback scores and verdicts"
PROGRAMS = "own campaign's programs, recipes, rounded feedback scores and verdicts"


PROPOSERS: dict[str, Proposer] = {
    "evolve": Proposer(
        where="trusted",
        write=propose_evolve,
        evolves=True,
        edits=True,
        sees=PROGRAMS,
        costs="its own CPU time",
    ),
    "hostile": Proposer(
        where="trusted",
        write=propose_hostile,
        sees="the champion's recipe, recipes tried, the champion's program",
        costs="its own CPU time, and what its attacks are charged before they are stopped",
    ),
    "local": Proposer(
        where="trusted",
        write=propose_local,
        sees="the champion's recipe, recipes tried",
        costs="its own CPU time",
    ),
    "planted": Proposer(
        where="trusted",
        blind=True,
        sees="the champion's recipe",
        costs="a fixed sum of simulated CPU; task planted alone",
    ),
    "random": Proposer(
        where="trusted",
        write=propose_random,
        blind=True,
        sees="the champion's recipe",
        costs="its own CPU time",
    ),
    "reseed": Proposer(
        where="trusted",
        write=propose_same,
        blind=True,
        edits=True,
        sees="nothing: it changes nothing, and its candidates train under seeds of their own",
        costs="its own CPU time",
    ),
    "scripted": Proposer(
        where="script",
        needs=("script",),
        sees="nothing: it is a person's list",
        costs="nothing of the budget; people's time",
    ),
    "tpe": Proposer(
        where="trusted",
        write=propose_tpe,
        sees="own campaign's recipes and rounded feedback scores",
        costs="its own CPU time",
    ),
    "notebook": Proposer(
        where="box",
        sees=HISTORY,
        costs=(
            "one propose job a generation, which reads the notebook for one training's compute, "
            "and the notebook's share of every training"
        ),
    ),
    "llm": Proposer(
        where="outside",
        sees=HISTORY
        + ", errors of failed trainings, the marked regions of the champion's train.py",
        costs="tokens, money, wall and CPU of each question, retries included",
    ),
    "evolve-llm": Proposer(
        where="outside",
        evolves=True,
        sees=PROGRAMS + ", errors of failed trainings",
        costs="tokens, money, wall and CPU of each question, retries included",
    ),
    "command": Proposer(
        where="box",
        program=True,
        edits=True,
        needs=("program", "file"),
        sees=HISTORY,
        costs="one propose job a generation",
    ),
    "agent": Proposer(
        where="box",
        program=True,
        edits=True,
        notes=True,
        needs=("program", "file", "folder"),
        sees=HISTORY + ", the champion's program, its own notes",
        costs="one propose job a generation",
    ),
    "human": Proposer(
        where="people",
        edits=True,
        sees="all that people see of the run",
        costs="nothing of the budget; people's time",
    ),
    "replay": Proposer(
        where="record",
        edits=True,
        needs=("replay",),
        sees="nothing: it makes the proposals of a recorded run again",
        costs="nothing",
    ),
}


def proposer(arm: str) -> Proposer:
    """Return the proposer of an arm; raise BadInput for an unknown arm."""
    name = variant(arm).proposer
    if name not in PROPOSERS:
        choices = ", ".join((*ARMS, *PROPOSERS))
        raise BadInput(f"study.arms names {arm!r}; it should be one of {choices}")
    return PROPOSERS[name]


def asks_outside(config: Config, arm: str) -> bool:
    """Tell whether an arm asks an outside model: as its proposer, at its agent's door, or for the
    programs of its archive.
    """
    asks = proposer(arm).where == "outside" or variant(arm).maker == "model"
    return asks or config.proposer.door_calls(arm) > 0


def study_asks_outside(config: Config) -> bool:
    """Tell whether a study asks an outside model: in an arm, or about claims of its write-ups."""
    writeups = config.study.writeups
    reviews = writeups is not None and writeups.model > 0
    return reviews or any(asks_outside(config, arm) for arm in config.arms())
