"""`heirloop repair` puts back what somebody still has, and nothing that no record names."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakeBox
from studies import better, config, entries, mandate

from configs.errors import BadInput, Stopped, VerificationFailed
from loop.command.main import cli
from loop.study import open as study_open
from loop.verify.prune import prune
from loop.verify.repair import repair
from loop.verify.run import list_blobs, verify
from sandbox.heads import places
from sandbox.lock import Lock


@pytest.fixture
def lost(tmp_path, go):
    """A finished run that lost files of its store, its copy, and its settings."""
    cfg = config(tmp_path)
    mandate(cfg)
    go(cfg, FakeBox(better))
    study_open.release_locks()
    folder, copy = Path(cfg.runs) / "t", tmp_path / "copy"
    shutil.copytree(folder, copy)
    for number, name in enumerate(sorted(named(cfg))):
        place = folder / "store" / name[:2] / name[2:]
        if number % 3 == 0:
            place.unlink()
        elif number % 3 == 1:
            place.write_bytes(b"other bytes")
    with pytest.raises(VerificationFailed):
        verify(folder)
    return cfg, folder, copy


def named(cfg):
    """Return the digests of stored files that the entries name."""
    return {name for entry in entries(cfg) for name in list_blobs(entry)}


def test_lost_and_damaged_files_come_back_from_a_copy(lost):
    cfg, folder, copy = lost
    before = entries(cfg)
    assert repair(folder, copy)["files"] >= 2 * (len(named(cfg)) // 3) > 4
    assert repair(folder, copy) == {"heads": 0, "files": 0}
    assert entries(cfg) == before


def test_without_a_copy_a_sentence_says_what_is_missing(lost, tmp_path):
    _, folder, copy = lost
    with pytest.raises(VerificationFailed, match="restore it from a copy"):
        repair(folder)
    with pytest.raises(BadInput, match="--from is"):
        repair(folder, tmp_path / "nothing")
    done = CliRunner().invoke(cli, ["repair", str(folder), "--from", str(copy), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)[0] == {"put back": "heads", "count": 0}


def test_a_copy_with_other_bytes_puts_nothing_back(lost):
    cfg, folder, copy = lost
    name = min(named(cfg))
    (copy / "store" / name[:2] / name[2:]).write_bytes(b"poison")
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        repair(folder, copy)
    assert not (folder / "store" / name[:2] / name[2:]).exists()


def test_dropped_files_do_not_come_back(tmp_path, lost):
    _, folder, copy = lost
    repair(folder, copy)
    dropped = prune(folder, "user ada")["files"]
    assert dropped and repair(folder, copy)["files"] == 0
    assert verify(folder)["dropped files"] == dropped


@pytest.mark.parametrize("number", [0, 1])
def test_heads_come_from_the_other_place_and_only_signed_ones(lost, number):
    cfg, folder, copy = lost
    repair(folder, copy)
    pair = places(folder, entries(cfg)[0].hash)
    place, other = pair[number], pair[1 - number]
    whole = place.read_text()
    assert len(whole.splitlines()) > 2
    place.write_text("".join(whole.splitlines(keepends=True)[:1]))
    with pytest.raises(VerificationFailed, match="lacks checkpoints"):
        verify(folder)
    signed = other.read_text()
    other.write_text(signed.replace('"count":', '"count": 1', 1))
    with pytest.raises(VerificationFailed, match="not signed"):
        repair(folder)
    assert place.read_text() != whole
    other.write_text(signed)
    assert repair(folder)["heads"] == len(whole.splitlines()) - 1 and place.read_text() == whole


def test_a_run_that_goes_on_is_left_alone(lost):
    _, folder, copy = lost
    lock = Lock(folder)
    lock.hold_folder(folder)
    with pytest.raises(Stopped, match="run by another process"):
        repair(folder, copy)
    lock.close()
