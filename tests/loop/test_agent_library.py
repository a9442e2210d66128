"""An agent of a public library, as PyPI has it, in a whole study of real jobs against a stub."""

import os

import pytest
from conftest import ROOT, need_box
from programs import write_folder
from stub_model import say, stub
from studies import bodies, mandate

from loop.settings import compose_settings
from loop.verify.run import verify
from sandbox.box import tcp
from sandbox.box.namespace import NamespaceBox

ENVIRONMENT = ROOT / ".agent"
pytestmark = [pytest.mark.agent, pytest.mark.timeout(1800)]  # half a minute on a quiet machine
TRIES = """Thought: I look for the text first.
<code>
print(propose("questions[:60]", "questions[:4]", "fewer rows"))
</code>"""
PROPOSES = """Thought: It is written otherwise.
<code>
print(propose("questions[:40]", "questions[:4]", "fewer rows"))
final_answer("done")
</code>
Observation: what follows a stop is not for the agent"""


@pytest.fixture
def environment():
    """The environment of the library."""
    if not (ENVIRONMENT / "ready").exists():
        required = "agent" in os.environ.get("HEIRLOOP_REQUIRE_BOX", "").split(",")
        (pytest.fail if required else pytest.skip)(
            "there is no .agent; `make .agent/ready` installs smolagents"
        )
    if reason := tcp.explain_absence():
        pytest.skip(reason)
    return ENVIRONMENT


def test_an_agent_of_smolagents_changes_a_training_program_and_pays_for_its_questions(
    tmp_path, go, environment
):
    with stub(say(TRIES), say(PROPOSES)) as server:
        cfg = compose_settings(
            [
                "task=program",
                f"task.folder={write_folder(tmp_path / 'folder')}",
                "study=single",
                "study.name=t",
                "study.generations=1",
                "study.proposals=1",
                "study.confirm_replicates=2",
                "study.final_replicates=0",
                "objective.alpha=0.3",
                "gates=programs",
                f"runs={tmp_path / 'runs'}",
                "box=namespace",
                f"box.environment={environment}",
                "proposer=agent-llm",
                f"proposer.file={ROOT / 'docs' / 'examples' / 'smol_agent.py'}",
                f"proposer.llm.url={server.url}",
                "proposer.calls=4",
                "budget.tokens=500000",
            ]
        )
        mandate(cfg)
        pinned = cfg.box.environment_digest
        assert go(cfg, need_box(lambda: NamespaceBox(ROOT / ".box", environment=pinned)))
        assert len(server.asked) == 2
    assert b"occurs 0 times" in server.asked[1][2]  # what its tool answered in the box
    (plan,) = [b["plan"] for b in bodies(cfg, "plan") if b["plan"]["purpose"] == "candidate"]
    assert plan["hypothesis"] == "fewer rows" and plan["change_class"] == "patch"
    answers = [body["answer"] for body in bodies(cfg, "answer")]
    assert [one["charged"]["tokens"] for one in answers] == [120, 120]
    (door,) = bodies(cfg, "door")
    assert (door["door"], door["asked"], door["malformed"]) == ("model", 2, 0)
    assert verify(tmp_path / "runs" / "t")["scores"] > 0
