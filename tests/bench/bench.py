"""`make bench`: ratios of things measured in one run; prints a table and writes bench.json. No
figure is a test.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.errors import NoBox  # noqa: E402
from configs.job import Limits  # noqa: E402
from sandbox.box import docker, namespace, watch  # noqa: E402
from sandbox.box.base import Box, Execution  # noqa: E402
from sandbox.box.docker import DockerBox  # noqa: E402
from sandbox.box.namespace import NamespaceBox  # noqa: E402

PROGRAM = (
    b"def main(i, o):\n    import torch\n    (o / 'weights.safetensors').write_bytes(b'w' *"
    b" 100_000)\n"
)


def overhead(box: Box, count: int, warm: bool = False) -> float:
    """Median seconds from call to collected outputs of a candidate that trains nothing.

    Warm in Docker, each call waits until the next container stands ready: its start hides behind a
    job that is longer than it.
    """
    found = []
    for _ in range(count + warm):
        started = time.perf_counter()
        outcome = box.run(candidate(PROGRAM))
        found.append(time.perf_counter() - started)
        assert outcome.status == "ok", outcome
        while warm and isinstance(box, DockerBox) and not any(box._waiting.values()):
            time.sleep(0.01)
    box.close()
    return statistics.median(found[warm:])


def candidate(program: bytes, limits: Limits = Limits()) -> Execution:  # noqa: B008
    """A bundle of one program."""
    files = {"models/__init__.py": b"", "models/train.py": program, "job.json": b"{}"}
    return Execution(
        role="train", files=files, limits=limits, outputs={"weights.safetensors": 200_000}
    )


HELD = b"""
import os, sys, time
def main(i, o):
    held = bytearray(os.urandom(1 << 20)) * %d
    print(time.monotonic(), flush=True)
    %s
"""
LIMITS = Limits(cpu_us=30_000_000, wall_us=60_000_000, memory_bytes=2_000_000_000, processes=40)
FORKS = b"""while True:
        os.write(1, (str(time.monotonic()) + "\\n").encode())
        try:
            if os.fork() == 0:
                %s
                time.sleep(60)
            time.sleep(0.05)
        except OSError: time.sleep(60)"""
KILLS = {
    "CPU": (replace(LIMITS, cpu_us=2_500_000), HELD % (1000, b"while True: pass")),
    "wall": (replace(LIMITS, wall_us=4_000_000), HELD % (1000, b"time.sleep(60)")),
    "memory": (
        replace(LIMITS, memory_bytes=1_100_000_000),
        HELD
        % (
            1,
            b"""parts = []
    while True:
        parts.append(bytearray(b"x") * 2_000_000)
        os.write(1, (str(time.monotonic()) + "\\n").encode())""",
        ),
    ),
    "denied fork": (LIMITS, HELD % (1, FORKS % b"own = bytearray(b'x') * 24_000_000")),
    "denied fork, 900 MiB shared by 40": (LIMITS, HELD % (900, FORKS % b"pass")),
}
"""limit: what to send; each holds about 1 GiB when it is killed"""


def kills(box: Box, count: int) -> dict[str, list[float]]:
    """Seconds, by limit, ascending, from the trigger to the last process gone.

    The trigger is the moment that the program printed last (memory, fork), the deadline (wall), or
    the CPU used beyond the limit on one core (CPU).
    """
    ended, found, real = [0.0], dict[str, list[float]](), watch.watch

    def timed(execution: Execution, channel: Any, group: Any, kill: Any, **rest: Any) -> Any:
        def then() -> None:
            kill()
            ended[0] = time.monotonic()

        return real(execution, channel, group, then, **rest)

    module: Any = docker if isinstance(box, DockerBox) else namespace
    module.watch = timed
    for name, (limits, program) in KILLS.items():
        for _ in range(count):
            outcome = box.run(candidate(program, limits))
            wanted = "processes" if "fork" in name else name.lower()
            assert (outcome.status, outcome.detail) == ("limit", wanted), (
                name,
                outcome.detail,
                outcome.log[-300:],
            )
            if name == "wall":
                took = (outcome.wall_us - limits.wall_us) / 1e6
            elif name == "CPU":
                took = (outcome.cpu_us - outcome.startup_cpu_us - limits.cpu_us) / 1e6
            else:
                took = ended[0] - float(outcome.log.split()[-1])
            found.setdefault(name, []).append(took)
    module.watch = real
    return {name: sorted(times) for name, times in found.items()}


def overuse(box: Box, count: int) -> float:
    """Worst CPU-seconds beyond a limit of 1 s, eight processes burning."""
    program = (
        b"import os\ndef main(i, o):\n    for _ in range(3): os.fork()\n    while True: pass\n"
    )
    found = [box.run(candidate(program, replace(LIMITS, cpu_us=1_000_000))) for _ in range(count)]
    assert all(o.detail == "cpu" for o in found)
    return max((o.cpu_us - o.startup_cpu_us) / 1e6 - 1 for o in found)


FLOOD = r"""
import resource, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/tests/bench"]
import bench
boxes = {
    "namespace": lambda: bench.NamespaceBox(bench.ROOT / ".box"),
    "docker": lambda: bench.DockerBox("heirloop-box"),
}
made = boxes[sys.argv[2]]()
flood = b"import os\ndef main(i, o):\n    part = b'x' * 1_000_000\n"
flood += b"    for _ in range(1000): os.write(1, part)\n"
done = made.run(bench.candidate(flood, bench.replace(bench.LIMITS, output_bytes=2_000_000_000)))
seen = (done.status, done.detail, done.log_total)
assert done.status == "ok" and done.log_total > 900_000_000, seen
made.close()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def flooded(kind: str) -> float:
    """Largest resident MiB of the trusted process that drains 1 GB of a job's output."""
    done = subprocess.run(
        [sys.executable, "-c", FLOOD, str(ROOT), kind], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


OPENEVOLVE = """
import asyncio, logging, statistics, sys, tempfile, time
from openevolve.config import EvaluatorConfig
from openevolve.evaluator import Evaluator
logging.disable(logging.CRITICAL)
EVALUATION = '''
import importlib.util, pathlib, tempfile
def evaluate(path):
    spec = importlib.util.spec_from_file_location("candidate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with tempfile.TemporaryDirectory() as folder:
        module.main(None, pathlib.Path(folder))
        return {"combined_score": float((pathlib.Path(folder) / "weights.safetensors").stat().st_size)}
'''
with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
    file.write(EVALUATION)
    file.flush()
    evaluator, found = Evaluator(EvaluatorConfig(cascade_evaluation=False), file.name), []
    for number in range(31):
        started = time.perf_counter()
        scores = asyncio.run(evaluator.evaluate_program(sys.argv[1], str(number)))
        found.append(time.perf_counter() - started)
        assert scores["combined_score"] == 100_000, scores
print(statistics.median(found[1:]))
"""  # noqa: E501
"""OpenEvolve's evaluator in its default form: the candidate runs in the evaluator's own process,
torch loaded, without any limit.
"""


def openevolve() -> float | None:
    """Median seconds that OpenEvolve's evaluator takes for the same candidate; None where it is not
    installed.
    """
    python = ROOT / ".bench/bin/python"
    if not python.exists():
        return None
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".box/lib" / version / "site-packages")}
    done = subprocess.run(
        [str(python), "-c", OPENEVOLVE, PROGRAM.decode()],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    return float(done.stdout)


def command(*arguments: str, count: int = 5) -> float:
    """Median seconds of a command."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True, cwd=ROOT)
        found.append(time.perf_counter() - started)
    return statistics.median(found)


BARE = """
import sys, time
sys.path.insert(0, sys.argv[1])
import torch, torch.nn.functional as F
from configs.job import Order
from configs.recipe import Recipe
from configs.tokens import Task, layout
from models import train as ours
from models.net import Net
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
recipe, task, STEPS = Recipe(), Task(name="addition", digits=2, held_out=400), 150
lay = layout(task, recipe)
items = torch.randint(2, 12, (20000, len(lay.order)), dtype=torch.uint8)
order = Order(role="train", task=task, recipe=recipe, seed=1, steps=STEPS)

def bare():
    torch.manual_seed(1)
    net, tokens = Net(recipe, lay).train(), items.long()
    adam = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, \
weight_decay=recipe.weight_decay, fused=True)
    for _ in range(STEPS):
        batch = tokens[torch.randint(len(tokens), (recipe.batch_size,))]
        loss = F.cross_entropy(net(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()

def timed(act):
    started = time.process_time()
    act()
    return time.process_time() - started

bare(), ours.train(order, items)
times = [(timed(bare), timed(lambda: ours.train(order, items))) for _ in range(9)]
best = [sorted(column)[len(column) // 2] for column in zip(*times)]
print(STEPS / best[0], STEPS / best[1])
"""
"""The bare loop: same net, same data in memory, torch.optim, nothing else; measured in turns with
models/train.py.
"""


def steps_per_second() -> tuple[float, float]:
    """Median steps per CPU-second of the bare loop and of models/train.py."""
    done = subprocess.run(
        [str(ROOT / ".box/bin/python"), "-c", BARE, str(ROOT)],
        check=True,
        capture_output=True,
        text=True,
    )
    bare, ours = map(float, done.stdout.split())
    return bare, ours


def resident() -> float:
    """Largest resident MiB of a small study on two cores: the trusted process and every process it
    started, together.
    """
    with tempfile.TemporaryDirectory() as folder:
        heirloop, shape = (
            str(ROOT / ".venv/bin/heirloop"),
            ["study.generations=1", "study.proposals=2", f"runs={folder}/runs"],
        )
        environment = {**os.environ, "HEIRLOOP_HOME": f"{folder}/home"}
        subprocess.run(
            [heirloop, "mandate", "grant", "--unattended", *shape],
            check=True,
            capture_output=True,
            env=environment,
        )
        study = subprocess.Popen(
            [heirloop, "run", *shape], stdout=subprocess.DEVNULL, env=environment
        )
        most = 0.0
        while study.poll() is None:
            most = max(most, sum(proportional(pid) for pid in family(study.pid)))
            time.sleep(0.2)
        assert study.returncode == 0
    return most


def family(pid: int) -> list[int]:
    """A process and all its descendants."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for task in tasks for c in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(p for child in children for p in family(child))]


def proportional(pid: int) -> float:
    """MiB of a process, shared pages divided among those that share them."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


def main() -> None:
    """Measure, print, write."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "train.py"
        script.write_bytes(
            PROGRAM + b"import pathlib, sys\nmain(None, pathlib.Path(sys.argv[1]))\n"
        )
        plain = command(str(ROOT / ".box/bin/python"), str(script), folder)
    python = str(ROOT / ".venv/bin/python")
    nothing = command(python, "-c", "pass")
    table: list[dict[str, object]] = []

    def add(name: str, value: float, unit: str, against: str, reference: float) -> None:
        table.append(
            {
                "name": name,
                "value": round(value, 4),
                "unit": unit,
                "against": against,
                "ratio": round(value / reference, 3),
            }
        )
        print(f"{name:54} {value:9.3f} {unit:8} {value / reference:7.2f} x {against}", flush=True)

    add("the candidate by python train.py", plain, "s", "itself", plain)
    peer = openevolve()
    if peer is None:
        print("no OpenEvolve row: make bench installs it in .bench")
    else:
        add(
            "the candidate by OpenEvolve's evaluator, no limits",
            peer,
            "s",
            "python train.py",
            plain,
        )
    boxes: dict[str, tuple[Callable[[bool], Box], float, float]] = {
        "namespace": (lambda warm: NamespaceBox(ROOT / ".box", warm=warm), 0.05, 0.1),
        "Docker": (lambda warm: DockerBox("heirloop-box", warm=warm), 0.3, 0.5),
    }
    for name, (make, target, late) in boxes.items():
        try:
            make(False).close()
        except NoBox as error:
            print(f"no {name} rows: {error}")
            continue
        add(
            f"overhead per candidate, {name}, cold",
            overhead(make(False), 5),
            "s",
            "python train.py",
            plain,
        )
        warm = overhead(make(True), 30 if name == "namespace" else 10, warm=True)
        add(f"overhead per candidate, {name}, warm", warm, "s", "python train.py", plain)
        add(f"overhead per candidate, {name}, warm", warm, "s", f"the target, {target} s", target)
        box = make(True)
        for what, times in kills(box, 7).items():
            add(
                f"{what} to last process gone, {name}, median",
                times[3],
                "s",
                f"the target, {late} s",
                late,
            )
            add(
                f"{what} to last process gone, {name}, worst",
                times[6],
                "s",
                f"the target, {late} s",
                late,
            )
        add(
            f"CPU beyond the limit, {name}, worst",
            overuse(box, 5),
            "CPU-s",
            "the target, 0.1 s x 1 core",
            0.1,
        )
        box.close()
        add(
            f"resident while a job prints 1 GB, {name}",
            flooded(name.lower()),
            "MiB",
            "the target, 100 MB",
            1e8 / 2**20,
        )
    add(
        "heirloop --help",
        command(str(ROOT / ".venv/bin/heirloop"), "--help"),
        "s",
        "python -c pass",
        nothing,
    )
    add(
        "import configs, sandbox",
        command(python, "-c", "import configs, sandbox"),
        "s",
        "python -c pass",
        nothing,
    )
    add(
        "import sandbox.run",
        command(python, "-c", "import sandbox.run"),
        "s",
        "python -c pass",
        nothing,
    )
    bare, ours = steps_per_second()
    add("models/train.py", ours, "steps/s", "bare loop", bare)
    add("resident, whole study", resident(), "MiB", "the target, 1.5 GiB", 1536)
    (ROOT / "bench.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
