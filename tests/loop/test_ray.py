"""Studies over the nodes of a Ray cluster on this machine: real trainings, and a node that dies."""

import importlib.util
import json
import os
import time
from datetime import datetime

import pytest
from conftest import ROOT, need_box
from crashes import REAL, entries, flaws, kept, lost_jobs
from ray_nodes import RayNodes, begin, finish
from studies import mandate

from configs.entries import JobEntry, NodeEntry, StartEntry, facts_of
from configs.errors import BadInput, HeirloopError, NoBox
from loop.settings import compose_settings
from loop.study import ray_nodes
from sandbox.box.namespace import NamespaceBox

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]
FEW = ["study.proposals=1", "study.final_replicates=0"]
HOSTILE = """
import json, pickle, sys
from pathlib import Path
from loop.study import ray_nodes
from sandbox.box.cluster import LostNode

class Trap:
    def __reduce__(self):
        return (Path.touch, (Path(sys.argv[2]),))

class Hostile:
    def __init__(self, jobs):
        self.trap = bytes
    def run(self, what):
        class Late:
            def __reduce__(self):
                return (Path.touch, (Path(what.decode()),))
        if what.startswith(b"raise"):
            raise ValueError(Late())
        return Late()

import ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
import ray.util.scheduling_strategies
node = next(n for n in ray.nodes() if "node:__internal_head__" in n["Resources"])
ray_nodes.Agent = Hostile
link = ray_nodes.RayLink(ray, node, None)
told = {}
try:
    link.run(sys.argv[2].encode(), 60)
except LostNode as error:
    told["lost"] = str(error)
told["touched"] = Path(sys.argv[2]).exists()
ray.get(link._agent.run.remote(sys.argv[2].encode()))
told["unpickled"] = Path(sys.argv[2]).exists()
Path(sys.argv[3]).write_text(json.dumps(told))  # Ray prints between lines of the output
"""


def need_ray():
    """Make sure that Ray and a box are here, or skip with the reason."""

    def find():
        if not importlib.util.find_spec("ray"):
            raise NoBox("Ray is not installed; `make .venv/cluster` installs it")
        NamespaceBox(ROOT / ".box", warm=False).close()

    need_box(find, "ray")


@pytest.fixture(scope="module")
def nodes():
    need_ray()
    made = RayNodes(2)
    yield made
    made.close()


def make(folder, monkeypatch, *overrides):
    """Return the settings of a study in a folder of its own, with a mandate."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    cfg = compose_settings([*REAL, *FEW, *overrides])
    mandate(cfg)
    return cfg


def wait_for_trainings(cfg, process):
    """Wait until both nodes train, and have only begun."""
    end = time.monotonic() + 300
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.05)
        try:
            found = entries(cfg)
        except HeirloopError:
            continue  # the study has not begun
        done = {fact.nonce for fact in facts_of(found, JobEntry)}
        begun = [
            (entry.fact.job.role, time.time() - datetime.fromisoformat(entry.time).timestamp())
            for entry in found
            if entry.kind == StartEntry.kind and entry.fact.grant.nonce not in done
        ]
        if len(begun) == 2 and all("train" in role and age < 0.5 for role, age in begun):
            return
    raise AssertionError("no two trainings ran side by side")


def test_a_node_killed_in_mid_study_changes_no_result(tmp_path, nodes, monkeypatch):
    here = make(tmp_path / "here", monkeypatch)
    finish(begin(tmp_path / "here", {**os.environ, "PYTHONPATH": str(ROOT)}, *FEW), 400)
    whole = kept(here)
    assert any("verdict" in name for name in whole)
    far = make(tmp_path / "far", monkeypatch)
    process = nodes.play(tmp_path / "far", *FEW)
    wait_for_trainings(far, process)
    nodes.kill(1)
    finish(process, 400)
    assert kept(far) == whole and flaws(far) == []
    assert lost_jobs(far) == 1 and len(list(facts_of(entries(far), NodeEntry))) == 2
    results = [fact.result for fact in facts_of(entries(far), JobEntry)]
    assert [bool(result.receipt) for result in results].count(False) == 1


def test_nothing_that_a_node_answers_is_unpickled(tmp_path, nodes):
    place, told = tmp_path / "touched", tmp_path / "told"
    code, out = nodes.ask(HOSTILE, nodes.address, str(place), str(told))
    assert code == 0, out
    assert json.loads(told.read_text()) == {
        "lost": "a node's answer is no plain bytes",
        "touched": False,
        "unpickled": True,
    }


def test_a_cluster_without_a_token_is_refused(monkeypatch):
    need_ray()
    made = RayNodes(1, token=False)
    try:
        with pytest.raises(BadInput, match="it should be a cluster with a token"):
            ray_nodes._need_token(made.address)
    finally:
        made.close()


def test_where_no_cluster_is_there_is_no_box():
    need_ray()
    with pytest.raises(NoBox, match="there is no cluster at 127"):
        ray_nodes._need_token("127.0.0.1:1")
