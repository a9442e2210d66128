"""Train one successor: data and recipe in, weights and claims out. The one file that a model may
patch.

`python -m models.train IN OUT` (in the folder that holds models/ and configs/) reads IN/job.json
and IN/data.safetensors (`items`, uint8 (N, columns), canonical order, shuffled on the trusted side)
and, where it learns to propose, IN/notebook.safetensors (`trials`, uint8 (N, 1 + knobs): outcome,
then a pair token per knob), takes exactly the ordered number of steps, and writes
OUT/weights.safetensors, then OUT/claims.json. One thread; the same bundle, seed, CPU type and torch
build give the same bytes. It refuses a job file that breaks its schema.
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
from configs.notebook import ASK
from configs.recipe import Recipe
from configs.tokens import FIRST_VALUE, Layout, Task, layout
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
def easy_first(items: Tensor, task: Task) -> Tensor:
    """Rows, easy ones first: sums by carries, then by digit sum; modular sums by size; images by
    ink.
    """
    values = (items.long() - FIRST_VALUE).clamp(min=0)  # (N, columns); '+' and '=' count nothing
    if task.name != "addition":
        return values[:, :-1].sum(1).argsort(stable=True)
    digits = values[:, : -(task.digits + 1)].sum(1)
    carries = (
        digits - values[:, -(task.digits + 1) :].sum(1)
    ) // 9  # each carry turns ten into one
    return (carries * 1000 + digits).argsort(stable=True)


def draw(
    recipe: Recipe, ranked: Tensor, step: int, steps: int, generator: torch.Generator
) -> Tensor:
    """Rows of one batch. During the curriculum only the easiest share is open; it grows from a
    fifth to all.
    """
    N, ramp = len(ranked), recipe.curriculum * steps
    share = 1.0 if step >= ramp else 0.2 + 0.8 * step / ramp
    rows = torch.randint(max(1, int(N * share)), (recipe.batch_size,), generator=generator)
    return ranked[rows] if share < 1 else rows


class Shuffled:
    """Rows without repetition, in an order that is drawn anew when all were seen."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator = count, generator
        self.left = torch.randperm(count, generator=generator)

    def take(self, size: int) -> Tensor:
        while len(self.left) < size:
            more = torch.randperm(self.count, generator=self.generator)
            self.left = torch.cat([self.left, more])
        rows, self.left = self.left[:size], self.left[size:]
        return rows


# endregion


# region: loss
def loss_of(logits: Tensor, tokens: Tensor, recipe: Recipe, lay: Layout) -> Tensor:
    """Mean cross-entropy of the next token: logits (B, T-1, V) against tokens (B, T), over all or
    the answer alone.
    """
    first = lay.question - 1 if recipe.loss == "answer" else 0
    loss = F.cross_entropy(logits[:, first:].flatten(0, 1), tokens[:, first + 1 :].flatten())
    if not recipe.smoothing:
        return loss
    even = -logits[:, first:].log_softmax(-1).mean()  # against equal shares of all tokens
    return (1 - recipe.smoothing) * loss + recipe.smoothing * even


@torch.no_grad()
def start_bias(net: Net, recipe: Recipe, tokens: Tensor) -> None:
    """Set the output's bias to the log frequencies of the training file's tokens (N, T)."""
    if net.bias is not None and recipe.output_bias == "frequencies":
        counts = tokens[:, 1:].flatten().bincount(minlength=net.vocabulary) + 0.5
        net.bias.copy_((counts / counts.sum()).log())


# endregion


# region: notebook
def documents(recipe: Recipe, trials: Tensor, generator: torch.Generator) -> Tensor:
    """One batch of the notebook: rows of `trials` (outcome, pairs) as outcome or ASK, the pairs in
    random order, outcome.
    """
    rows = trials[torch.randint(len(trials), (recipe.batch_size,), generator=generator)]
    order = torch.rand(rows.shape[0], rows.shape[1] - 1, generator=generator).argsort(1)
    outcome = rows[:, :1]
    first = torch.where(torch.rand(outcome.shape, generator=generator) < 0.5, outcome, ASK)
    return torch.cat([first, rows[:, 1:].gather(1, order), outcome], dim=1)


def notebook_loss(net: Net, rows: Tensor) -> Tensor:
    """Mean cross-entropy of each next notebook token among those of its own group: rows (B, T)
    without the task's offset. Others are left out, so that the net need not learn what decoding
    enforces.
    """
    logits = net(rows[:, :-1] + net.vocabulary, notebook=True)
    other = net.groups[rows[:, 1:], None] != net.groups
    return F.cross_entropy(
        logits.masked_fill(other, -math.inf).flatten(0, 1), rows[:, 1:].flatten()
    )


# endregion


# region: update
class AdamW:
    """AdamW (Loshchilov and Hutter 2019), one fused call per group; gains and biases are not
    decayed. `torch.optim` is left out: its first use imports the compiler, a CPU-second that every
    training would be charged for. With optimiser `muon` the blocks' matrices go another way.
    """

    def __init__(self, net: Net, recipe: Recipe) -> None:
        self.betas, self.clip = (recipe.beta1, recipe.beta2), recipe.gradient_clip
        self.all, self.groups, self.muon = list(net.parameters()), [], []
        inner = set(net.blocks.parameters())
        factor, decay = recipe.embedding_rate, recipe.weight_decay
        for chosen, speed, shrink in (
            (lambda p: p.ndim > 1 and p in inner, 1.0, decay),
            (lambda p: p.ndim > 1 and p not in inner, factor, decay),
            (lambda p: p.ndim == 1, 1.0, 0.0),
        ):
            weights = [p for p in self.all if chosen(p)]
            first, second = ([torch.zeros_like(p) for p in weights] for _ in range(2))
            steps = [torch.zeros(()) for _ in weights]
            if recipe.optimiser == "muon" and weights and weights[0].ndim > 1 and speed == 1.0:
                self.muon = list(zip(weights, first, strict=True))
            elif weights:
                self.groups.append((weights, first, second, steps, shrink, speed))
        self.decay = decay
        self.task_only = [p for p in (net.bias, net.bigram) if p is not None]
        self.clear()

    @torch.no_grad()
    def step(self, rate: float) -> None:
        if self.clip > 0:
            torch.nn.utils.clip_grad_norm_(self.all, self.clip)
        for weights, first, second, steps, decay, factor in self.groups:
            torch._foreach_add_(steps, 1)
            torch._fused_adamw_(
                weights,
                [p.grad for p in weights],
                first,
                second,
                [],
                steps,
                lr=rate * factor,
                beta1=self.betas[0],
                beta2=self.betas[1],
                weight_decay=decay,
                eps=1e-8,
                amsgrad=False,
                maximize=False,
            )
        for weight, momentum in self.muon:
            momentum.mul_(self.betas[0]).add_(weight.grad)
            weight.mul_(1 - rate * self.decay)
            weight.add_(orthogonal(momentum * self.betas[0] + weight.grad), alpha=-rate)
        self.clear()

    def clear(self) -> None:
        """Forget the gradients; a step on the notebook gives none to what serves the task alone."""
        for p in self.all:
            p.grad = None
        for p in self.task_only:
            p.grad = torch.zeros_like(p)


def orthogonal(update: Tensor) -> Tensor:
    """Return a matrix with the update's singular vectors and like singular values, as large as
    AdamW's step: five Newton-Schulz steps (Jordan 2024), then 0.2 sqrt(longer side).
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = update if update.shape[0] <= update.shape[1] else update.T
    x = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x if update.shape[0] <= update.shape[1] else x.T
    return 0.2 * max(update.shape) ** 0.5 * x


class Average:
    """The mean of the weights over the last steps."""

    def __init__(self, net: Net, recipe: Recipe, steps: int) -> None:
        self.weights, self.mean, self.count = list(net.parameters()), list[Tensor](), 0
        self.first = steps - math.ceil(recipe.averaging * steps)

    @torch.no_grad()
    def add(self, step: int) -> None:
        if step >= self.first:
            self.count += 1
            self.mean = self.mean or [p.clone() for p in self.weights]
            torch._foreach_lerp_(self.mean, self.weights, 1 / self.count)

    @torch.no_grad()
    def finish(self) -> None:
        for weight, mean in zip(self.weights, self.mean, strict=False):
            weight.copy_(mean)


# endregion


def train(order: Order, items: Tensor, trials: Tensor | None = None) -> tuple[Net, float]:
    """Run the ordered steps, a share of them on the notebook's trials; return the net and its last
    loss.
    """
    recipe, lay = order.recipe, layout(order.task, order.recipe)
    torch.manual_seed(order.seed)
    generator = torch.Generator().manual_seed(order.seed)
    net = Net(recipe, lay).train()
    adam = AdamW(net, recipe)
    tokens = items[:, list(lay.order)].long()  # (N, T)
    ranked = easy_first(items, order.task)
    start_bias(net, recipe, tokens)
    shuffled = Shuffled(len(tokens), generator) if recipe.sampling == "shuffled" else None
    average = Average(net, recipe, order.steps)
    loss = torch.zeros(())
    for step in range(order.steps):
        if trials is not None and recipe.notebook > torch.rand((), generator=generator):
            loss = notebook_loss(net, documents(recipe, trials, generator))
        else:
            rows = (
                shuffled.take(recipe.batch_size)
                if shuffled
                else draw(recipe, ranked, step, order.steps, generator)
            )
            batch = tokens[rows]
            loss = loss_of(net(batch[:, :-1]), batch, recipe, lay)
        loss.backward()
        adam.step(rate(recipe, step, order.steps))
        average.add(step)
    average.finish()
    return net, loss.item()


def main(source: Path, target: Path) -> None:
    """Read the bundle, train, write weights and claims."""
    torch.set_num_threads(1)
    torch.set_deterministic_debug_mode(
        "error"
    )  # as use_deterministic_algorithms, which imports the compiler, a CPU-second
    order = parse(Order, strict_json((source / "job.json").read_bytes()))
    started = time.perf_counter()
    book = source / "notebook.safetensors"
    trials = load_file(book)["trials"].long() if book.exists() else None
    net, loss = train(order, load_file(source / "data.safetensors")["items"], trials)
    seconds = time.perf_counter() - started
    save_file(
        {name: value.contiguous() for name, value in net.state_dict().items()},
        target / "weights.safetensors",
    )
    claims = {
        "steps": order.steps,
        "final_loss": loss if math.isfinite(loss) else None,
        "seconds": round(seconds, 3),
    }
    (target / "claims.json").write_text(json.dumps(claims))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
