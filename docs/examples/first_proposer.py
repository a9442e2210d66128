"""The first program of study selfmod-v1: a plain proposer, from which an archive of others grows.

It reads one line of JSON and prints one proposal a line (docs/proposers.md). Moves of the parent
are drawn, ranked by `rank`, and the first are printed. Operators change the marked region alone;
its numbers were set by hand and tuned on nothing.
"""

import json
import random
import sys

# region: policy
TRUST, LUCK, TRIED, SHRINK = 1.0, 1.0, 0.0, 1.0
MOVES, DRAWS = 1, 30


def worth(scores, mean):
    """How much better than the mean trial those with a value were, shrunk where they are few."""
    return sum(score - mean for score in scores) / (SHRINK + len(scores))


def rank(gain, known, changes, luck):
    """The place of a draft: by its gain in worth, the trials behind it, its changes, and luck."""
    known = min(known, 8)
    return TRUST * gain + TRIED * known / 8 + LUCK * luck - 0.0 * changes


# endregion


history = json.loads(sys.stdin.readline())
champion, grid, rng = history["champion"], history["grid"], random.Random(1)
scored = [trial for trial in history["trials"] if trial["score"] is not None]
mean = sum(trial["score"] for trial in scored) / max(1, len(scored))
barred = [champion, *history["barred"], *(trial["recipe"] for trial in history["trials"])]
free = sorted(knob for knob, values in grid.items() if set(values) - {champion[knob]})
drafts = []
for _ in range(max(8, min(200, int(DRAWS)))):
    changed, gain, known = {}, 0.0, 0
    for knob in rng.sample(free, max(1, min(2, int(MOVES)))):
        changed[knob] = rng.choice([value for value in grid[knob] if value != champion[knob]])
        for value, sign in ((changed[knob], 1), (champion[knob], -1)):
            own = [t["score"] for t in scored if t["recipe"][knob] == value]
            gain, known = gain + sign * worth(own, mean), known + len(own)
    drafts.append((float(rank(gain, known, len(changed), rng.random())), len(drafts), changed))
for _, _, changed in sorted(drafts, reverse=True):
    if {**champion, **changed} not in barred:
        barred.append({**champion, **changed})
        print(json.dumps({"hypothesis": "worth and luck", "knobs": changed}))
