"""A program that proposes, in real boxes: any executable, bounded by the box, its output the only
thing that comes out.
"""

import json
import shutil

import pytest
from conftest import ROOT, need_box, on

from configs.build import plain
from configs.history import History, Trial
from configs.job import Limits
from configs.recipe import Recipe, grid
from loop.plan import source
from sandbox.box.base import Execution
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox
from sandbox.canonical import canonical
from sandbox.run import OUTPUTS

TRIALS = (
    Trial(recipe=Recipe(), outcome="first", score=0.5),
    Trial(recipe=Recipe(depth=3), outcome="better", score=0.6),
)
HISTORY = History(
    champion=Recipe(),
    champion_source="",
    champion_score=0.5,
    grid=grid(False),
    count=3,
    trials=TRIALS,
)


@pytest.fixture(scope="module", params=[on("namespace"), on("docker")])
def box(request):
    made = need_box(
        lambda: (
            NamespaceBox(ROOT / ".box")
            if request.param == "namespace"
            else DockerBox("heirloop-box", warm=True)
        ),
        request.param,
    )
    yield made
    made.close()


def run(box, program: bytes, **limits):
    files = {**source(), "program": program, "history.json": canonical(HISTORY), "job.json": b"{}"}
    return box.run(
        Execution(role="propose", files=files, limits=Limits(**limits), outputs=OUTPUTS["propose"])
    )


def lines(result):
    assert result.status == "ok", (result.status, result.detail, result.log)
    return result.files["proposals.jsonl"].decode().splitlines()


def test_the_example_proposes_steps_from_the_best_trial_that_nobody_tried(box):
    found = [
        json.loads(line)
        for line in lines(
            run(box, (ROOT / "docs" / "examples" / "neighbour_proposer.py").read_bytes())
        )
    ]
    assert len(found) == 3
    for one in found:
        recipe = {**plain(Recipe()), **one["knobs"]}
        assert sum(
            recipe[name] != value for name, value in plain(Recipe(depth=3)).items()
        ) == 1 and recipe != plain(Recipe())


def test_a_script_with_its_own_first_line_and_a_binary_propose_as_well(box):
    assert lines(run(box, b"#!/usr/bin/env python3\nprint(len(input()))\n")) == [
        str(len(canonical(HISTORY)))
    ]
    with open(shutil.which("cat"), "rb") as binary:
        assert lines(run(box, binary.read())) == [canonical(HISTORY).decode()]


@pytest.mark.parametrize(
    ("program", "limits", "said"),
    [
        (b"import sys\nprint('{}')\nsys.exit(3)\n", {}, ("program", "exit 3")),
        (b"#!/no/such/interpreter\n", {}, ("program", "exit 1")),
        (b"raise ValueError('x')\n", {}, ("program", "exit 1")),
        (b"import os\nos.kill(os.getpid(), 9)\n", {}, ("program", "exit 1")),
        (b"while True: pass\n", {"cpu_us": 400_000}, ("limit", "cpu")),
        (b"import time; time.sleep(60)\n", {"wall_us": 2_000_000}, ("limit", "wall")),
        (
            b"print('x' * 1_000_001)\n",
            {},
            ("program", "proposals.jsonl has 1000002 bytes; at most 1000000 are taken"),
        ),
        (
            b"b = []\nwhile True: b.append(bytearray(b'x' * 10_000_000))\n",
            {"memory_bytes": 200_000_000},
            ("limit", "memory"),
        ),
    ],
)
def test_a_program_that_fails_or_takes_too_much_gives_nothing(box, program, limits, said):
    result = run(box, program, **limits)
    assert (result.status, result.detail) == said and result.files == {}


def test_a_program_finds_no_network_no_answers_and_no_trusted_side(box):
    found = lines(
        run(
            box,
            b"""
import importlib.util, json, os, socket
try:
    socket.socket()
    net = "open"
except OSError:
    net = "closed"
print(json.dumps([net, sorted(n for n in os.listdir("/in")), [n for n in ("sklearn", "loop", \
"sandbox", "evals") if importlib.util.find_spec(n)]]))
""",
        )
    )
    net, names, modules = json.loads(found[0])
    assert (
        net == "closed"
        and names == ["configs", "history.json", "job.json", "models", "program"]
        and modules == []
    )
