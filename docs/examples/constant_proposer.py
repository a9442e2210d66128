"""A proposer for training programs of one's own: it scales one constant of train.py.

It runs in a box, where the champion's program lies at /in/models/train.py, reads one line of JSON
and prints one proposal a line. A constant is a line `name = number` at the left margin.

heirloop run task=program task.folder=DIR study=single proposer=command gates=programs
proposer.file=docs/examples/constant_proposer.py
"""

import json
import random
import re
import sys

history = json.loads(sys.stdin.readline())
with open("/in/models/train.py") as file:
    text = file.read()
found = re.findall(r"^(\w+ = )(\d+\.?\d*(?:e-?\d+)?)$", text, re.MULTILINE)
constants = [(name, value) for name, value in found if float(value)]
constants = [(n, v) for n, v in constants if text.count(f"\n{n}{v}\n") == 1]
rng = random.Random(len(history["trials"]))
for _ in range(history["count"]):
    name, value = rng.choice(constants)
    factor = rng.choice([0.5, 0.7, 1.5, 2.0, 3.0])
    new = float(f"{float(value) * factor:.3g}")
    if value.isdigit():
        new = max(1, round(new))
    edit = {
        "file": "models/train.py",
        "search": f"\n{name}{value}\n",
        "replace": f"\n{name}{new}\n",
    }
    words = f"{name.split()[0]} becomes {new} instead of {value}"
    print(json.dumps({"hypothesis": words, "knobs": {}, "edits": [edit]}))
