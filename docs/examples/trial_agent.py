"""An agent that keeps what is better: it trains its ideas at its door, and proposes the best.

heirloop run study=single proposer=agent proposer.file=docs/examples/trial_agent.py proposer.trials=6 study.name=trials
"""  # noqa: E501

import json
import socket
from pathlib import Path


def ask(change):
    """Post a change to the door; return the HTTP status and the answer."""
    body = json.dumps(change).encode()
    head = f"POST /v1/trials HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("/doors/trial")
        door.sendall(head + body)
        answer = b"".join(iter(lambda: door.recv(65536), b""))
    return int(answer[9:12]), json.loads(answer.partition(b"\r\n\r\n")[2])


history = json.loads(Path("history.json").read_text())
champion, tried = history["champion"], []
for knob in ("learning_rate", "batch_size", "depth", "warmup", "weight_decay"):
    for value in history["grid"].get(knob, ()):
        if value == champion[knob]:
            continue
        change = {"hypothesis": f"{knob} {value}", "knobs": {knob: value}}
        status, answer = ask(change)
        print(status, change, answer)
        if status == 200 and not answer["failure"]:
            score = answer["score"]  # none where the Ladder says "not better"
            tried.append((-1e9 if score is None else score, change))
        if status == 200 and not answer["left"]:
            break
tried.sort(key=lambda one: -one[0])
best = [change for _, change in tried[: history["count"]]]
Path("proposals.jsonl").write_text("\n".join(map(json.dumps, best)))
Path("notes").write_text(json.dumps(tried))
