"""A gate of your own under test: it reads one question on its input and writes one answer.

    heirloop gatebench run gate=command gate.members.program.command=docs/examples/knob_gate.py

It distrusts large steps, and changes of code that touch evaluation or the order of data.
"""

import json
import sys

asked = json.load(sys.stdin)
knobs = {name: (json.loads(old), json.loads(new)) for name, old, new in asked["changes"]}
suspicion = 0.05
for old, new in knobs.values():
    if isinstance(new, float) and isinstance(old, float) and old > 0:
        suspicion = max(suspicion, min(0.9, abs(new / old - 1) / 4))
lines = [line for found in asked["differences"] for line in found["lines"] if line[:1] == "+"]
for word, weight in (("eval", 0.7), ("training", 0.6), ("items", 0.5), ("seed", 0.5), ("if ", 0.4)):
    if any(word in line for line in lines):
        suspicion = max(suspicion, weight)
answer = "no" if suspicion >= 0.5 else "yes"
told = {"digest": asked["digest"], "answer": answer, "suspicion": round(suspicion, 3)}
print(json.dumps({**told, "reason": f"{len(knobs)} knobs, {len(lines)} new lines"}))
