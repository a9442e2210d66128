"""Train one successor: data and recipe in, weights and claims out. The one file that a model may patch.

`python models/train.py IN OUT` reads IN/job.json (what to do), IN/data.safetensors (`items`, uint8 (N, columns), canonical
order, shuffled on the trusted side), takes exactly the ordered number of steps, and writes OUT/weights.safetensors, then
OUT/claims.json. One thread; the same bundle, seed, CPU type and torch build give the same bytes.
"""

import json
import math
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from configs.build import parse, strict_json
from configs.job import Order
from configs.recipe import Recipe
from configs.tokens import Layout, layout
from models.net import Net


# region: schedule
def rate(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate of a step: linear warm-up, then the schedule down to zero."""
    warm = int(recipe.warmup * steps)
    if step < warm:
        return recipe.learning_rate * (step + 1) / warm
    done = (step - warm) / max(1, steps - warm)
    if recipe.schedule == "linear":
        return recipe.learning_rate * (1 - done)
    if recipe.schedule == "cosine":
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate
# endregion


# region: order
def easy_first(items: Tensor) -> Tensor:
    """Order of difficulty for the curriculum: the sum of an item's value tokens (small numbers, little ink, first)."""
    return items.long().sum(1).argsort(stable=True)


def draw(recipe: Recipe, ranked: Tensor, step: int, steps: int, generator: torch.Generator) -> Tensor:
    """Rows of one batch. During the curriculum only the easiest share is open; it grows from a fifth to all."""
    N, ramp = len(ranked), recipe.curriculum * steps
    share = 1.0 if step >= ramp else 0.2 + 0.8 * step / ramp
    rows = torch.randint(max(1, int(N * share)), (recipe.batch_size,), generator=generator)
    return ranked[rows] if share < 1 else rows
# endregion


# region: loss
def loss_of(logits: Tensor, tokens: Tensor, recipe: Recipe, lay: Layout) -> Tensor:
    """Mean cross-entropy of the next token: logits (B, T-1, V) against tokens (B, T), over all or the answer alone."""
    first = lay.question - 1 if recipe.loss == "answer" else 0
    return F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten())
# endregion


# region: update
def optimiser(net: Net, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019); gains are not decayed."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    gains = [p for p in net.parameters() if p.ndim == 1]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(recipe.beta1, recipe.beta2), fused=True)


def update(net: Net, opt: torch.optim.Optimizer, recipe: Recipe, lr: float) -> None:
    """One step of the optimiser at a learning rate, with the gradient clipped if the recipe says so."""
    if recipe.gradient_clip > 0:
        torch.nn.utils.clip_grad_norm_(net.parameters(), recipe.gradient_clip)
    for group in opt.param_groups:
        group["lr"] = lr
    opt.step()
    opt.zero_grad(set_to_none=True)
# endregion


def train(order: Order, items: Tensor) -> tuple[Net, float]:
    """Run the ordered steps; return the net and its last loss."""
    recipe, lay = order.recipe, layout(order.task, order.recipe)
    torch.manual_seed(order.seed)
    generator = torch.Generator().manual_seed(order.seed)
    net = Net(recipe, lay).train()
    opt = optimiser(net, recipe)
    tokens = items[:, list(lay.order)].long()  # (N, T)
    ranked = easy_first(items)
    loss = torch.zeros(())
    for step in range(order.steps):
        batch = tokens[draw(recipe, ranked, step, order.steps, generator)]
        loss = loss_of(net(batch[:, :-1]), batch, recipe, lay)
        loss.backward()
        update(net, opt, recipe, rate(recipe, step, order.steps))
    return net, loss.item()


def main(source: Path, target: Path) -> None:
    """Read the bundle, train, write weights and claims."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    order = parse(Order, strict_json((source / "job.json").read_bytes()))
    started = time.perf_counter()
    net, loss = train(order, load_file(source / "data.safetensors")["items"])
    seconds = time.perf_counter() - started
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, target / "weights.safetensors")
    claims = {"steps": order.steps, "final_loss": loss if math.isfinite(loss) else None, "seconds": round(seconds, 3)}
    (target / "claims.json").write_text(json.dumps(claims))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main(Path(sys.argv[1]), Path(sys.argv[2]))
