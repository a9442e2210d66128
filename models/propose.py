"""Propose with the weights that were trained: they read the notebook as it stands, are asked for a
good outcome, and write the next recipe.

Reads IN/job.json, IN/weights.safetensors and IN/history.json (`configs.history.History`); writes
OUT/proposals.jsonl, one proposal a line. Reading is training by their own recipe for the ordered
steps. Decoding is constrained to the recipe's grid and never repeats a trial. Under a change limit
every draft is a whole recipe within it, so nothing is ever cut off a proposal. Where the bundle
holds a `program`, that writes instead: it gets the history as one line of JSON on its input and
prints a proposal a line; anything but exit code 0 is a failure.
"""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from configs.build import parse, strict_json
from configs.history import History, buckets, notebook
from configs.job import Order
from configs.notebook import ASK, BUCKETS, Notebook
from configs.recipe import Recipe, knob_values
from configs.tokens import layout
from models.net import Net
from models.predict import fit
from models.train import AdamW, documents, notebook_loss, rate

DRAFTS = 64
"""Recipes that are drawn for one proposal, of which the best by the net's own prediction is
proposed.
"""
TEMPERATURES = (1.0, 2.0, 4.0, 16.0)
"""Of the draws, in turn while all of them repeat trials; 1: as the net believes, 16: near uniform.
"""


def read(net: Net, recipe: Recipe, history: History, seed: int, steps: int) -> None:
    """Train the weights on the notebook as it stands now, by their own recipe, for the ordered
    steps.
    """
    assert net.book is not None
    trials, generator, adam = (
        torch.tensor(notebook(history.trials, net.book)),
        torch.Generator().manual_seed(seed),
        AdamW(net, recipe),
    )
    net.train()
    for step in range(steps if len(trials) else 0):
        notebook_loss(net, documents(recipe, trials, generator)).backward()
        adam.step(rate(recipe, step, steps))
    net.eval()


@torch.no_grad()
def write(
    net: Net,
    book: Notebook,
    outcome: int,
    fixed: dict[str, Any],
    generator: torch.Generator,
    temperature: float,
    free: Tensor | None = None,
    champion: Tensor | None = None,
) -> Tensor:
    """Draw recipes (DRAFTS, knobs) given an outcome: knobs in random order, each among its own
    values; `fixed` knobs are kept. With `free` (DRAFTS, knobs), the other knobs of a draft stand at
    the champion's tokens (knobs,) and come first.
    """
    groups, knobs = net.groups, len(book.pairs)
    place = torch.rand(DRAFTS, knobs, generator=generator)
    if free is not None:
        place += free
    order = place.argsort(1) + 2  # the group of the knob that stands at each position
    rows = torch.full((DRAFTS, 1), outcome)
    for column in range(knobs):
        logits = net(rows + net.vocabulary, notebook=True)[:, -1] / temperature
        open_ = groups == order[:, column : column + 1]
        rows = torch.cat(
            [
                rows,
                torch.multinomial(
                    logits.masked_fill(~open_, -math.inf).softmax(-1), 1, generator=generator
                ),
            ],
            dim=1,
        )
        for name, token in fixed.items():
            here = order[:, column] == groups[book.pairs[name]]
            rows[here, -1] = token
        if free is not None and champion is not None:
            knob = order[:, column] - 2
            stays = ~free.gather(1, knob[:, None])[:, 0]
            rows[stays, -1] = champion[knob[stays]]
    return rows[:, 1:]


def choose(book: Notebook, history: History, generator: torch.Generator) -> Tensor | None:
    """Choose the knobs that each draft may change, (DRAFTS, knobs): a random subset of the grid's
    as large as the change limit; None without a limit.
    """
    if not history.most_changes:
        return None
    open_ = torch.tensor([name in history.grid for name in book.pairs])
    rank = torch.rand(DRAFTS, len(book.pairs), generator=generator).masked_fill(~open_, 2.0)
    return (rank.argsort(1).argsort(1) < history.most_changes) & open_


@torch.no_grad()
def foresee(net: Net, drafts: Tensor) -> Tensor:
    """Return the probability of each outcome, (N, BUCKETS), that the net gives to recipes (N,
    knobs).
    """
    rows = torch.cat([torch.full((len(drafts), 1), ASK), drafts], dim=1)
    return net(rows + net.vocabulary, notebook=True)[:, -1, :BUCKETS].softmax(-1)


def worth(history: History) -> Tensor:
    """Return the mean told score of each outcome, (BUCKETS,); one without a score counts as the
    least.
    """
    told = [
        (b, t.score)
        for b, t in zip(buckets(history.trials), history.trials, strict=True)
        if b >= 0 and t.score is not None
    ]
    least = min((score for _, score in told), default=0.0)
    each = [[score for b, score in told if b == bucket] for bucket in range(BUCKETS)]
    return torch.tensor([sum(found) / len(found) if found else least for found in each])


def propose(net: Net, history: History, seed: int) -> list[dict[str, Any]]:
    """Return the proposals: mostly asked for the best outcome, every fourth for the one below; each
    foretold best among its drafts.
    """
    assert net.book is not None
    book, generator = net.book, torch.Generator().manual_seed(seed)
    values, before = worth(history), history.champion_score
    now = book.encode(history.champion)
    fixed = {
        name: token for name, token in zip(book.pairs, now, strict=True) if name not in history.grid
    }
    tried = {
        tuple(sorted(book.encode(recipe)))
        for recipe in (history.champion, *history.barred, *(t.recipe for t in history.trials))
    }
    result = []
    for number in range(history.count):
        outcome = BUCKETS - 1 - (number % 4 == 3)
        for temperature in TEMPERATURES:
            free = choose(book, history, generator)
            tokens = None if free is None else torch.tensor(now)
            drafts = write(net, book, outcome, fixed, generator, temperature, free, tokens)
            foretold = foresee(net, drafts) @ values
            ranked = foretold.argsort(descending=True, stable=True).tolist()
            fresh = [i for i in ranked if tuple(sorted(drafts[i].tolist())) not in tried]
            if fresh:
                break
        else:
            continue
        tried.add(tuple(sorted(drafts[fresh[0]].tolist())))
        recipe, changed = knob_values(history.champion), book.decode(drafts[fresh[0]].tolist())
        if history.most_changes:  # a value off the grid stands at its nearest token, and stays
            changed = book.decode([t for t in drafts[fresh[0]].tolist() if t not in now])
        gain = None if before is None else round(foretold[fresh[0]].item() - before, 4)
        result.append(
            {
                "hypothesis": (
                    f"written by the champion's weights, asked for outcome {outcome} of"
                    f" {BUCKETS - 1}"
                ),
                "predicted_gain": gain,
                "knobs": {name: value for name, value in changed.items() if value != recipe[name]},
                "edits": [],
            }
        )
    return result


def command(program: Path, history: bytes, target: Path) -> None:
    """Run a program with the history on its input. Binaries and scripts of another interpreter run
    as they are, all else is Python.

    The box holds Python and the libraries of C; no shell.
    """
    own, data = Path("/tmp/program"), program.read_bytes()
    own.write_bytes(data)
    own.chmod(0o700)
    first = data.partition(b"\n")[0]
    python = (
        []
        if data[:4] == b"\x7fELF" or (first[:2] == b"#!" and b"python" not in first)
        else [sys.executable, "-B"]
    )
    with (target / "proposals.jsonl").open("wb") as out:
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        code = subprocess.run(
            [*python, str(own)], input=history + b"\n", stdout=out, env=env, cwd="/tmp"
        ).returncode
    if code:
        raise SystemExit(code if code > 0 else 1)


def main(source: Path, target: Path) -> None:
    """Load, read, draw, write; or let a program do it."""
    if (source / "program").exists():
        command(source / "program", (source / "history.json").read_bytes(), target)
        return
    torch.set_num_threads(1)
    order = parse(Order, strict_json((source / "job.json").read_bytes()))
    history = parse(History, strict_json((source / "history.json").read_bytes(), limit=16_000_000))
    torch.set_deterministic_debug_mode("error")
    torch.manual_seed(order.seed)
    net = Net(order.recipe, layout(order.task, order.recipe))
    fit(net, source / "weights.safetensors")
    read(net, order.recipe, history, order.seed, order.steps)
    lines = [json.dumps(one) for one in propose(net, history, order.seed)]
    (target / "proposals.jsonl").write_text("\n".join(lines))
