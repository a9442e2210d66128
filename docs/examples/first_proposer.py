"""The first program of study selfmod-v1: a plain proposer, from which an archive of others grows.

It reads one line of JSON and prints one proposal a line (docs/proposers.md). Each value of a knob
has a worth, from the trials that had it; a proposal moves a knob or two of the parent to other
values, and the best by worth and luck are printed. Its numbers were set by hand, tuned on nothing.
"""

import json
import random
import sys

TRUST = 1.0  # how much the trials count
LUCK = 1.0  # how much chance counts
DRAWS = 40
MOVES = 1

history = json.loads(sys.stdin.readline())
champion, grid = history["champion"], history["grid"]
scored = [trial for trial in history["trials"] if trial["score"] is not None]
middle = sum(trial["score"] for trial in scored) / max(1, len(scored))
tried = [champion, *history["barred"], *(trial["recipe"] for trial in history["trials"])]
rng = random.Random(1)


def worth(knob, value):
    """How much better trials with this value were than the mean trial."""
    own = [trial["score"] - middle for trial in scored if trial["recipe"][knob] == value]
    return sum(own) / (1 + len(own))


drafts = []
for _ in range(DRAWS):
    changed = {}
    for knob in rng.sample(sorted(grid), MOVES):
        others = [value for value in grid[knob] if value != champion[knob]]
        if others:
            changed[knob] = rng.choice(others)
    gain = sum(worth(knob, value) - worth(knob, champion[knob]) for knob, value in changed.items())
    drafts.append((TRUST * gain + LUCK * rng.random(), changed))
drafts.sort(key=lambda draft: draft[0], reverse=True)
for _, changed in drafts:
    recipe = {**champion, **changed}
    if changed and recipe not in tried:
        tried.append(recipe)
        print(json.dumps({"hypothesis": "worth and luck", "knobs": changed}))
    if len(tried) > 400:
        break
