"""Loops that ran elsewhere, with a known truth, and their logs in the format of each tool."""

import csv
import io
from dataclasses import dataclass

import numpy as np

from configs.records.trials import Trial


@dataclass(frozen=True)
class Planted:
    """A greedy loop that was simulated, and what its log cannot show."""

    trials: tuple[Trial, ...]
    false: int
    "keeps that were no better than the champion that they replaced"
    keeps: int
    excess: float
    "logged less true score of the last champion"
    left: float
    "true gain of the last champion over the first"


WORLDS = {
    "no effect": lambda rng: 0.0,
    "mostly harm": lambda rng: 0.0 if rng.random() < 0.3 else rng.normal(-1.5, 1),
    "zeros and gains": lambda rng: 0.0 if rng.random() < 0.7 else rng.normal(0, 2),
    "small effects": lambda rng: rng.normal(0, 0.5),
    "many gains": lambda rng: rng.normal(0.2, 1),
}
"""Effects of a proposal over its champion, in deviations of the noise."""


def plant(world, seed, trials=80, noise=1.0, start=0.0):
    """Play a greedy loop on a world; larger is better."""
    rng = np.random.default_rng(seed)
    true, logged = start, start + noise * rng.normal()
    rows = [Trial(name="t0", score=logged, kept=True, content="c0", text="baseline")]
    false = keeps = 0
    for i in range(1, trials):
        aim = true + noise * WORLDS[world](rng)
        score = aim + noise * rng.normal()
        kept = score > logged
        rows.append(
            Trial(name=f"t{i}", score=score, kept=kept, content=f"c{i}", text=f"change {i}")
        )
        if kept:
            keeps, false = keeps + 1, false + (aim <= true)
            true, logged = aim, score
    return Planted(
        trials=tuple(rows), false=false, keeps=keeps, excess=logged - true, left=true - start
    )


def commit(i):
    """Return a short commit of autoresearch."""
    return f"{0xA00000 + i:07x}"


def write_autoresearch(trials, place):
    """Write a results.tsv, where smaller is better."""
    lines = ["commit\tval_bpb\tmemory_gb\tstatus\tdescription"]
    for i, trial in enumerate(trials):
        status = "keep" if trial.kept else "discard"
        lines.append(f"{commit(i)}\t{2 - trial.score:.6f}\t44.0\t{status}\t{trial.text}")
    place.write_text("\n".join(lines) + "\n")
    return place


def write_csv(trials, place):
    """Write a CSV of trials."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow(["trial", "score", "kept", "content", "dataset", "description"])
    for t in trials:
        rows.writerow([t.name, repr(t.score), str(t.kept).lower(), t.content, "dev", t.text])
    place.write_text(file.getvalue())
    return place
