"""The recipe: the typed training configuration of a successor, and the range of each knob.

`KNOBS` is the whole search space. A recipe outside it is refused with a sentence.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from configs.build import need
from configs.reader import later

LEARNING_RATES = (0.0001, 0.03)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A successor's training configuration. The defaults are the baseline, as a newcomer would
    write it.
    """

    learning_rate: float = 0.0003
    "peak AdamW step size; 1e-4 to 3e-2, log scale"
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    "decay of the learning rate after warm-up, to zero at the last step"
    warmup: float = 0.0
    "share of the steps spent in linear warm-up; 0 to 0.3"
    weight_decay: float = 0.01
    "decoupled weight decay; 0 to 1"
    beta1: float = 0.9
    "AdamW first-moment decay; 0.5 to 0.99"
    beta2: float = 0.999
    "AdamW second-moment decay; 0.9 to 0.9999"
    batch_size: Literal[4, 8, 16, 32, 64, 128, 256, 512] = 64
    "examples per step"
    width: Literal[16, 32, 48, 64, 96, 128] = 64
    "residual stream width"
    depth: Literal[1, 2, 3, 4] = 2
    "transformer blocks"
    heads: Literal[1, 2, 4, 8] = 4
    "attention heads; divides width"
    dropout: float = 0.0
    "dropout probability on each residual branch; 0 to 0.5"
    loss: Literal["all", "answer"] = "all"
    "tokens in the loss: every next token, or the answer's alone"
    answer_order: Literal["plain", "reversed"] = "plain"
    "answer digits most significant first (plain) or last (reversed)"
    operand_order: Literal["plain", "reversed", "interleaved"] = "plain"
    """order of the question's digits (pixels): as written, backwards, or operands interleaved
    (pixels by column)
    """
    curriculum: float = 0.0
    "share of the steps with easy examples first, growing to all; 0 to 0.8"
    gradient_clip: float = 0.0
    "largest gradient norm; 0 switches clipping off; at most 10"
    notebook: float = 0.0
    "share of the steps for the notebook (the record of past trials) instead of the task; 0 to 0.5"
    context: Literal[8, 16, 24, 32, 48, 64] = later(64)
    "text: characters that the net reads before the next character"
    activation: Literal["gelu", "relu", "relu2", "silu", "swiglu"] = later("gelu")
    "non-linearity of the MLP; relu2 squares relu (So et al. 2021), swiglu gates (Shazeer 2020)"
    mlp_ratio: Literal[1, 2, 3, 4, 6, 8] = later(4)
    "width of the MLP in widths of the residual stream"
    norm: Literal["rms", "layer"] = later("rms")
    "normalisation: by root mean square, or by mean and deviation"
    norm_place: Literal["before", "after"] = later("before")
    "place of the norm: before each branch, or after its sum with the stream (Vaswani et al. 2017)"
    query_norm: Literal["none", "rms"] = later("none")
    "norm of queries and keys in each head (Henry et al. 2020)"
    position: Literal["learned", "rotary", "slopes", "none"] = later("learned")
    """position of a token: a learned vector, rotated queries and keys (Su et al. 2021), a slope
    per head on the attention's logits (Press et al. 2021), or nothing
    """
    shift: Literal["none", "half"] = later("none")
    "half of the attention's input comes from the token before (Peng et al. 2023)"
    output: Literal["tied", "free"] = later("tied")
    "output map: the token embedding, or weights of its own"
    output_bias: Literal["none", "zero", "frequencies"] = later("none")
    "bias of the output: none, learned from zero, or from the log frequencies of the training file"
    shortcut: Literal["none", "bigram"] = later("none")
    "bigram: a learned table from the last token straight to the output"
    init_scale: float = later(1.0)
    "factor on the initial deviation of all linear maps; 0.1 to 4"
    embedding_scale: float = later(1.0)
    "factor on the initial deviation of the embeddings, which is 0.02; 0.1 to 50"
    residual_scale: float = later(1.0)
    "factor on the initial maps that write into the residual stream; 0 to 4"
    logit_cap: float = later(0.0)
    "soft cap c on the output: c tanh(logits / c); 0 switches it off; at most 100"
    optimiser: Literal["adamw", "muon"] = later("adamw")
    "muon: momentum made orthogonal for the blocks' matrices (Jordan 2024), AdamW for the rest"
    embedding_rate: float = later(1.0)
    "factor on the learning rate of embeddings, output map and shortcut; 0.1 to 30"
    averaging: float = later(0.0)
    "share of the last steps whose weights are averaged into the result; 0 to 0.9"
    smoothing: float = later(0.0)
    "label smoothing; 0 to 0.3"
    sampling: Literal["random", "shuffled"] = later("random")
    "rows of a batch: drawn anew each time, or in shuffled order without repetition"

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                need(False, name, value, f"between {low} and {high}")
        need(self.width % self.heads == 0, "heads", self.heads, f"a divisor of width {self.width}")


RANGES: dict[str, tuple[float, float]] = {
    "learning_rate": LEARNING_RATES,
    "warmup": (0.0, 0.3),
    "weight_decay": (0.0, 1.0),
    "beta1": (0.5, 0.99),
    "beta2": (0.9, 0.9999),
    "dropout": (0.0, 0.5),
    "curriculum": (0.0, 0.8),
    "gradient_clip": (0.0, 10.0),
    "notebook": (0.0, 0.5),
    "init_scale": (0.1, 4.0),
    "embedding_scale": (0.1, 50.0),
    "residual_scale": (0.0, 4.0),
    "logit_cap": (0.0, 100.0),
    "embedding_rate": (0.1, 30.0),
    "averaging": (0.0, 0.9),
    "smoothing": (0.0, 0.3),
}

GRID: dict[str, tuple[Any, ...]] = {
    "learning_rate": (0.0003, 0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02),
    "schedule": ("constant", "linear", "cosine"),
    "warmup": (0.0, 0.02, 0.05, 0.1, 0.2, 0.3),
    "weight_decay": (0.0, 0.001, 0.01, 0.03, 0.1, 0.3),
    "beta1": (0.5, 0.8, 0.9, 0.95, 0.99),
    "beta2": (0.9, 0.95, 0.98, 0.99, 0.999, 0.9999),
    "batch_size": (16, 32, 64, 128, 256),
    "width": (16, 32, 48, 64, 96),
    "depth": (1, 2, 3),
    "heads": (1, 2, 4, 8),
    "dropout": (0.0, 0.05, 0.1, 0.2),
    "loss": ("all", "answer"),
    "answer_order": ("plain", "reversed"),
    "operand_order": ("plain", "reversed", "interleaved"),
    "curriculum": (0.0, 0.1, 0.2, 0.4),
    "gradient_clip": (0.0, 0.3, 1.0, 3.0),
    "notebook": (0.0, 0.05, 0.1, 0.2, 0.3),
}
"""The common values for proposers to draw from, a tuple per knob, in order of size. A task may
have a grid of its own.
"""


def grid(
    notebook: bool, own: Mapping[str, tuple[Any, ...]] | None = None
) -> dict[str, tuple[Any, ...]]:
    """Return the values for a study's proposers to draw from: the task's own, or the common ones.

    Without a notebook its share is no knob and stays 0.
    """
    whole = typed_values(own) if own else GRID
    return {name: values for name, values in whole.items() if notebook or name != "notebook"}


def typed_values(own: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
    """Return a grid with the numbers of its knobs: bytes may hold 0 where a knob has 0.0."""
    rates = {f.name for f in fields(Recipe) if isinstance(f.default, float)}
    return {
        name: tuple(float(value) for value in values) if name in rates else tuple(values)
        for name, values in own.items()
    }


@cache
def knobs() -> tuple[str, ...]:
    """Return the names of all knobs, in the order of the recipe."""
    return tuple(f.name for f in fields(Recipe))


def knob_values(recipe: Recipe) -> dict[str, Any]:
    """Return every knob of a recipe with its value, the unwritten ones included."""
    return {name: getattr(recipe, name) for name in knobs()}
