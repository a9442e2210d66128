"""An agent that asks the study's model at its door, and proposes what the model writes.

heirloop run study=single proposer=agent-llm proposer.file=docs/examples/model_agent.py proposer.llm.url=http://127.0.0.1:8000/v1 budget.tokens=500000
"""  # noqa: E501

import http.client
import json
import os
import socket
from pathlib import Path


class Door(http.client.HTTPConnection):
    """A connection to a door, in the place of one to a host."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/doors/model")


def chat(text):
    """Return the model's answer to one message."""
    door = Door("door")
    request = {"model": os.environ["OPENAI_MODEL"], "messages": [{"role": "user", "content": text}]}
    door.request("POST", "/v1/chat/completions", json.dumps(request))
    answer = json.loads(door.getresponse().read())
    return answer["choices"][0]["message"]["content"]


history = json.loads(Path("history.json").read_text())
task = f"A training recipe is {json.dumps(history['champion'])}. Values: {history['grid']}. "
wanted = 'Change one knob. Answer with one JSON object like {"hypothesis": "why", "knobs": {}}.'
with Path("proposals.jsonl").open("w") as out:
    for number in range(history["count"]):
        answer = chat(f"{task}{wanted} Idea {number + 1}.")
        out.write(answer[answer.find("{") : answer.rfind("}") + 1].replace("\n", " ") + "\n")
