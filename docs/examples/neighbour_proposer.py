"""A proposer of your own: it runs in a box, reads one line of JSON and prints one proposal a line.

    heirloop run study=single proposer=command proposer.file=docs/examples/neighbour_proposer.py study.name=neighbour

It moves one knob of the best trial to a neighbouring value of its grid, and two where single steps
run out. It never proposes a recipe twice.
"""  # noqa: E501

import json
import random
import sys

history = json.loads(sys.stdin.readline())
champion, grid = history["champion"], history["grid"]
limit = history.get("most_changes", 0)  # under a limit, a step counts against a trial with a plan
scored = [trial for trial in history["trials"] if trial["score"] is not None]
bases = [trial for trial in scored if "plan" in trial or not limit]
best = max(bases, key=lambda trial: trial["score"], default={"recipe": champion})
basis = {"basis": best["plan"]} if "plan" in best else {}
tried = [champion] + [trial["recipe"] for trial in history["trials"]]
rng = random.Random(len(tried))


def neighbours(recipe):
    """Every recipe that differs from this one in one step of one knob, and whose heads divide its
    width.
    """
    for knob, values in grid.items():
        at = min(range(len(values)), key=lambda i: (values[i] != recipe[knob], i))
        for near in (at - 1, at + 1):
            if 0 <= near < len(values):
                other = {**recipe, knob: values[near]}
                if other["width"] % other["heads"] == 0:
                    yield knob, other


near, steps = list(neighbours(best["recipe"])), []
far = [pair for _, one in near if limit != 1 for pair in neighbours(one)]
for ring in (near, far):  # two steps where single steps run out
    rng.shuffle(ring)
    for knob, other in ring:
        if other not in tried:
            tried.append(other)
            steps.append((knob, other))
for knob, other in steps[: history["count"]]:
    changed = {name: value for name, value in other.items() if value != champion[name]}
    print(json.dumps({"hypothesis": f"one step of {knob}", "knobs": changed, **basis}))
