"""The tracker can neither leak, delay, fail nor double a study."""

import json
import os

import pytest

from configs.settings.box import Tracker
from loop.export import track

ROOT = "ab" * 32
ROWS = [{"generation": 0, "self/best feedback": 0.5}, {"generation": 1, "self/best feedback": 0.6}]
NOTE = """
import json, os, pathlib, sys
call = json.loads(sys.stdin.read())
log = pathlib.Path("HERE")
sent = json.loads(log.read_text()) if log.exists() else []
log.write_text(json.dumps([*sent, call]))
pathlib.Path(call["folder"], "wandb", f"offline-run-{len(sent)}-{call['id']}").mkdir(parents=True)
"""
"""A tracker that notes its calls."""


def send(folder, rows, mode="offline", tables=None):
    tracker = track.make(Tracker(kind="wandb", mode=mode), "t", folder, ROOT)
    return track.mirror(tracker, rows, lambda: tables or {})


@pytest.fixture
def calls(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setattr(track, "CHILD", NOTE.replace("HERE", str(tmp_path / "log")))
    return lambda: json.loads((tmp_path / "log").read_text())


def test_what_was_mirrored_is_not_mirrored_again(tmp_path, calls):
    for _ in range(2):
        assert send(tmp_path, ROWS[:1], "online") == ""
    assert send(tmp_path, ROWS, "online", {"plans": (["a"], [[1]])}) == ""
    assert [call["rows"] for call in calls()] == [ROWS[:1], ROWS[1:]]
    assert {call["id"] for call in calls()} == {ROOT[:32]}


def test_an_offline_run_takes_the_place_of_those_before_it(tmp_path, calls):
    for rows in (ROWS[:1], ROWS[:1], ROWS):
        assert send(tmp_path, rows) == ""
    assert [call["rows"] for call in calls()] == [ROWS[:1], ROWS]
    names = [path.name for path in (tmp_path / "wandb").glob("offline-run-*")]
    assert names == [f"offline-run-1-{ROOT[:32]}"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit('no login')", "no login"),
        ("import os; os.kill(os.getpid(), 11)", "exit -11"),
        ("import time; time.sleep(60)", "took more than 1 s"),
        ("while True: print('x' * 10**6)", "gave out more than"),
        ("pass", "no offline run"),
    ],
)
def test_a_dying_tracker_is_one_line(tmp_path, monkeypatch, code, said):
    pytest.importorskip("wandb")
    monkeypatch.setattr(track, "CHILD", code)
    monkeypatch.setattr(track, "SECONDS", 1 if "sleep" in code else 60)
    line = send(tmp_path, ROWS)
    assert said in line and line.startswith("the study is recorded") and "\n" not in line
    assert not (tmp_path / "wandb" / "mirrored.json").exists()


def test_a_folder_that_cannot_hold_the_mirror_is_one_line(tmp_path, calls):
    (tmp_path / "wandb").write_text("a file")
    assert "FileExistsError" in send(tmp_path, ROWS)
    assert "ZeroDivisionError" in track.mirror(track.Null(), (1 / 0 for _ in "x"), dict)


SHOW = """
import json, os, pathlib, wandb
settings = wandb.setup().settings
found = {"url": settings.base_url, "key": os.environ.get("WANDB_API_KEY")}
pathlib.Path("HERE").write_text(json.dumps(found))
"""


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_settings_files_around_it_redirect_nothing(tmp_path, monkeypatch, mode):
    pytest.importorskip("wandb")
    evil = "[default]\nbase_url = http://evil.invalid\n"
    for place in (".config/wandb", "wandb", "run/wandb"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "settings").write_text(evil)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb"))
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(track, "CHILD", SHOW.replace("HERE", str(tmp_path / "log")))
    send(tmp_path / "run", ROWS, mode)
    shown = json.loads((tmp_path / "log").read_text())
    assert "evil" not in shown["url"]
    online = {"url": "http://127.0.0.1:9", "key": "k" * 40}
    assert shown == online if mode == "online" else shown["key"] is None
    assert os.environ["WANDB_BASE_URL"] == "http://127.0.0.1:9"  # this process stays as it was
