"""Orders from outside a loop that runs, hangs, or is dead: real jobs in a real box, killed and
counted.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, need_box
from web import Person, chromium, served

from loop.people import acts, requests
from sandbox import control, keys
from sandbox.box import cgroup, kill
from sandbox.box.namespace import NamespaceBox
from sandbox.gate import Halted, fold
from sandbox.ledger import Ledger

LONG = [
    "task.train_items=500",
    "task.held_out=100",
    "task.planned_cpu_us=60000000",
    "study.name=t",
    "study.arms=[random]",
    "study.generations=1",
    "study.proposals=1",
    "budget.cpu_seconds=9000",
    "gates.unattended.cpu_seconds=9000",
    "budget.train.cpu_us=120000000",
    "budget.train.wall_us=900000000",
    "budget.wall_seconds=100000",
    "gates.unattended.jobs=900",
    "budget.jobs=900",
]


HEIRLOOP = [sys.executable, "-c", "from loop.command.main import main; main()"]
SLEEPS = """
import loop.campaign, loop.study.root
real = loop.campaign.bundle_of
loop.campaign.bundle_of = loop.study.root.bundle_of = lambda config: real(config) | \
{"models/train.py": b"import time\\ndef main(source, target): time.sleep(600)"}
from loop.command.main import main; main()
"""
"""The command line, with trainings that only sleep, so that eight of them fit on any machine."""


@pytest.fixture
def start(tmp_path):
    """Start a study of long trainings in a process of its own and wait until `jobs` of them run;
    its run folder and process.
    """
    need_box(lambda: NamespaceBox(ROOT / ".box", warm=False), "namespace").close()
    began = []

    def go(jobs=2, *extra):
        folder = tmp_path / "runs" / "t"
        settings = [
            *LONG,
            f"study.repeats={jobs}",
            f"box.parallel={jobs}",
            "box=namespace",
            f"runs={tmp_path}/runs",
            *extra,
        ]
        if not (keys.home() / "mandates").exists():
            subprocess.run(
                [*HEIRLOOP, "mandate", "grant", "--unattended", *settings],
                check=True,
                capture_output=True,
                cwd=ROOT,
            )
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPS, "run", *settings],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            start_new_session=True,
        )
        began.append(process)
        wait(lambda: process.poll() is not None or len(live(process.pid)) >= jobs)
        assert process.poll() is None, process.stderr.read().decode()[-400:]
        return folder, process

    yield go
    for process in began:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()


def wait(done, seconds=240):
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def live(pid):
    """Return the groups of a loop's jobs that hold something; works without control groups by its
    boxes.
    """
    if not cgroup.available():
        return list(kill.find_processes(pid))
    return [
        g
        for g in cgroup._groups(Path("/sys/fs/cgroup"), lambda owner: owner == pid)
        if "-j-" in str(g.procs[0]) and g.is_occupied()
    ]


def kinds(folder, what="control"):
    return [e.body for e in Ledger.at(folder).entries() if e.kind == what]


@pytest.mark.parametrize("how", ["command", "hangs", "hangs in a transaction", "file", "sigterm"])
def test_a_stop_kills_every_job_and_nothing_starts_after_it(start, how):
    folder, process = start()
    if how == "file":
        (folder / "STOP").write_text("smoke in the room")
        wait(lambda: process.poll() is not None)
    elif how == "sigterm":
        process.send_signal(signal.SIGTERM)
        wait(lambda: process.poll() is not None)
    elif how == "hangs in a transaction":
        with Ledger.at(folder).transaction():  # as a loop would that stopped while it wrote
            os.kill(process.pid, signal.SIGSTOP)
            control.kill_jobs(process.pid, "")
            assert live(process.pid) == []
        control.stop(folder, "ada", "practice")
    else:
        if how == "hangs":
            os.kill(process.pid, signal.SIGSTOP)
        found = control.stop(folder, "ada", "practice")
        assert found["loop_killed"] is (how == "hangs") and found["killed"] >= 2
    assert live(process.pid) == []
    wait(lambda: process.poll() is not None)
    stops = [c for c in kinds(folder) if c["what"] == "stop"]
    assert [c["who"] for c in stops] == [
        {"file": "file STOP", "sigterm": "signal SIGTERM"}.get(how, "ada")
    ]
    assert how != "file" or stops[0]["why"] == "smoke in the room"
    before = len(kinds(folder, "start"))
    again = subprocess.run(
        [
            *HEIRLOOP,
            "run",
            *LONG,
            "study.repeats=2",
            "box=namespace",
            "box.parallel=2",
            f"runs={folder.parent}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (
        again.returncode == 5
        and "heirloop resume" in again.stderr
        and len(kinds(folder, "start")) == before
    )
    assert acts.resume(folder, "ada") == () and not (folder / "STOP").exists()
    assert requests.open_gate(folder).memory.halt == ""


@pytest.mark.browser
def test_a_person_watches_a_run_in_the_browser_and_stops_it_there(start):
    with chromium() as browser, contextlib.ExitStack() as stack:
        keys.new_key("ada", "person", "correct horse")
        folder, process = start()
        address = stack.enter_context(served(folder.parent))
        ada = Person(browser, address)
        ada.open_file(keys.home() / "keys" / "ada.key", "correct horse")
        ada.page.wait_for_url(address + "/")
        page = ada.goto("/runs/t")
        ada.says("running", ".state")
        assert page.locator("#live tbody tr", has_text="train").count() >= 2  # jobs now
        before = kinds(folder, "start")
        control.order(requests.open_gate(folder).ledger, "slow", "bob", "a look", per_hour=900)
        ada.says(
            "slowed to 900 jobs an hour", "#live"
        )  # the page follows without being loaded again
        page.get_by_label("Why").fill("smoke in the room")
        page.get_by_role("button", name="Stop").click()
        ada.says("stopped", ".state")
        wait(lambda: process.poll() is not None)
        assert live(process.pid) == [] and kinds(folder, "start") == before
        (stop,) = [c for c in kinds(folder) if c["what"] == "stop"]
        assert (stop["who"], stop["why"]) == (
            "ada (person, inbox)",
            "smoke in the room",
        ) and ada.wrong == []


def test_a_stop_works_on_what_a_dead_loop_left_and_charges_it(start):
    folder, process = start()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found = control.stop(folder, "ada", "the loop is dead")
    wait(lambda: live(process.pid) == [], 5)
    assert found["charged_in_full"] == 2 and [c["what"] for c in kinds(folder)] == ["stop"]


def test_a_drill_stops_eight_jobs_measures_it_and_the_study_goes_on(start):
    folder, process = start(8)
    found = control.drill(folder, "ada")
    assert (found["jobs"], found["left"]) == (8, 0) and kinds(folder, "drill")[0][
        "milliseconds"
    ] > 0
    wait(lambda: len(live(process.pid)) >= 8 or process.poll() is not None)
    assert process.poll() is None, process.stderr.read()
    assert requests.open_gate(folder).memory.halt == ""
    lost = [b["result"] for b in kinds(folder, "job")]
    assert (
        len(lost) == 8
        and {r["detail"] for r in lost} == {"killed by a drill"}
        and all(r["charged"]["wall_us"] > 0 for r in lost)
    )


def test_without_the_check_at_launch_a_stopped_study_would_go_on(start, monkeypatch):
    """U08: the ledger's freeze is what holds, not the loop's good will."""
    folder, _ = start()
    control.stop(folder, "ada", "practice")
    gate = requests.open_gate(folder)
    begun = next(e.fact.grant for e in gate.ledger.entries() if e.kind == "start")
    grant = gate.next_grant(begun.plan, begun.role, begun.index)
    with pytest.raises(Halted, match="halted"), gate.ledger.transaction() as txn:
        gate.launch(txn, grant)
    monkeypatch.delitem(fold.FOLDS, "control")
    free = requests.open_gate(folder)
    with free.ledger.transaction() as txn:
        free.launch(txn, grant)


def test_the_command_line_orders_and_reports(start, monkeypatch):
    folder, process = start(1, "gates.patience_seconds=60")

    def run(*args):
        return subprocess.run([*HEIRLOOP, *args], cwd=ROOT, capture_output=True, text=True)

    assert (
        run("slow", str(folder), "0").returncode == 2
        and run("slow", str(folder), "3", "--why", "hot").returncode == 0
    )
    assert (
        run("pause", str(folder)).returncode == 0
        and requests.open_gate(folder).memory.halt == "pause"
    )
    assert live(process.pid)  # a pause lets jobs end
    assert run("resume", str(folder)).returncode == 0 and run("resume", str(folder)).returncode == 2
    told = json.loads(run("stop", str(folder), "--json").stdout)
    assert {row["what"] for row in told} == {
        "order",
        "seconds",
        "killed",
        "loop_killed",
        "charged_in_full",
    }
    assert run("drill", str(folder)).returncode == 5 and process.wait() == 5
