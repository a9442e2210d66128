"""Planned compute: a deterministic figure, known before a job runs.

    steps = planned_cpu_us / (overhead_us(depth)
                              + flops_per_step / flops_per_us
                              + elements_per_step / elements_per_us)

`tests/bench/measure_tasks.py` measures the constants per task; the task's YAML pins them. Steps are
computed on the trusted side and given to the job. FLOPs alone are not equal compute on such small
nets. Most time goes into calls (the overhead) and into element-wise work on activations and
attention maps (the last term).
"""

from dataclasses import dataclass, replace

from configs.build import need
from configs.recipe import Recipe
from configs.tokens import DOCUMENT, Layout, document


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

    def __post_init__(self) -> None:
        for name in ("base_us", "block_us", "flops_per_us", "elements_per_us"):
            need(getattr(self, name) > 0, name, getattr(self, name), "above 0")


def parameters(recipe: Recipe, lay: Layout) -> int:
    """Return the number of weights of the net in `models/net.py`.

    Counted are embeddings (token, position), blocks (attention 4w^2, MLP 8w^2, two RMSNorm gains)
    and the final gain; the output shares the token embedding.
    """
    w, length = recipe.width, max(len(lay.order), DOCUMENT if lay.notebook else 0)
    return (
        (lay.vocabulary + lay.notebook) * w + length * w + recipe.depth * (12 * w * w + 2 * w) + w
    )


def flops_per_step(recipe: Recipe, lay: Layout) -> int:
    """Return forward plus backward FLOPs of a step.

    6 per weight and token, and attention's 12 w T per token and block (Kaplan et al. 2020, section
    2.1).
    """
    w, length = recipe.width, len(lay.order) - 1
    per_token = (
        6 * (12 * w * w * recipe.depth + lay.vocabulary * w) + 12 * w * length * recipe.depth
    )
    return per_token * length * recipe.batch_size


def elements_per_step(recipe: Recipe, lay: Layout) -> int:
    """Return activation elements of a step.

    Per token and block: 12 widths (norms, qkv, MLP) and 3 attention rows per head. Besides, a width
    twice and the logits.
    """
    w, length = recipe.width, len(lay.order) - 1
    per_token = recipe.depth * (12 * w + 3 * recipe.heads * length) + 2 * w + lay.vocabulary
    return per_token * length * recipe.batch_size


def step_us(recipe: Recipe, lay: Layout, cost: Cost) -> float:
    """Return the planned CPU-microseconds of a training step.

    The notebook's share of the steps reads its documents.
    """
    if lay.notebook and recipe.notebook:
        own = step_us(recipe, document(lay), cost)
        return recipe.notebook * own + (1 - recipe.notebook) * step_us(
            recipe, replace(lay, notebook=0), cost
        )
    overhead = cost.base_us + cost.block_us * recipe.depth
    products = flops_per_step(recipe, lay) / cost.flops_per_us
    return overhead + products + elements_per_step(recipe, lay) / cost.elements_per_us


def steps(recipe: Recipe, lay: Layout, cost: Cost, planned_cpu_us: int) -> int:
    """Return how many steps `planned_cpu_us` buys, at least 1."""
    return max(1, int(planned_cpu_us / step_us(recipe, lay, cost)))
