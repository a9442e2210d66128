"""Planned compute: a deterministic figure, known before a job runs.

    steps = planned_cpu_us / (base_us + block_us * blocks_per_step
                              + flops_per_step / flops_per_us
                              + elements_per_step / elements_per_us
                              + weights_per_step / weights_per_us)

`tests/bench/measure_tasks.py` measures the constants per task; the task's YAML pins them. Steps are
computed on the trusted side and given to the job. FLOPs alone are not equal compute on such small
nets. Most time goes into calls (the overhead) and into element-wise work on activations and
attention maps (the last term).
"""

from dataclasses import dataclass, replace

from configs.build import need
from configs.reader import later
from configs.recipe import Recipe
from configs.tokens import Layout, document

MUON_BLOCKS = 2
"""Blocks whose calls take as long as a step of optimiser `muon` in one block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Constants of the cost formula on the reference machine."""

    base_us: float
    "CPU-microseconds of a step without any block (data, embedding, optimiser, loop)"
    block_us: float
    "CPU-microseconds per block and step, size apart"
    flops_per_us: float
    "floating-point operations of the matrix products per CPU-microsecond"
    elements_per_us: float
    "activation elements of the element-wise work per CPU-microsecond"
    weights_per_us: float | None = later(None)
    "weights of the update per CPU-microsecond; null: the update is part of the base"

    def __post_init__(self) -> None:
        for name in ("base_us", "block_us", "flops_per_us", "elements_per_us"):
            need(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        speed = self.weights_per_us
        need(speed is None or speed > 0, "weights_per_us", speed, "null, or above 0")


def parameters(recipe: Recipe, lay: Layout) -> int:
    """Return the number of weights of the net in `models/net.py`.

    Counted are embeddings (token, and position where it is learned), blocks (attention 4w^2, MLP,
    two gains), the final gain, and the output's own map, bias and shortcut where a recipe has them.
    """
    w, length = recipe.width, lay.length
    tokens = (lay.vocabulary + lay.notebook) * w
    output = tokens * (recipe.output == "free") + lay.vocabulary * (recipe.output_bias != "none")
    output += lay.vocabulary**2 * (recipe.shortcut == "bigram")
    position = length * w * (recipe.position == "learned")
    return tokens + position + output + recipe.depth * (sum(_maps(recipe)) + 2 * w) + w


def _maps(recipe: Recipe) -> tuple[int, ...]:
    """Return the weights of a block's four matrices: qkv, out, up, down."""
    w, hidden = recipe.width, recipe.mlp_ratio * recipe.width
    return 3 * w * w, w * w, w * hidden * (1 + (recipe.activation == "swiglu")), hidden * w


def flops_per_step(recipe: Recipe, lay: Layout) -> int:
    """Return forward plus backward FLOPs of a step.

    6 per weight and token, and attention's 12 w T per token and block (Kaplan et al. 2020, section
    2.1); with optimiser `muon` five steps of 4 a^2 b + 2 a^3 for a matrix of a rows and b columns,
    a <= b.
    """
    w, length = recipe.width, len(lay.order) - 1
    weights = sum(_maps(recipe)) * recipe.depth + lay.vocabulary * w
    per_token = 6 * weights + 12 * w * length * recipe.depth
    update = 0
    if recipe.optimiser == "muon":
        sides = [sorted((w, size // w)) for size in _maps(recipe)]
        update = recipe.depth * sum(5 * (4 * a * a * b + 2 * a**3) for a, b in sides)
    return per_token * length * recipe.batch_size + update


def elements_per_step(recipe: Recipe, lay: Layout) -> int:
    """Return activation elements of a step.

    Per token and block: 12 widths (norms, qkv, MLP of ratio 4) and 3 attention rows per head.
    Besides, a width twice and the logits. Parts that a recipe adds count as they read and write.
    """
    w, length = recipe.width, len(lay.order) - 1
    block = (4 + 2 * recipe.mlp_ratio * (1 + (recipe.activation == "swiglu"))) * w
    block += 3 * recipe.heads * length * (1 + (recipe.position == "slopes"))
    block += 8 * w * (recipe.position == "rotary") + 4 * w * (recipe.query_norm == "rms")
    block += 2 * w * (recipe.shift == "half") + 2 * recipe.mlp_ratio * w * (
        recipe.activation == "relu2"
    )
    logits = sum((recipe.shortcut == "bigram", recipe.logit_cap > 0, recipe.smoothing > 0))
    per_token = recipe.depth * block + 2 * w + lay.vocabulary * (1 + 2 * logits)
    return per_token * length * recipe.batch_size


def blocks_per_step(recipe: Recipe) -> int:
    """Return a step's blocks in calls.

    Optimiser `muon` makes five Newton-Schulz steps for each of a block's four matrices. They were
    measured to take as long as MUON_BLOCKS blocks, size apart.
    """
    return recipe.depth * (1 + MUON_BLOCKS * (recipe.optimiser == "muon"))


def weights_per_step(recipe: Recipe, lay: Layout) -> int:
    """Return the weights that a step's update reads: all once, and once more for an average."""
    return parameters(recipe, lay) * (1 + (recipe.averaging > 0))


def step_us(recipe: Recipe, lay: Layout, cost: Cost) -> float:
    """Return the planned CPU-microseconds of a training step.

    The notebook's share of the steps reads its documents.
    """
    if lay.notebook and recipe.notebook:
        own = step_us(recipe, document(lay), cost)
        return recipe.notebook * own + (1 - recipe.notebook) * step_us(
            recipe, replace(lay, book=None), cost
        )
    overhead = cost.base_us + cost.block_us * blocks_per_step(recipe)
    products = flops_per_step(recipe, lay) / cost.flops_per_us
    work = overhead + products + elements_per_step(recipe, lay) / cost.elements_per_us
    if cost.weights_per_us is None:
        return work
    return work + weights_per_step(recipe, lay) / cost.weights_per_us


def steps(recipe: Recipe, lay: Layout, cost: Cost, planned_cpu_us: int) -> int:
    """Return how many steps `planned_cpu_us` buys, at least 1."""
    return max(1, int(planned_cpu_us / step_us(recipe, lay, cost)))
