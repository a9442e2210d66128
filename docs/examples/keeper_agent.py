"""An agent of your own: it runs for a generation in a box and keeps notes from one to the next.

    heirloop run study=single proposer=agent proposer.file=docs/examples/keeper_agent.py study.name=keeper

It works through the single steps of the champion's recipe, and its notes say which it has proposed.
"""  # noqa: E501

import json
from pathlib import Path

history = json.loads(Path("history.json").read_text())
notes = Path("notes")
done = json.loads(notes.read_text()) if notes.exists() else []
proposals = []
for knob, values in history["grid"].items():
    for value in values:
        step = [knob, value]
        if value == history["champion"][knob] or step in done or knob in ("width", "heads"):
            continue
        if len(proposals) < history["count"]:
            proposals.append({"hypothesis": f"{knob} {value}", "knobs": {knob: value}})
            done.append(step)
Path("proposals.jsonl").write_text("\n".join(map(json.dumps, proposals)))
notes.write_text(json.dumps(done))
print(f"{len(done)} steps proposed so far")
