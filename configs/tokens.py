"""Token formats: how an item of a task becomes a row of small integers.

An item is stored in *canonical* order, a uint8 token per column: question, separator, answer. A
recipe may reorder the columns (operands, answer), never their content. So a layout is a
permutation, and the trusted side reads predictions back in canonical order. A net for proposals has
another document format, the notebook (configs/notebook.py). Standard library only.
"""

from dataclasses import dataclass
from typing import Any, Literal

from configs.build import need
from configs.notebook import Notebook, notebook_over
from configs.reader import later
from configs.recipe import Recipe, knobs

PLUS, EQUALS = 0, 1
"""Tokens 0 and 1 are '+' and '=' in every task; values start at 2."""
FIRST_VALUE = 2
CHARACTERS = 97
"""text: the newline, printable ASCII, and one value for all others."""
COPIED, COPIED_VALUES = 6, 4
"""planted: columns of a question and their values; the answer is the first column."""
SIMULATED_WEIGHTS = 16
"""planted: numbers in a file of weights, whatever the recipe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A task as tokens, and the amount of its data."""

    name: Literal["addition", "modular", "digits", "text", "custom", "planted"]
    """addition of n-digit numbers, a+b mod p, scikit-learn's handwriting, the next character of a
    text, a person's own file, or a simulation without trainings
    """
    digits: int = 3
    "addition only: digits per operand; 1 to 6"
    modulus: int = 97
    "modular only: p; 3 to 251"
    levels: int = 5
    "digits only: grey levels of a pixel; 2 to 17"
    side: Literal[8, 4] = 8
    "digits only: pixels a side; 4 averages blocks of four, and a training costs a quarter"
    train_items: int = 20_000
    "items in a training file; drawn per replicate"
    held_out: int = 500
    "items in each of the splits feedback, gate and sealed"
    train_digits: int = 0
    """addition only: digits of the operands in training and splits; fewer than `digits` opens the
    slice `longer`; 0: all
    """
    hold_carries: bool = False
    """addition only: sums that carry in every column stay out of training and splits, and form
    slice `carries` alone
    """
    question: int = 0
    "custom only: columns of a question, without the separator after them; 1 to 128"
    answer: int = 0
    "custom only: columns of an answer; 1 to 16"
    values: int = 0
    "custom only: distinct values of a column; 2 to 250"
    items: str = ""
    "custom only: digest of all items of the file"
    notebook: bool = False
    "whether the net also has the tokens of the notebook, to learn from past trials and propose"
    grid: dict[str, tuple[Any, ...]] | None = later(None, hash=False)
    "values per knob, in order of size, for proposers to draw from; null: the common grid"
    window: int = later(64)
    "text only: characters of context before the next character; 8 to 128"
    folds: int = later(0)
    """text only: an item is a fold of held-out windows that a table recorded, of so many folds; at
    least 60 and at most 240. 0: an item is a window
    """

    def __post_init__(self) -> None:
        need(1 <= self.digits <= 6, "digits", self.digits, "between 1 and 6")
        need(3 <= self.modulus <= 251, "modulus", self.modulus, "between 3 and 251")
        need(2 <= self.levels <= 17, "levels", self.levels, "between 2 and 17")
        need(
            1 <= self.train_items <= 1_000_000,
            "train_items",
            self.train_items,
            "between 1 and 1000000",
        )
        need(20 <= self.held_out <= 20_000, "held_out", self.held_out, "between 20 and 20000")
        need(8 <= self.window <= 128, "window", self.window, "between 8 and 128")
        need(
            self.folds == 0 or (self.name == "text" and 60 <= self.folds <= 240),
            "folds",
            self.folds,
            "0, or between 60 and 240 with task text",
        )
        need(
            0 <= self.train_digits <= self.digits,
            "train_digits",
            self.train_digits,
            f"between 0 and digits ({self.digits})",
        )
        need(
            self.name == "addition" or not (self.train_digits or self.hold_carries),
            "train_digits/hold_carries",
            self.name,
            "task addition",
        )
        sizes = (self.question, self.answer, self.values)
        given = (self.name == "custom") == any(sizes) == bool(self.items)
        need(
            given,
            "question/answer/values/items",
            (*sizes, self.items),
            "given with task custom, and only there",
        )
        for name, least, most in (
            (("question", 1, 128), ("answer", 1, 16), ("values", 2, 250))
            if self.name == "custom"
            else ()
        ):
            need(
                least <= getattr(self, name) <= most,
                name,
                getattr(self, name),
                f"between {least} and {most}",
            )
        for name, values in (self.grid or {}).items():
            if name not in knobs():
                need(False, "grid", name, f"one of the knobs {', '.join(knobs())}")
            need(len(set(values)) == len(values) > 0, f"grid.{name}", values, "different values")

    def stand_in(self) -> Literal["", "planted", "table"]:
        """Return the kind of the box that answers its jobs without computing; empty: it trains."""
        if self.name == "planted":
            return "planted"
        return "table" if self.folds else ""

    def book(self) -> Notebook:
        """Return the tokens of its notebook, whether or not the net has them."""
        return notebook_over(self.grid)

    def slices(self) -> tuple[str, ...]:
        """Return the names of the task's slices (evals/data.py describes them)."""
        if self.name == "addition":
            return ("carries", "longer") if 0 < self.train_digits < self.digits else ("carries",)
        if self.name in ("custom", "planted"):
            return ()
        if self.name == "text":
            return ("code", "licence")
        return ("other_modulus",) if self.name == "modular" else ("shifted", "noised")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Column order of a task under a recipe."""

    vocabulary: int
    "number of distinct tokens of the task"
    book: Notebook | None = None
    "the notebook, with tokens after the task's own; None: no notebook"
    question: int
    "columns before the answer that the net reads, separator included"
    answer: int
    "columns of the answer"
    order: tuple[int, ...]
    """order[i] is the canonical column at position i; a permutation of question + answer columns,
    or with text of the last ones
    """

    @property
    def notebook(self) -> int:
        """Number of tokens of the notebook; 0 without it."""
        return self.book.size if self.book else 0

    @property
    def answers(self) -> tuple[int, ...]:
        """Column of the canonical answer at each position of the answer."""
        columns = self.order[self.question :]
        return tuple(column - min(columns) for column in columns)

    @property
    def length(self) -> int:
        """Tokens of the longest document, of the task or of the notebook."""
        return max(len(self.order), self.book.document if self.book else 0)


def document(lay: Layout) -> Layout:
    """Return the layout of a notebook's documents: every column but the first is predicted."""
    assert lay.book is not None
    return Layout(
        vocabulary=lay.notebook,
        question=1,
        answer=lay.book.document - 1,
        order=tuple(range(lay.book.document)),
    )


def layout(task: Task, recipe: Recipe) -> Layout:
    """Return the column order of `task` under `recipe`. Question columns stay before answer
    columns.
    """
    if task.name == "addition":
        n = task.digits
        question = [*_operands(n, recipe.operand_order), 2 * n + 1]
        vocabulary, answer = FIRST_VALUE + 10, n + 1
    elif task.name == "modular":
        question = [2, 1, 0, 3] if recipe.operand_order == "reversed" else [0, 1, 2, 3]
        if recipe.operand_order == "interleaved":
            question = [0, 2, 1, 3]
        vocabulary, answer = FIRST_VALUE + task.modulus, 1
    elif task.name == "text":
        question = list(range(task.window))[-recipe.context :]
        vocabulary, answer = FIRST_VALUE + CHARACTERS, 1
    elif task.name == "planted":
        question = list(range(COPIED + 1))
        vocabulary, answer = FIRST_VALUE + COPIED_VALUES, 1
    elif task.name == "custom":
        question = [*_columns(task.question, recipe.operand_order), task.question]
        vocabulary, answer = FIRST_VALUE + task.values, task.answer
    else:
        question = [*_pixels(task.side, recipe.operand_order), task.side**2]
        vocabulary, answer = FIRST_VALUE + max(task.levels, 10), 1
    first = max(question) + 1
    tail = list(range(first, first + answer))
    if recipe.answer_order == "reversed":
        tail.reverse()
    return Layout(
        vocabulary=vocabulary,
        book=task.book() if task.notebook else None,
        question=len(question),
        answer=answer,
        order=tuple(question + tail),
    )


def _operands(n: int, order: str) -> list[int]:
    a, b, plus = list(range(n)), list(range(n + 1, 2 * n + 1)), [n]
    if order == "reversed":
        return a[::-1] + plus + b[::-1]
    if order == "interleaved":
        return [column for pair in zip(a, b, strict=True) for column in pair] + plus
    return a + plus + b


def _columns(n: int, order: str) -> list[int]:
    half = (n + 1) // 2
    if order == "interleaved":
        return [column for i in range(half) for column in (i, half + i) if column < n]
    return list(range(n))[:: -1 if order == "reversed" else 1]


def _pixels(side: int, order: str) -> list[int]:
    raster = list(range(side**2))
    if order == "reversed":
        return raster[::-1]
    if order == "interleaved":
        return [row * side + column for column in range(side) for row in range(side)]
    return raster
