"""A CUDA device for a job: what it is given, what is measured, what is charged.

No test here uses a real device but the last, which skips with the reason where there is none. A
program stands in for nvidia-smi, and character devices of zeros stand in for the device files.
"""

import json
import os
import stat

import pytest
from click.testing import CliRunner
from conftest import ROOT, need_box

from configs.errors import HeirloopError, NoBox
from configs.job import Limits
from configs.records import Amount, JobResult
from loop.attack.monitor import SAFE_CONTAINER
from loop.command import main
from sandbox.box import gpu
from sandbox.box.base import Execution
from sandbox.box.container import Container
from sandbox.box.gpu import NODES, Meter, describe_device, find_device, make_meter, read_accounts
from sandbox.box.namespace import NamespaceBox
from sandbox.box.unsafe import DEVICE, find_unsafe_setting

SMI = """\
#!/bin/sh
case "$1" in
--query-gpu=accounting.mode) cat {folder}/mode ;;
--query-accounted-apps=pid,time) cat {folder}/rows ;;
*) exit 9 ;;
esac
"""
SECOND = 1_000_000


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Put a program that stands in for nvidia-smi on the path; return a setter of its answers."""
    folder = tmp_path / "driver"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(SMI.format(folder=folder))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(gpu, "SETTLING_SECONDS", 0.0)

    def answer(rows="", mode="Enabled\n"):
        (folder / "mode").write_text(mode)
        (folder / "rows").write_text(rows)

    answer.program = program
    answer()
    return answer


class Pids:
    """A control group with these pids."""

    def __init__(self, *pids):
        self.pids = list(map(str, pids))

    def list_pids(self):
        return self.pids


def result():
    return JobResult(
        status="ok",
        detail="exit 0",
        charged=Amount(cpu_us=5, wall_us=9, jobs=1),
        startup_cpu_us=1,
        charged_by="cgroup",
        peak_bytes=0,
        outputs={},
        log="",
        box="fake",
    )


def measure(meter, pids=(), wall_us=9 * SECOND, meanwhile=lambda: None):
    """Let a job with these pids run so long; return what it is charged, and by which reading."""
    meter.open()
    meter.follow(Pids(*pids), 0)
    meanwhile()
    meter.close(wall_us)
    made = meter.charge(result())
    assert made.charged == Amount(cpu_us=5, wall_us=9, jobs=1, gpu_us=made.charged.gpu_us)
    return made.charged.gpu_us, made.gpu_charged_by


def test_a_job_is_charged_what_the_driver_accounts_to_its_own_pids(driver):
    driver("7, 400\n8, 100\n")  # ended before; 7 is a number that the job gets again
    rows = "7, 400\n8, 100\n7, 1500\n9, 250\n10, 7000\n"
    meter = Meter(60 * SECOND, {})
    assert measure(meter, (7, 9), meanwhile=lambda: driver(rows)) == (1_750_000, "accounts")


def test_time_of_several_contexts_is_at_most_the_wall_time(driver):
    used = measure(Meter(60 * SECOND, {}), (7,), 2 * SECOND, lambda: driver("7, 9000\n"))
    assert used == (2 * SECOND, "accounts")


@pytest.mark.parametrize(
    "answer",
    [
        {},  # nothing of the job: its account may be late, or its pids another namespace's
        {"rows": "99, 5000\n"},
        {"rows": "7, 1\n", "mode": "Disabled\n"},
        {"rows": "7, 1\n", "mode": "Enabled\nDisabled\n"},
        {"rows": "7, 1\n", "mode": ""},
        {"rows": "garbage\n"},
        {"rows": "7, 1, 2\n"},
        {"rows": "7, [N/A]\n"},
        {"rows": "7, -4000\n"},
    ],
)
def test_a_job_whose_account_cannot_be_read_is_charged_its_wall_time(driver, answer):
    changed = measure(Meter(60 * SECOND, {}), (7,), meanwhile=lambda: driver(**answer))
    assert changed == (9 * SECOND, "bound")


def test_without_the_program_the_wall_time_is_charged(driver, monkeypatch):
    assert read_accounts() is not None
    driver.program.write_text("#!/bin/sh\nexit 1\n")
    assert read_accounts() is None
    driver.program.write_text("#!/bin/sh\nexec sleep 5\n")
    monkeypatch.setattr(gpu, "SECONDS", 0.2)
    assert read_accounts() is None
    driver.program.unlink()
    assert read_accounts() is None
    assert measure(Meter(60 * SECOND, {}), (7,)) == (9 * SECOND, "bound")


def test_pids_of_another_namespace_are_not_the_drivers(driver, monkeypatch):
    monkeypatch.setattr(gpu, "FIRST_NAMESPACE", "1")
    rows = measure(Meter(60 * SECOND, {}), (7,), meanwhile=lambda: driver("7, 1\n"))
    assert rows == (9 * SECOND, "bound")


def test_a_lost_reading_costs_the_limit_and_a_job_that_never_began_nothing():
    meter = Meter(60 * SECOND, {})
    assert meter.charge(result()).charged.gpu_us == 0
    meter.open()
    lost = meter.charge(result())
    assert (lost.charged.gpu_us, lost.gpu_charged_by) == (60 * SECOND, "reservation")


def test_no_device_is_told_in_a_sentence_and_nothing_runs_without_it(tmp_path):
    with pytest.raises(NoBox, match=r"there is no .*nvidia0 on this machine; set box\.device=cpu"):
        find_device(tmp_path)
    for name in NODES:
        (tmp_path / name).write_text("a file is no device")
    with pytest.raises(NoBox, match="nvidia0"):
        find_device(tmp_path)
    assert make_meter(0) is None


def test_the_doctor_tells_of_the_device(monkeypatch):
    monkeypatch.setattr("loop.command.prove.promises.doctor", lambda *given: ([], {"fake": "C"}))
    done = CliRunner().invoke(main.cli, ["doctor", "--json"])
    assert json.loads(done.output)["device"] == describe_device()
    assert f"device: {describe_device()}" in CliRunner().invoke(main.cli, ["doctor"]).output
    monkeypatch.setattr(gpu, "NODES", ("no-such-device",))
    assert describe_device().startswith("no CUDA device: box.device is cuda, and there is no")


def test_the_doctor_tells_how_time_is_measured(driver, monkeypatch):
    monkeypatch.setattr(gpu, "find_device", dict)
    assert "accounts for GPU-time by process" in describe_device()
    driver(mode="Disabled\n")
    assert "charged its wall time" in describe_device()


@pytest.fixture
def devices(tmp_path):
    """Return place in the box -> file here, for devices of zeros that stand in for a real one."""
    for name in NODES:
        try:
            os.mknod(tmp_path / name, stat.S_IFCHR | 0o666, os.makedev(1, 5))
            (tmp_path / name).chmod(0o666)
            with open(tmp_path / name, "rb") as file:
                file.read(1)
        except OSError as error:
            pytest.skip(f"no device file can be made here: {error}")
    return find_device(tmp_path)


LOOK = """
import os
def main(source, target):
    print("devices", sorted(name for name in os.listdir("/dev") if "nv" in name))
    for name in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        try:
            with open("/dev/" + name, "r+b", buffering=0) as file:
                print(name, file.read(2), file.write(b"x"))
        except OSError as error:
            print(name, error.strerror)
    try:
        os.mknod("/dev/more")
    except OSError as error:
        print("made no other:", error.strerror)
"""


def execution(text, meter, **limits):
    files = {"models/__init__.py": b"", "models/train.py": text.encode(), "job.json": b"{}"}
    return Execution(role="train", files=files, limits=Limits(**limits), outputs={}, gpu=meter)


@pytest.fixture
def box():
    made = need_box(lambda: NamespaceBox(ROOT / ".box"))
    yield made
    made.close()


def test_a_job_gets_the_device_that_it_reserved_and_its_neighbour_none(box, devices, driver):
    given = box.run(execution(LOOK, Meter(60 * SECOND, devices)))
    assert given.status == "ok", given.log
    log = given.log.decode()
    assert "devices ['nvidia-uvm', 'nvidia0', 'nvidiactl']" in log
    for name in NODES:
        assert f"{name} b'\\x00\\x00' 1" in log
    assert "made no other" in log
    other = box.run(execution(LOOK, None)).log.decode()  # also: the device's process is not kept
    assert "devices []" in other and "nvidia0 No such file or directory" in other


def test_the_jobs_own_pids_are_those_that_the_accounts_are_read_for(box, devices, driver):
    if box.tier != "B":
        pytest.skip("no control group tells the pids here")

    class Told(Meter):
        def close(self, wall_us):
            seen = sorted(self._pids)
            driver("".join(f"{pid}, 40\n" for pid in seen) + "1, 9000\n")
            super().close(wall_us)
            self.seen = seen

    meter = Told(60 * SECOND, devices)
    outcome = box.run(execution("import time\ndef main(i, o): time.sleep(0.5)\n", meter))
    made = meter.charge(result())
    assert outcome.status == "ok" and meter.seen and str(os.getpid()) not in meter.seen
    assert made.gpu_charged_by == "accounts"
    assert made.charged.gpu_us == min(40_000 * len(meter.seen), outcome.wall_us)


def test_a_job_ends_at_its_limit_of_gpu_time(box, devices, driver):
    meter = Meter(SECOND, devices)
    outcome = box.run(execution("import time\ndef main(i, o): time.sleep(60)\n", meter))
    assert (outcome.status, outcome.detail) == ("limit", "gpu")
    assert meter.charge(result()).charged.gpu_us >= SECOND


class Engine:
    """An engine that makes no container, and tells what it was asked for."""

    def __init__(self, changed=()):
        self.host, self.changed, self.removed = {}, dict(changed), []

    def create_host_config(self, **given):
        self.host = {**given, **self.changed}
        return given

    def create_container(self, image, command, **given):
        return {"Id": "made"}

    def inspect_container(self, ident):
        wanted = self.host
        (folder,) = wanted["binds"]
        asked = self.changed.get("DeviceRequests", wanted["device_requests"])
        own = {"Binds": [f"{folder}:/in:ro"], "DeviceRequests": asked}
        return {"HostConfig": {**SAFE_CONTAINER, **own}}

    def remove_container(self, ident, **_):
        self.removed.append(ident)

    def attach_socket(self, ident, params):
        raise NoBox("it was made as it was asked for")


@pytest.mark.parametrize(
    "meter, changed, wrong",
    [
        (None, {}, "made as it was asked for"),
        (Meter(SECOND, {}), {}, "made as it was asked for"),
        (None, {"DeviceRequests": DEVICE}, "refused: DeviceRequests"),
        (Meter(SECOND, {}), {"DeviceRequests": [{**DEVICE[0], "Count": -1}]}, "refused: Device"),
        (Meter(SECOND, {}), {"DeviceRequests": None}, "refused: DeviceRequests"),
    ],
)
def test_a_container_gets_the_first_device_or_none(meter, changed, wrong):
    engine = Engine(changed)
    with pytest.raises(NoBox, match=wrong):
        Container(engine, "x", "image", "", execution("", meter), groups=False)
    asked = engine.host["device_requests"]
    assert asked == (DEVICE if meter else None)
    assert "made" in engine.removed
    if meter:
        assert asked[0]["DeviceIDs"] == ["0"] and asked[0]["Count"] == 0
    assert find_unsafe_setting({}, "/x") != ""


CUDA = """
import ctypes
def main(source, target):
    cuda, context, free = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_size_t()
    for name, *given in (
        ("cuInit", 0),
        ("cuCtxCreate_v2", ctypes.byref(context), 0, 0),
        ("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(ctypes.c_size_t())),
    ):
        code = getattr(cuda, name)(*given)
        assert code == 0, (name, code)
    print("free", free.value)
"""


def test_a_real_device_makes_a_context_in_the_box(box):
    try:
        devices = find_device()
    except HeirloopError as error:
        pytest.skip(f"never run here: {error}")
    meter = Meter(60 * SECOND, devices)
    outcome = box.run(execution(CUDA, meter, memory_bytes=8_000_000_000))
    assert outcome.status == "ok", outcome.log.decode()
    assert b"free" in outcome.log and meter.charge(result()).charged.gpu_us > 0
