"""What does a net learn, and on how much compute? The settings of Hydra group `task`."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from configs.build import need, parse
from configs.cost import Cost
from configs.errors import BadInput
from configs.reader import later
from configs.recipe import Recipe, grid, knob_values
from configs.records import COMPUTED_TASKS, ClassName
from configs.tokens import Task

SINGLE, PAIR, STEPS = 1 / 3, 1 / 2, 6
"""A task is shallow if its best single change explains a larger share of the distance from baseline
to reference, its best pair a larger one, or its climb has fewer steps.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """A task's depth, as `heirloop task climb` measured it by real trainings."""

    single: float
    "share of the distance from baseline to reference that the best single change gives"
    pair: float
    "share that the best pair of changes gives"
    climb: int
    "single-change steps whose gain is certain, up to 95 % of the distance"
    stalled: bool
    "whether the climb ended before for want of a better change"

    def word(self) -> Literal["deep", "shallow", "stalled"]:
        """Return the task's word; a stalled climb is never called long."""
        if self.single > SINGLE or self.pair > PAIR:
            return "shallow"
        if self.stalled:
            return "stalled"
        return "deep" if self.climb >= STEPS else "shallow"

    def describe(self) -> str:
        """Return the measurement as a clause."""
        ending = "and stalls" if self.stalled else "to 95 % of it"
        return (
            f"one change explains {self.single:.0%} of the distance from its baseline to its"
            f" reference, two {self.pair:.0%}, and a climb takes {self.climb} certain steps"
            f" {ending}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetup:
    """One task with its compute and its measured constants (docs/tasks.md)."""

    name: Literal["addition", "modular", "digits", "text", "custom", "program", "planted"]
    """token format. text: the next character, in bits; custom: from `file`; program: from the
    data script of `folder`, with its own training program; planted: no tokens, the law of `world`
    simulates trainings and weights (docs/instruments.md)
    """
    world: str = ""
    "planted: the world with its law, from evals/law.py"
    file: str = ""
    """custom: a Python file of at most 50 lines that yields the items (docs/own-files.md). It is a
    person's trusted code and runs outside every box
    """
    file_digest: str = ""
    "sha256 of that file; filled in at composition, then pinned by the study"
    digits: int = 3
    "addition: digits per operand"
    modulus: int = 97
    "modular: p"
    levels: int = 5
    "digits: grey levels of a pixel"
    side: Literal[8, 4] = 8
    "digits: pixels a side"
    train_items: int = 20_000
    "items in a training file"
    held_out: int = 500
    "items per held-out split"
    train_digits: int = 0
    """addition: digits of the operands in training and splits; fewer than `digits` opens the slice
    `longer`; 0: all
    """
    hold_carries: bool = False
    """addition: keep sums that carry in every column out of training; they form the slice `carries`
    in any case
    """
    question: int = 0
    "custom: columns of a question; filled in from the file, like the next three"
    answer: int = 0
    "custom: columns of an answer"
    values: int = 0
    "custom: distinct values of a column"
    items: str = ""
    "custom: digest of all items"
    notebook: bool = False
    "whether nets also have the tokens of the notebook; needed where weights propose (arm `self`)"
    planned_cpu_us: int
    "planned CPU-microseconds of a training"
    cost: Cost
    "constants of the cost formula, measured by tests/bench/measure_tasks.py"
    seed_deviation: float
    """standard deviation of exact match over seeds, measured, of bits with task text; floor of
    every standard error
    """
    baseline: Recipe
    "a newcomer's recipe; the first champion"
    grid: dict[str, tuple[Any, ...]] | None = later(None, hash=False)
    "values per knob, in order of size, for proposers to draw from; null: the common grid"
    depth: Depth | None = later(None)
    "its measured depth; null: not measured"
    best_known: float | None = later(None)
    """the best known score, in its metric: the mean over seeds of its reference, or the true score
    of the best recipe of a table (filled in at composition). Champions within a seed deviation of
    it leave arms nothing to differ by; null: not known
    """
    window: int = later(64)
    "text: characters of context before the next character"
    table: str = later("")
    """a file of recorded trainings that answers the jobs (docs/table.md). The other settings of the
    task are filled in from it at composition; `baseline` and `fixed` may be given
    """
    table_digest: str = later("")
    "sha256 of that file; filled in at composition, then pinned by the study"
    folds: int = later(0)
    "folds of held-out windows in that file; filled in at composition"
    fixed: dict[str, Any] | None = later(None, hash=False)
    """with a table: knobs of its grid that the study holds at a value, so that only a part of the
    grid is its world; null: none
    """

    folder: str = later("")
    """program: a folder with a person's own training program and its task.yaml
    (docs/your-program.md)
    """
    folder_digest: str = later("")
    "sha256 of the list of its files; filled in at composition, then pinned by the study"
    judged_by: Literal["", "exact_match", "nll"] = later("")
    "program: its metric; filled in from task.yaml, like the next two"
    weights: Literal["", "files", "safetensors"] = later("")
    "program: what a training hands out"
    computable: bool = later(False)
    "program: whether changed code could hand its predictions more than numbers"
    may_change: dict[str, ClassName] | None = later(None, hash=False)
    """program: place that may change -> its class, by its name in the bundle; filled in from
    task.yaml where it classes regions, or files otherwise than as usual
    """

    def __post_init__(self) -> None:
        need(
            1_000 <= self.planned_cpu_us <= 10**12,
            "planned_cpu_us",
            self.planned_cpu_us,
            "between 1000 and 10^12",
        )
        need(
            self.notebook or not self.baseline.notebook,
            "baseline.notebook",
            self.baseline.notebook,
            "0 where task.notebook is false",
        )
        need(0 < self.seed_deviation < 1, "seed_deviation", self.seed_deviation, "between 0 and 1")
        own = bool(self.file) == bool(self.file_digest) == (self.name == "custom")
        need(own, "file", self.file, "a path with task custom, and empty with any other")
        program = bool(self.folder) == bool(self.folder_digest) == (self.name == "program")
        need(program, "folder", self.folder, "a folder with task program, and empty with any other")
        notes = self.notebook and self.name == "program"
        need(not notes, "notebook", self.notebook, "false with task program")
        need(
            bool(self.world) == (self.name == "planted"),
            "world",
            self.world,
            "a planted world with task planted, and empty with any other",
        )
        pinned = bool(self.table) == bool(self.table_digest) == bool(self.folds)
        need(pinned, "table", self.table, "a table with its digest and folds, or empty")
        self.format()
        self._check_grid()
        self._check_fixed()

    def _check_grid(self) -> None:
        """Refuse a value that no recipe can have; heads and widths must fit in some draw."""
        for name, values in (self.grid or {}).items():
            alone = {"heads": 1} if name == "width" else {"width": 64} if name == "heads" else {}
            for value in values:
                try:
                    parse(Recipe, {**knob_values(self.baseline), **alone, name: value})
                except BadInput as error:
                    raise BadInput(f"grid.{error}") from None

    def _check_fixed(self) -> None:
        """Refuse a fixed knob without a table, off its grid or unlike the baseline's."""
        fixed, own = self.fixed or {}, self.grid or {}
        need(not fixed or bool(self.table), "fixed", fixed, "given with task.table alone")
        for name, value in fixed.items():
            need(name in own, "fixed", name, f"one of the table's knobs {', '.join(own)}")
            listed = ", ".join(map(str, own[name]))
            need(value in own[name], f"fixed.{name}", value, f"one of the table's values {listed}")
            held = getattr(self.baseline, name)
            need(held == value, f"baseline.{name}", held, f"{value}, as task.fixed holds it")
        left = [name for name, values in self.choices().items() if len(values) > 1]
        need(not fixed or bool(left), "fixed", fixed, "fewer knobs: one with two values is left")

    def choices(self) -> dict[str, tuple[Any, ...]]:
        """Return the values per knob for the study's proposers to draw from."""
        whole = grid(self.notebook, self.grid)
        return {name: values for name, values in whole.items() if name not in (self.fixed or {})}

    def metric(self) -> Literal["bits", "exact_match", "nll"]:
        """Return the metric of which its seed deviation is."""
        return "bits" if self.name == "text" else self.judged_by or "exact_match"

    def computed(self) -> bool:
        """Tell whether changed code could compute its answers (docs/your-program.md)."""
        return self.computable or self.name in COMPUTED_TASKS

    def format(self) -> Task:
        """Return the token format alone, as it goes into a box."""
        return _format(self)


FORMAT = (
    "name",
    "digits",
    "modulus",
    "levels",
    "side",
    "train_items",
    "held_out",
    "train_digits",
    "hold_carries",
    "notebook",
    "question",
    "answer",
    "values",
    "items",
    "grid",
    "window",
    "folds",
)
"""Settings that make the token format."""


@lru_cache(maxsize=16)
def _format(setup: TaskSetup) -> Task:
    made = {name: getattr(setup, name) for name in FORMAT}
    # Inside a box a program's items are those of a task of one's own.
    return Task(**{**made, "name": "custom" if setup.folder else setup.name})


SIMULATED = "planted"
"""Name of the only task whose jobs it answers, and of its kind."""
