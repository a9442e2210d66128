"""What a human decides before a study: the typed form of every Hydra group.

Hydra composes plain values from the YAML files beside this module; `configs.build.parse` turns them
once into these records. Unknown keys, wrong types and numbers outside their range are refused by
name.
"""

from dataclasses import dataclass, field
from typing import Any

from configs.build import need
from configs.records import Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolve:
    """The program database of `evolve` (docs/proposers.md)."""

    islands: int = 3
    "populations that evolve side by side; proposals go round them"
    migration: int = 12
    "trials between two migrations, in which each island's best goes to the next"
    inspirations: int = 2
    "programs beside the parent that a proposal may take regions from"
    explore: float = 0.3
    "probability that the parent is any elite; otherwise the better its rank, the likelier"
    knobs: float = 0.5
    "probability that a proposal changes knobs of the parent's recipe, too"
    novelty: int = 4
    """a program of the same recipe that differs from an earlier one in fewer token threes is drawn
    again; one changed token makes about 6
    """
    edits: int = 3
    "the most operators that one proposal applies"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("islands", 1, 100),
            ("migration", 1, 10**6),
            ("inspirations", 0, 20),
            ("novelty", 1, 10**4),
            ("edits", 1, 20),
        ):
            need(
                low <= getattr(self, name) <= high,
                name,
                getattr(self, name),
                f"between {low} and {high}",
            )
        for name in ("explore", "knobs"):
            need(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """Settings of the proposers."""

    name: str
    "proposer of a study that names no arms"
    mutations: int = 3
    "local, evolve: the most knobs that one proposal changes"
    script: tuple[dict[str, Any], ...] = ()
    """scripted: a person's list of changes, knobs and their values, one proposal each in order;
    used up, the campaign ends
    """
    evolve: Evolve = field(default_factory=Evolve)
    "evolve: its program database"
    hostile_share: float = 0.5
    "hostile: share of the proposals that are attacks; the others are those of `local`"
    llm: Endpoint | None = None
    "llm: the outside model that is asked, and what one question may cost; null: none"
    program: str = ""
    """command: a binary or a Python script that proposes in a box: history as a line of JSON in, a
    proposal a line out (docs/proposers.md)
    """
    program_digest: str = ""
    "sha256 of that file; filled in when the study is composed, and pinned by it"
    file: str = ""
    """command: instead of a program, a Python file of one's own of at most 50 lines, run in the
    same way (docs/plugs.md)
    """
    file_digest: str = ""
    "sha256 of that file; filled in likewise"
    replay: str = ""
    "replay: folder of the run whose proposals are made again"
    replay_arm: str = ""
    "replay: arm of that run"
    replay_digest: str = ""
    "digest of the list of those proposals; filled in likewise"

    def __post_init__(self) -> None:
        need(1 <= self.mutations <= 16, "mutations", self.mutations, "between 1 and 16")
        need(0 <= self.hostile_share <= 1, "hostile_share", self.hostile_share, "between 0 and 1")
        need(
            not (self.program and self.file),
            "program/file",
            (self.program, self.file),
            "one of the two",
        )
        for name in ("program", "file", "replay"):
            pin = getattr(self, f"{name}_digest")
            need(
                bool(getattr(self, name)) == bool(pin),
                f"{name}_digest",
                pin,
                f"the digest of `{name}`, and empty without one",
            )
