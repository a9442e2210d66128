"""An agent of smolagents, as PyPI has it, that asks the study's model and changes train.py.

    make .agent/ready
    heirloop run study=single task=program task.folder=DIR gates=programs proposer=agent-llm proposer.file=docs/examples/smol_agent.py box=namespace box.environment=.agent proposer.llm.url=http://127.0.0.1:8000/v1 budget.tokens=500000

The library finds the door in its environment variable OPENAI_BASE_URL. Its tool runs in the box.
"""  # noqa: E501

import json
import os
from pathlib import Path

from smolagents import CodeAgent, OpenAIModel, tool

history = json.loads(Path("history.json").read_text())
train = Path("models/train.py").read_text()
proposals = []


@tool
def propose(search: str, replace: str, reason: str) -> str:
    """Propose to replace a text of train.py.

    Args:
        search: A text that occurs once in train.py.
        replace: The text to put in its place.
        reason: Why this should lower the error.
    """
    if train.count(search) != 1:
        return f"refused: that text occurs {train.count(search)} times in train.py"
    edit = {"file": "models/train.py", "search": search, "replace": replace}
    proposals.append({"hypothesis": reason, "knobs": {}, "edits": [edit]})
    return f"noted; {history['count'] - len(proposals)} left to propose"


agent = CodeAgent(tools=[propose], model=OpenAIModel(os.environ["OPENAI_MODEL"]), max_steps=4)
agent.run(f"Propose {history['count']} different changes that make this train.py better:\n{train}")
Path("proposals.jsonl").write_text("\n".join(map(json.dumps, proposals)))
