"""What does a promise cost? The same jobs by the whole loop, by a process each, and by nothing but
their arithmetic.

    P tests/bench/throughput.py RESULTS.json [SECONDS...]   CPU-seconds of a training; 1 and 0.2
    P tests/bench/throughput.py imports                     CPU-ms to import a bundle in a fork

P is .venv/bin/python. A study really trains one recipe of task `digits` again and again (arm
`reseed`), in the namespace box, with every promise on. Then the jobs in its ledger are done again
from its store: in one process that has torch loaded (the limit), by `python train.py` and
`python predict.py`, and as trials of Optuna, each in a process forked from one that has torch
loaded, as its users isolate a trial. All are measured in CPU-seconds of all their processes, since
the machine is shared. Of the study what every study pays once is taken off: two studies of
different length are compared. Weights must come out the same, byte by byte.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from studies import mandate  # noqa: E402

from configs.entries import JobEntry, StartEntry, lines_of  # noqa: E402
from loop import session  # noqa: E402
from loop.plan import source  # noqa: E402
from loop.settings import compose_settings  # noqa: E402
from sandbox import keys  # noqa: E402
from sandbox.canonical import canonical, digest  # noqa: E402
from sandbox.ledger import Ledger  # noqa: E402
from sandbox.store import Store  # noqa: E402

GENERATIONS = (1, 4)
"""Generations of the two studies that are compared."""
DONE_AGAIN = 32
"""Jobs that are done again, as many trainings as predictions."""
LIMIT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from models import predict, train
ACTS = {"train": train.main, "predict": predict.main}
def act(place):
    place = Path(place)
    (place / "out").mkdir(exist_ok=True)
    ACTS[place.name.split("-")[1]](place / "in", place / "out")
"""
ALONE = """
import time
act(sys.argv[2])  # what torch does once
began = time.process_time()
for place in sys.argv[3:]:
    act(place)
print(time.process_time() - began)
"""
FORKED = """
import os, resource, time
import optuna
optuna.logging.disable_default_handler()
act(sys.argv[2])
def objective(trial):
    if not (pid := os.fork()):
        act(places.pop())
        os._exit(0)
    places.pop()
    assert os.waitpid(pid, 0)[1] == 0
    return trial.suggest_float("x", 0, 1)
def used():
    return time.process_time() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime \\
        + resource.getrusage(resource.RUSAGE_CHILDREN).ru_stime
places = sys.argv[:2:-1]
began = used()
optuna.create_study().optimize(objective, n_trials=len(places))
print(used() - began)
"""
IMPORTS = """
import importlib.machinery, os, statistics, sys, time
sys.path.insert(0, sys.argv[1])
import numpy, safetensors.numpy, safetensors.torch, torch.nn.functional, torch.optim
sys.dont_write_bytecode = True
sys.path_importer_cache.clear()
loader, told = importlib.machinery.SourceFileLoader, {False: [], True: []}
loader.get_code = lambda own, name: own.source_to_code(own.get_data(own.path), own.path)
anew, names = loader.source_to_code, sys.argv[2:]
known = {(data := open(name, "rb").read(), name): compile(data, name, "exec") for name in names}
for shipped in [False, True] * 10:
    out, into = os.pipe()
    if not os.fork():
        if shipped:
            loader.source_to_code = lambda own, *key: known.get(key) or anew(own, *key)
        began = time.process_time()
        importlib.import_module("models.train")
        os.write(into, str(1000 * (time.process_time() - began)).encode())
        os._exit(0)
    os.wait()
    told[shipped].append(float(os.read(out, 100)))
print(*(f"{statistics.median(times):.1f}" for times in told.values()))
"""


def imports() -> None:
    """Print the CPU-milliseconds in which a forked process imports a bundle, compiled anew and
    compiled before the fork.
    """
    python, names = str(ROOT / ".box" / "bin" / "python"), [str(ROOT / name) for name in source()]
    subprocess.run([python, "-c", IMPORTS, str(ROOT), *names], check=True, env=environment())


def run(results: Path, *seconds: float) -> None:
    """Measure trainings of each length, print a table as Markdown and write the rows."""
    rows = []
    print(
        "| training, CPU-s | the loop | `python train.py` | Optuna, forked | share of the limit |"
    )
    print("|---|---|---|---|---|")
    for one in seconds:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(Path(folder), one)
        rows.append(row)
        bare = row["limit"]
        cells = (
            f"{row[name]:.3f} ({bare / row[name]:.2f})" for name in ("loop", "plain", "optuna")
        )
        print(f"| {bare:.3f} | {' | '.join(cells)} | {bare / row['loop']:.3f} |", flush=True)
    results.write_text(json.dumps(rows, indent=1) + "\n")


def measure(folder: Path, seconds: float) -> dict[str, float]:
    """Return CPU-seconds of a training and its predictions, by the way in which it was done."""
    short, long = (play(folder / str(count), seconds, count) for count in GENERATIONS)
    trainings = long["trainings"] - short["trainings"]
    again = slice(0, DONE_AGAIN)
    places, made = long["places"][again], long["made"][again]
    row = {"loop": (long["cpu"] - short["cpu"]) / trainings}
    python = str(ROOT / ".box" / "bin" / "python")
    each = len(long["places"]) / long["trainings"]  # jobs of a training
    for name, code in (("limit", LIMIT + ALONE), ("optuna", LIMIT + FORKED)):
        command = [python, "-c", code, str(ROOT), places[0], *places]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment()
        )
        row[name] = float(done.stdout) / len(places) * each
    before = used()
    for place in places:
        module = Path(place).name.split("-")[1]
        command = [python, "-m", f"models.{module}", f"{place}/in", f"{place}/out"]
        subprocess.run(command, check=True, cwd=ROOT, env=environment())
    row["plain"] = (used() - before) / len(places) * each
    check(places, made)
    return row


def environment() -> dict[str, str]:
    """Return the environment of a bare process: one thread, and the libraries of the bench."""
    libraries = next((ROOT / ".venv" / "lib").glob("python3*/site-packages"))
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{libraries}"}


def used() -> float:
    """Return CPU-seconds of the processes that this one waited for."""
    of = resource.getrusage(resource.RUSAGE_CHILDREN)
    return of.ru_utime + of.ru_stime


def play(folder: Path, seconds: float, generations: int) -> dict[str, Any]:
    """Run a study in a process of its own; return its CPU-seconds, trainings and jobs, which lie
    ready to be done again.
    """
    command = [sys.executable, __file__, "play", str(folder), str(seconds), str(generations)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def play_here(folder: Path, seconds: float, generations: int) -> None:
    """Run a study and print what `play` returns."""
    os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
    keys.new_secret = lambda: keys.plain_secret(b"throughput")
    cfg = compose_settings(
        [
            "study=single",
            "task=digits-v1",
            "study.name=t",
            "study.arms=[reseed]",
            "study.repeats=1",
            f"study.generations={generations}",
            "study.proposals=4",
            "study.confirm_replicates=12",
            "study.final_replicates=0",
            f"task.planned_cpu_us={int(1e6 * seconds)}",
            "box=namespace",
            f"runs={folder}/runs",
        ]
    )
    mandate(cfg)
    began = resource.getrusage(resource.RUSAGE_SELF)
    assert session.execute(cfg)["finished"]
    own = resource.getrusage(resource.RUSAGE_SELF)
    loop = own.ru_utime + own.ru_stime - began.ru_utime - began.ru_stime
    ledger, store = Ledger.at(folder / "runs" / "t"), Store(folder / "runs" / "t" / "store")
    entries = ledger.entries()
    ends = {fact.nonce: fact.result for _, fact in lines_of(entries, JobEntry)}
    charged = sum(end.charged.cpu_us + end.startup_cpu_us for end in ends.values()) / 1e6
    places, made = [], []
    for number, (_, start) in enumerate(lines_of(entries, StartEntry)):
        job = start.job
        place = folder / f"{number}-{job.role.removeprefix('champion-')}"
        (place / "in").mkdir(parents=True)
        (place / "in" / "job.json").write_bytes(canonical(job.order))
        for given in job.inputs:
            (place / "in" / given.name).write_bytes(store.get(given.digest))
        places.append(str(place))
        made.append(ends[start.grant.nonce].outputs)
    trainings = sum("train" in Path(place).name for place in places)
    told = {"cpu": loop + charged, "trainings": trainings, "places": places, "made": made}
    print(json.dumps(told))


def check(places: list[str], made: list[dict[str, str]]) -> None:
    """Hold what was made here against what the study made."""
    for place, outputs in zip(places, made, strict=True):
        for name, wanted in outputs.items():
            if name != "claims.json":  # it tells seconds
                assert digest((Path(place) / "out" / name).read_bytes()) == wanted, (place, name)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["play", folder, seconds, generations]:
            play_here(Path(folder), float(seconds), int(generations))
        case ["imports"]:
            imports()
        case [results, *seconds]:
            run(Path(results), *map(float, seconds or ("1", "0.2")))
        case _:
            sys.exit(__doc__)
