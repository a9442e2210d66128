"""How are proposals made? The settings of Hydra group `proposer`."""

from dataclasses import dataclass, field, replace
from typing import Any

from configs.arms import variant
from configs.build import need
from configs.reader import later
from configs.records import AGENT, Endpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolve:
    """The program database of `evolve` (docs/proposers.md)."""

    islands: int = 3
    "populations that evolve side by side; proposals go round them"
    migration: int = 12
    "trials between two migrations; each migration copies an island's best to the next"
    inspirations: int = 2
    "programs beside the parent as sources of regions for a proposal"
    explore: float = 0.3
    "probability of any elite as parent; otherwise the better its rank, the likelier"
    knobs: float = 0.5
    "probability that a proposal also changes knobs of the parent's recipe"
    novelty: int = 4
    """least difference from an earlier program of the same recipe, in token threes; a nearer
    program is drawn again. A changed token makes about 6
    """
    edits: int = 3
    "most operators in a proposal"
    grid: bool = later(True)
    "whether an island keeps the best program of each cell; else it keeps every program"
    archive: bool = later(True)
    "whether parents are drawn from the database; else the champion is the only one"

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
    "proposer of a study without arms"
    mutations: int = 3
    "local, evolve: most knobs that a proposal changes"
    script: tuple[dict[str, Any], ...] = ()
    """scripted: a person's list of changes (knobs and their values), a proposal each, in order; the
    campaign ends with the list
    """
    evolve: Evolve = field(default_factory=Evolve)
    "evolve: its program database"
    hostile_share: float = 0.5
    "hostile: share of attacks among the proposals; the rest comes from `local`"
    pack: str = later("")
    """hostile: a pack of sabotage, by name or path (docs/your-gate.md); its harmful sides take the
    place of the catalogue's attacks; empty: the catalogue
    """
    pack_digest: str = later("")
    "sha256 of that file; filled in at composition, then pinned by the study"
    llm: Endpoint | None = None
    "llm: the outside model and the bounds of a question; null: no model"
    program: str = ""
    """command, agent: a binary or a Python script, run in a box. As a command it reads history as
    a line of JSON and prints a line per proposal (docs/proposers.md); as an agent it has a folder
    to work in (docs/agents.md)
    """
    program_digest: str = ""
    "sha256 of that file; filled in at composition, then pinned by the study"
    file: str = ""
    """command, agent: instead of a program, your own Python file of at most 50 lines, run in the
    same way (docs/own-files.md)
    """
    file_digest: str = ""
    "sha256 of that file; filled in likewise"
    folder: str = later("")
    """agent: instead of either, a folder of your own: `__main__.py`, and the files beside it
    (docs/agents.md)
    """
    folder_digest: str = later("")
    "sha256 of the list of its files; filled in likewise"
    trials: int = later(0)
    """agent: most candidates that it may train at its door `trial` in a generation; 0: it has no
    such door
    """
    calls: int = later(0)
    """agent: most questions to the model `llm` that it may ask at its door `model` in a generation;
    0: it has no such door
    """
    replay: str = ""
    "replay: folder of the earlier run; its proposals are made again"
    replay_arm: str = ""
    "replay: arm of that run"
    replay_digest: str = ""
    "replay: digest of the list of proposals; filled in likewise"

    def __post_init__(self) -> None:
        need(1 <= self.mutations <= 16, "mutations", self.mutations, "between 1 and 16")
        need(0 <= self.hostile_share <= 1, "hostile_share", self.hostile_share, "between 0 and 1")
        for name in ("trials", "calls"):
            need(0 <= getattr(self, name) <= 1000, name, getattr(self, name), "between 0 and 1000")
        given = [name for name in ("program", "file", "folder") if getattr(self, name)]
        need(len(given) < 2, "program/file/folder", given, "one of them")
        for name in ("program", "file", "folder", "replay", "pack"):
            pin = getattr(self, f"{name}_digest")
            need(
                bool(getattr(self, name)) == bool(pin),
                f"{name}_digest",
                pin,
                f"the digest of `{name}`, and empty without one",
            )

    def of(self, arm: str) -> "Proposer":
        """Return the settings of an arm, which may fix some of its program database."""
        return replace(self, evolve=replace(self.evolve, **dict(variant(arm).evolve)))

    def pins(self) -> tuple[str, ...]:
        """Return the digests of people's own program, empty where it is not given in this way."""
        return self.program_digest, self.file_digest, self.folder_digest

    def door_calls(self, arm: str) -> int:
        """Return the most questions of an arm's agent in a generation."""
        return self.calls if variant(arm).proposer == AGENT else 0

    def door_trials(self, arm: str) -> int:
        """Return the most trials of an arm's agent in a generation."""
        return self.trials if variant(arm).proposer == AGENT else 0
