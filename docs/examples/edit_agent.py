"""An agent that edits train.py: of the update, the schedule, clipping, the start.

heirloop run study=autoresearch-short

Some of its edits help, some do nothing, some harm, and nobody told it which. Three in ten are
placebos: they draw other seeds and nothing else, so it promises a gain of exactly 0. It draws with
the seed of its job, which the same generation of every arm of a repeat shares.
"""

import json
import random
import re
from pathlib import Path

PLACEBOS = 0.3
"""Share of its proposals."""
SEEDS = re.compile(
    r"    torch\.manual_seed\(order\.seed.*\)\n"
    r"    generator = torch\.Generator\(\)\.manual_seed\(order\.seed.*\)\n"
)
PLAIN = "        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * done))\n"
LAST = f"{PLAIN}    return recipe.learning_rate"
NET = "    net = Net(recipe, lay).train()\n"
SCALED = """    with torch.no_grad():
        for p in net.parameters():
            if p.ndim > 1:
                p.mul_(FACTOR)
"""
STEP = "    def step(self, rate: float) -> None:\n"
CLIP = "torch.nn.utils.clip_grad_norm_(self.all, self.clip)"
EDITS = {
    "fall in a line": (f"{LAST}\n", f"{LAST} * (1 - done)\n"),
    "hold, then fall": (f"{LAST}\n", f"{LAST} * min(1.0, 4.0 * (1 - done))\n"),
    "fall as a cosine": (f"{LAST}\n", f"{LAST} * 0.5 * (1 + math.cos(math.pi * done))\n"),
    "one hump": (f"{LAST}\n", f"{LAST} * 2.0 * math.sin(math.pi * done)\n"),
    "a longer warm-up": ("int(recipe.warmup * steps)", "int((recipe.warmup + 0.15) * steps)"),
    "a higher rate": ("lr=rate * factor", "lr=1.5 * rate * factor"),
    "a much higher rate": ("lr=rate * factor", "lr=6.0 * rate * factor"),
    "a lower rate": ("lr=rate * factor", "lr=0.5 * rate * factor"),
    "shorter memory of squares": ("beta2=self.betas[1]", "beta2=0.95"),
    "less momentum": ("beta1=self.betas[0]", "beta1=0.8"),
    "a larger epsilon": ("eps=1e-8", "eps=1e-6"),
    "more weight decay": ("weight_decay=decay", "weight_decay=10 * decay"),
    "no weight decay": ("weight_decay=decay", "weight_decay=0.0"),
    "tighter clipping": (CLIP, "torch.nn.utils.clip_grad_norm_(self.all, 0.3 * self.clip)"),
    "clip each value": (CLIP, "torch.nn.utils.clip_grad_value_(self.all, 0.01)"),
    "signs of gradients": (STEP, f"{STEP}        for p in self.all:\n            p.grad.sign_()\n"),
    "faster embeddings": (
        "factor, decay = recipe.embedding_rate,",
        "factor, decay = 3.0 * recipe.embedding_rate,",
    ),
    "mean of the last weights": (
        "math.ceil(recipe.averaging * steps)",
        "math.ceil(0.1 * steps)",
    ),
    "smaller logits": (
        "        return loss\n",
        "        return loss + 0.0001 * logits.logsumexp(-1).square().mean()\n",
    ),
    "smaller first weights": (NET, NET + SCALED.replace("FACTOR", "0.5")),
    "larger first weights": (NET, NET + SCALED.replace("FACTOR", "1.5")),
}
"""Name -> text of train.py, and what takes its place."""


def edit(search, replace):
    """Return an edit of the champion's program."""
    return [{"file": "models/train.py", "search": search, "replace": replace}]


def propose(rng, source, tried):
    """Return the next proposal; `tried` gets its name."""
    open_ = [name for name, (old, _) in EDITS.items() if name not in tried and old in source]
    if rng.random() < PLACEBOS or not open_:
        old, number = SEEDS.search(source)[0], rng.randrange(1, 10**6)
        new = re.sub(r"order\.seed[^)]*", f"order.seed + {number}", old)
        placebo = {"hypothesis": "luck: other seeds", "knobs": {}, "predicted_gain": 0.0}
        return {**placebo, "edits": edit(old, new)}
    name = rng.choice(open_)
    tried.append(name)
    return {"hypothesis": name, "knobs": {}, "edits": edit(*EDITS[name])}


def main():
    """Write the proposals of a generation, and the names of all edits so far into the notes."""
    rng = random.Random(json.loads(Path("/in/job.json").read_text())["seed"])
    count = json.loads(Path("history.json").read_text())["count"]
    source, notes = Path("models/train.py").read_text(), Path("notes")
    tried = json.loads(notes.read_text()) if notes.exists() else []
    proposals = [propose(rng, source, tried) for _ in range(count)]
    Path("proposals.jsonl").write_text("\n".join(map(json.dumps, proposals)))
    notes.write_text(json.dumps(tried))


if __name__ == "__main__":
    main()
