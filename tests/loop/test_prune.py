"""`heirloop prune`: dropped weights are told, and no check is weakened for what stays."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from fakes import FakeBox
from studies import better, config, entries, mandate

from configs.entries import JobEntry, PruneEntry, facts_of
from configs.errors import BadInput, Stopped, VerificationFailed
from loop.command.main import cli
from loop.study import open as study_open
from loop.verify import prune as pruning
from loop.verify.inputs import WEIGHTS
from loop.verify.run import verify
from sandbox.lock import Lock
from sandbox.store import Store


@pytest.fixture
def finished(tmp_path, go):
    """A finished study and its folder."""
    cfg = config(tmp_path)
    mandate(cfg)
    assert go(cfg, FakeBox(better))["champion"]
    study_open.release_locks()
    return cfg, Path(cfg.runs) / "t"


def weights(cfg, champions):
    """Return the digests of weights of plans that were champions, or of the others."""
    lines = entries(cfg)
    names = {line.body["plan"] for line in lines if line.kind == "champion"}
    return {
        job.result.outputs[WEIGHTS]
        for job in facts_of(lines, JobEntry)
        if WEIGHTS in job.result.outputs and (job.plan in names) == champions
    }


def test_weights_of_rejected_successors_go_and_the_rest_verifies(finished):
    cfg, folder = finished
    store, before = Store(folder / "store"), verify(folder)
    counted = pruning.prune(folder, "user ada", dry=True)
    assert all(store.size(name) for name in weights(cfg, champions=False))
    told = pruning.prune(folder, "user ada")
    gone, kept = weights(cfg, champions=False) - weights(cfg, True), weights(cfg, champions=True)
    assert told == {**counted, "dropped": True} and told["files"] == len(gone) > 5
    assert kept and all(map(store.size, kept)) and not any(map(store.size, gone))
    (fact,) = facts_of(entries(cfg), PruneEntry)
    assert (fact.count, fact.size, fact.who) == (len(gone), told["bytes"], "user ada")
    after = verify(folder)
    assert after["dropped files"] == len(gone) and after["scores"] == before["scores"] > 0
    assert pruning.prune(folder, "user ada")["files"] == 0
    assert len(list(facts_of(entries(cfg), PruneEntry))) == 1


def test_only_listed_files_may_be_missing(finished):
    cfg, folder = finished
    pruning.prune(folder, "user ada")
    store = Store(folder / "store")
    store.drop(min(weights(cfg, champions=True)))
    with pytest.raises(VerificationFailed, match="is missing"):
        verify(folder)


def test_a_dropped_file_that_is_back_must_have_its_bytes(finished):
    cfg, folder = finished
    name = min(weights(cfg, champions=False) - weights(cfg, True))
    pruning.prune(folder, "user ada")
    place = folder / "store" / name[:2] / name[2:]
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(b"other weights")
    with pytest.raises(VerificationFailed, match="wrong bytes"):
        verify(folder)


def test_a_kill_after_the_entry_is_made_good_by_the_same_command(finished, monkeypatch):
    cfg, folder = finished
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop", lambda store, name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            pruning.prune(folder, "user ada")
    verify(folder)  # the files are still there, and right
    gone = weights(cfg, champions=False) - weights(cfg, True)
    assert pruning.prune(folder, "user ada")["files"] == 0
    assert len(list(facts_of(entries(cfg), PruneEntry))) == 1
    assert not any(map(Store(folder / "store").size, gone))
    verify(folder)


def test_a_study_that_goes_on_or_does_not_verify_keeps_everything(tmp_path, go, finished):
    cfg, folder = finished
    other = config(tmp_path, "study.name=u")
    mandate(other)

    def dies(execution):
        raise Stopped("enough")

    with pytest.raises(Stopped):
        go(other, FakeBox(better, dies))
    study_open.release_locks()
    with pytest.raises(BadInput, match="not finished"):
        pruning.prune(folder.with_name("u"), "user ada")
    lock = Lock(folder)
    lock.hold_folder(folder)
    with pytest.raises(Stopped, match="run by another process"):
        pruning.prune(folder, "user ada")
    lock.close()
    Store(folder / "store").drop(min(weights(cfg, champions=True)))
    with pytest.raises(VerificationFailed):
        pruning.prune(folder, "user ada")
    assert not list(facts_of(entries(cfg), PruneEntry))


def test_the_command_tells_what_it_dropped_and_an_export_still_verifies(finished, tmp_path):
    _, folder = finished
    told = CliRunner().invoke(cli, ["prune", str(folder), "--dry"])
    assert told.exit_code == 0 and "files" in told.output, told.output
    assert CliRunner().invoke(cli, ["prune", str(folder)]).exit_code == 0
    assert verify(folder)["dropped files"]
    for command in (["report", folder], ["export", folder, "--to", tmp_path / "out"]):
        done = CliRunner().invoke(cli, list(map(str, command)))
        assert done.exit_code == 0, done.output
    done = CliRunner().invoke(cli, ["verify", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
