"""Sweeps: `heirloop run -m` with Hydra's own launchers, each study in a process of its own."""

import importlib.util
import os
import subprocess
import sys

import pytest
from conftest import ROOT
from crashes import kept
from studies import mandate
from test_repeatable import TINY

from loop import session
from loop.settings import compose_settings
from loop.study import open as study_open

SWEEP = [*TINY, "study.generations=1", "study.seed=1,2", "study.name=s-${study.seed}"]
MAIN = "from loop.command.main import main; main()"


def compose(seed):
    return compose_settings(
        [*TINY, "study.generations=1", f"study.seed={seed}", f"study.name=s-{seed}"]
    )


@pytest.fixture(params=["joblib", "submitit_local"])
def sweep(request, tmp_path, monkeypatch):
    """Return a function that sweeps over two studies; it returns the exit code and the output."""
    package = f"hydra_plugins.hydra_{request.param.partition('_')[0]}_launcher"
    if not _is_there(package):
        pytest.skip(f"no {package}; `make .venv/servers` installs it")
    monkeypatch.chdir(tmp_path)

    def run():
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "run", "-m", f"hydra/launcher={request.param}", *SWEEP],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=280,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def _is_there(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ImportError:
        return False


def test_each_study_of_a_sweep_finds_what_it_finds_alone(sweep, tmp_path):
    told = []
    for seed in (1, 2):
        cfg = compose(seed)
        mandate(cfg)
        session.execute(cfg)
        study_open.release_locks()
        told.append(kept(cfg))
    (tmp_path / "runs").rename(tmp_path / "alone")
    code, out = sweep()
    assert code == 0, out
    assert [kept(compose(seed)) for seed in (1, 2)] == told


def test_a_study_of_a_sweep_that_waits_for_people_ends_the_command_with_its_code(sweep):
    mandate(compose(1))
    code, out = sweep()
    assert code == 3 and "heirloop: plan" in out and "gives a mandate" in out
    assert "Traceback" not in out
