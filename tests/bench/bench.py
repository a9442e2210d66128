"""`make bench`: ratios of things measured in one run; prints a table and writes bench.json. No figure is a test."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.errors import NoBox  # noqa: E402
from configs.job import Limits  # noqa: E402
from sandbox.box.base import Box, Execution  # noqa: E402
from sandbox.box.docker import DockerBox  # noqa: E402
from sandbox.box.namespace import NamespaceBox  # noqa: E402

PROGRAM = b"def main(i, o):\n    import torch\n    (o / 'weights.safetensors').write_bytes(b'w' * 100_000)\n"


def overhead(box: Box, count: int, warm: bool = False) -> float:
    """Median seconds from call to collected outputs of a program that trains nothing."""
    found = []
    files = {"models/__init__.py": b"", "models/train.py": PROGRAM, "job.json": b"{}"}
    for _ in range(count + warm):
        started = time.perf_counter()
        outcome = box.run(Execution(role="train", files=files, limits=Limits(), outputs={"weights.safetensors": 200_000}))
        found.append(time.perf_counter() - started)
        assert outcome.status == "ok", outcome
    box.close()
    return statistics.median(found[warm:])


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
    adam = torch.optim.AdamW(net.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
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
"""The bare loop: same net, same data in memory, torch.optim, nothing else; measured in turns with models/train.py."""


def steps_per_second() -> tuple[float, float]:
    """Median steps per CPU-second of the bare loop and of models/train.py."""
    done = subprocess.run([str(ROOT / ".box/bin/python"), "-c", BARE, str(ROOT)], check=True, capture_output=True, text=True)
    bare, ours = map(float, done.stdout.split())
    return bare, ours


def resident() -> float:
    """Largest resident MiB of a small study on two cores: the trusted process and every process it started, together."""
    with tempfile.TemporaryDirectory() as folder:
        heirloop, shape = str(ROOT / ".venv/bin/heirloop"), ["study.generations=1", "study.proposals=2", f"runs={folder}/runs"]
        environment = {**os.environ, "HEIRLOOP_HOME": f"{folder}/home"}
        subprocess.run([heirloop, "mandate", "grant", "--unattended", *shape], check=True, capture_output=True, env=environment)
        study = subprocess.Popen([heirloop, "run", *shape], stdout=subprocess.DEVNULL, env=environment)
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
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write("import torch, numpy, safetensors.torch\n")
        script.flush()
        plain = command(str(ROOT / ".box/bin/python"), script.name)
    python = str(ROOT / ".venv/bin/python")
    nothing = command(python, "-c", "pass")
    rows = [
        ("overhead per candidate, cold", overhead(NamespaceBox(ROOT / ".box", warm=False), 5), "plain python that imports torch", plain),
        ("overhead per candidate, warm", overhead(NamespaceBox(ROOT / ".box"), 30, warm=True), "plain python that imports torch", plain),
        ("heirloop --help", command(str(ROOT / ".venv/bin/heirloop"), "--help"), "python -c pass", nothing),
        ("import configs, sandbox", command(python, "-c", "import configs, sandbox"), "python -c pass", nothing),
        ("import sandbox.run", command(python, "-c", "import sandbox.run"), "python -c pass", nothing),
    ]
    try:
        rows.insert(2, ("overhead per candidate, Docker cold", overhead(DockerBox("heirloop-box"), 5), "plain python that imports torch", plain))
    except NoBox as error:
        print(f"no Docker row: {error}")
    table: list[dict[str, object]] = [{"name": n, "value": round(v, 4), "unit": "s", "against": a, "ratio": round(v / b, 3)} for n, v, a, b in rows]
    bare, ours = steps_per_second()
    table.append({"name": "models/train.py", "value": round(ours, 1), "unit": "steps/s", "against": "bare loop", "ratio": round(ours / bare, 3)})
    whole = resident()
    table.append({"name": "resident, whole study", "value": round(whole), "unit": "MiB", "against": "1.5 GiB", "ratio": round(whole / 1536, 3)})
    for row in table:
        print(f"{row['name']:32} {row['value']:9.3f} {row['unit']:8} {row['ratio']:7.2f} x {row['against']}")
    (ROOT / "bench.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
