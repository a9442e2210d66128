"""An agent for a small model: it lists a few changes, and the model names one of them.

heirloop run study=single proposer=agent-llm proposer.file=docs/examples/choosing_agent.py proposer.llm.url=http://127.0.0.1:8765/v1 proposer.llm.model=SmolLM2-135M-Instruct proposer.llm.answer_tokens=40 proposer.llm.seconds=600 budget.tokens=100000 study.name=choosing

Question and answer have some 150 tokens. An answer that names no change is no proposal.
"""  # noqa: E501

import http.client
import json
import os
import random
import re
import socket
from pathlib import Path

OFFERED = 4


class Door(http.client.HTTPConnection):
    """A connection to the door, in the place of one to a host."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/doors/model")


def ask(text):
    """Return the model's answer to one message."""
    door, words = Door("door"), [{"role": "user", "content": text}]
    request = {"model": os.environ["OPENAI_MODEL"], "messages": words}
    door.request("POST", "/v1/chat/completions", json.dumps(request))
    return json.loads(door.getresponse().read())["choices"][0]["message"]["content"]


history = json.loads(Path("history.json").read_text())
rng = random.Random(json.loads(Path("/in/job.json").read_text())["seed"])
champion, grid = history["champion"], history["grid"]
changes = [(knob, new) for knob in grid for new in grid[knob] if new != champion[knob]]
rng.shuffle(changes)
proposals = []
for number in range(history["count"]):
    offered = changes[number * OFFERED : (number + 1) * OFFERED]
    lines = [f"{n}. {knob}: {champion[knob]} -> {new}" for n, (knob, new) in enumerate(offered, 1)]
    asked = f"Which change makes a small net learn better? Answer with its number, 1 to {OFFERED}."
    answer = ask("\n".join([asked, *lines, "Number:"]))
    if (found := re.search(r"\d+", answer)) and 1 <= int(found[0]) <= len(offered):
        knob, new = offered[int(found[0]) - 1]
        proposals.append({"hypothesis": f"the model chose {knob}", "knobs": {knob: new}})
    print(number, repr(answer[:80]), proposals[-1:])
Path("proposals.jsonl").write_text("\n".join(map(json.dumps, proposals)))
