"""`box.device=cuda`: GPU-seconds are an account, and nothing claims a device that is not there."""

from dataclasses import replace

import pytest
from fakes import FakeBox
from programs import NUMBERS, answer_jobs, composer
from studies import bodies, gate_of, mandate, read_facts

from configs.errors import BadInput, BudgetExhausted, NoBox, VerificationFailed
from loop.measure import replicate
from loop.measure.jobs import make_job
from loop.settings import compose_settings
from loop.study.box import make_real_box
from loop.study.launch import make_box
from loop.verify.run import verify
from sandbox.box import gpu
from sandbox.budget import balances

GPU = "budget.gpu={seconds: 900, train: 20, predict: 10}"
FILES = {"task.yaml": NUMBERS}
SMALL = ("study.generations=1", "study.proposals=1", "box.device=cuda")


@pytest.fixture
def compose(tmp_path, monkeypatch):
    return composer(tmp_path, monkeypatch)


class GpuBox(FakeBox):
    """A box that computes nothing, and uses three seconds of a device that is not there."""

    def run(self, execution):
        if execution.gpu:
            execution.gpu.open()
            execution.gpu.close(3_000_000)
        return super().run(execution)


@pytest.fixture
def device(monkeypatch):
    """Let device files be found, and no account of the driver: wall time is charged."""
    monkeypatch.setattr(gpu, "find_device", lambda: {"/dev/nvidia0": "/dev/null"})
    monkeypatch.setattr(gpu, "read_accounts", lambda: None)


def box(better=lambda text: 0.95 if "0.5)" not in text else 0.4):
    return GpuBox(better, answer_jobs(better, numbers=True))


def test_gpu_seconds_are_reserved_settled_and_verified(compose, go, device, tmp_path):
    cfg = compose(*SMALL, GPU, **FILES)
    mandate(cfg)
    made = box()
    assert go(cfg, made)["finished"]
    with_device = [e for e in made.ran if e.gpu]
    assert {e.role for e in with_device} == {"train", "predict"} and len(with_device) > 9
    starts, jobs = bodies(cfg, "start"), bodies(cfg, "job")
    limits = {"train": 20_000_000, "predict": 10_000_000}
    for start in starts:
        wanted = limits[start["job"]["order"]["role"]]
        assert start["reserved"]["gpu_us"] == start["job"]["gpu_us"] == wanted
    assert {job["result"]["charged"]["gpu_us"] for job in jobs} == {3_000_000}
    assert {job["result"]["gpu_charged_by"] for job in jobs} == {"bound"}
    held = gate_of(cfg).ledger.read(balances)
    spent = {name: cells["gpu_us"]["spent"] for name, cells in held.items() if "gpu_us" in cells}
    assert spent["root"] == 3_000_000 * len(jobs) == spent["arm evolve"]
    assert held["root"]["gpu_us"]["limit"] == 900_000_000
    assert held["root"]["gpu_us"]["reserved"] == 0
    plans = read_facts(tmp_path / "runs" / "t").plans.values()
    assert all(plan.requested.gpu_us > 0 for plan in plans)
    assert verify(tmp_path / "runs" / "t")["scores"] > 0


def test_a_study_ends_where_its_gpu_seconds_end(compose, go, device):
    cfg = compose(*SMALL, "budget.gpu={seconds: 45, train: 20, predict: 10}", **FILES)
    mandate(cfg)
    with pytest.raises(BudgetExhausted, match=r"gpu_us left; the job needs \d+ reserved"):
        go(cfg, box())
    held = gate_of(cfg).ledger.read(balances)["root"]["gpu_us"]
    assert 0 < held["spent"] <= held["limit"] and held["reserved"] == 0


def test_a_study_without_a_device_has_no_such_account_and_no_such_word(compose, go, tmp_path):
    cfg = compose(*SMALL[:2], **FILES)
    mandate(cfg)
    go(cfg, box())
    assert all("gpu_us" not in cells for cells in gate_of(cfg).ledger.read(balances).values())
    assert "gpu" not in str([bodies(cfg, kind) for kind in ("study", "plan", "start", "job")])


def test_a_job_with_more_of_the_device_than_the_study_gives_does_not_run(
    compose, go, device, monkeypatch
):
    cfg = compose(*SMALL, GPU, **FILES)
    mandate(cfg)
    monkeypatch.setattr(replicate, "make_job", lambda *a: replace(make_job(*a), gpu_us=10**9))
    with pytest.raises(VerificationFailed, match="not the one that the grant"):
        go(cfg, box())


def test_without_a_device_the_run_says_so_and_nothing_runs(compose, go, monkeypatch):
    monkeypatch.setattr(gpu, "NODES", ("no-such-device",))
    cfg = compose(*SMALL, GPU, **FILES)
    for make in (lambda: make_box(cfg), lambda: make_real_box(cfg.box)):
        with pytest.raises(NoBox, match=r"there is no /dev/no-such-device on this machine"):
            make()
    mandate(cfg)
    made = box()
    with pytest.raises(NoBox, match="no-such-device"):
        go(cfg, made)
    assert not made.ran and not bodies(cfg, "start")


@pytest.mark.parametrize(
    "overrides, reason",
    [
        (("box.device=cuda",), r"budget\.gpu is None; it should be \{seconds"),
        (("box.device=rocm", GPU), "box.device is 'rocm'; it should be one of cpu, cuda"),
        ((GPU,), "null with box.device=cpu"),
        (("box.device=cuda", "budget.gpu={seconds: 9}"), "budget.gpu.train is missing"),
        (
            ("box.device=cuda", "budget.gpu={seconds: 0, train: 1, predict: 1}"),
            "budget.gpu.seconds is 0",
        ),
        (
            ("box.device=cuda", "budget.gpu={seconds: 9, train: .inf, predict: 1}"),
            "a whole number",
        ),
        (("box.device=cuda", "budget.gpu=9"), "budget.gpu"),
    ],
)
def test_bad_settings_are_refused_in_a_sentence(compose, overrides, reason):
    with pytest.raises(BadInput, match=reason) as refused:
        compose(*overrides, **FILES)
    assert "\n" not in str(refused.value)


def test_our_own_programs_get_no_device():
    with pytest.raises(BadInput, match="cpu without task program"):
        compose_settings(["task=addition", "box.device=cuda", GPU])
