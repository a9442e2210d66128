"""OpenEvolve and Heirloop on the same train.py, the same recipe, task and compute, the same stub
model answers, none of which changes anything.

`.venv/bin/python tests/bench/peer.py [COUNT]` (needs .bench, see make bench). Every gain that is
found here is false: each answer adds a constant that nothing reads. Two runs in one call:
OpenEvolve in its default form (one training scores a program, the best score is the best program,
the candidate runs in the evaluator's process), PEER_RUNS times, and a study that screens, confirms
on fresh seeds and promotes. Each does one job at a time. Rates are per CPU-minute of all processes
together, since the machine is shared; those by the clock stand beside them. Prints and writes
docs/figures/peer-openevolve.json. It is no test of what either can find.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT)]

from safetensors.numpy import save_file  # noqa: E402

from configs.build import plain  # noqa: E402
from configs.cost import steps  # noqa: E402
from configs.job import Order  # noqa: E402
from configs.tokens import layout  # noqa: E402
from evals.data import answers, draw_train, held_out, questions  # noqa: E402
from loop import session  # noqa: E402
from loop.propose.evolve.patch import FILE  # noqa: E402
from loop.propose.table import PROPOSERS, Proposer  # noqa: E402
from loop.propose.view import ProposerView, proposal  # noqa: E402
from loop.settings import compose_settings  # noqa: E402
from sandbox.charges import settlements  # noqa: E402
from sandbox.ledger import Ledger  # noqa: E402

MARK = "# region: update\n"
RECIPE = {
    "learning_rate": 0.003,
    "schedule": "linear",
    "beta2": 0.99,
    "batch_size": 32,
    "width": 32,
    "depth": 1,
    "heads": 4,
    "loss": "answer",
}
SECRET = bytes(32)
PEER_RUNS = 8
"""One of its runs takes seconds; what a run falsely takes for better varies from run to run."""
OUTPUT = ROOT / "docs" / "figures" / "peer-openevolve.json"


def replacement(number: int) -> str:
    """What the stub model answers in place of MARK, in every parent."""
    return f"{MARK}IDLE_{number} = {number}\n"


def settings(folder: str, count: int) -> list[str]:
    """A study of `count` candidates in generations of four, on digits at a fifth of their
    compute.
    """
    baseline = [f"task.baseline.{name}={value}" for name, value in RECIPE.items()]
    return [
        "study=evolve",
        "study.name=peer",
        "study.most_changes=0",
        "study.arms=[stub]",
        f"study.generations={count // 4}",
        "study.proposals=4",
        "study.final_replicates=0",
        f"runs={folder}/runs",
        "task.planned_cpu_us=500000",
        "budget.jobs=5000",
        "budget.cpu_seconds=3000",
        "budget.wall_seconds=30000",
        "gates.unattended.jobs=5000",
        "gates.unattended.cpu_seconds=3000",
        *baseline,
    ]


def stub(view: ProposerView) -> str:
    """Give the next answer of the stub model as a proposal."""
    number = (view.generation - 1) * 4 + view.index
    edit = {"file": FILE, "search": MARK, "replace": replacement(number)}
    return proposal(view.history.champion, view.history.champion, f"answer {number}", edits=[edit])


def heirloop(folder: str, count: int) -> dict[str, Any]:
    """Run the study; return candidates, seconds, accepted false gains and the ledger's head."""
    os.environ["HEIRLOOP_HOME"] = f"{folder}/home"
    PROPOSERS["stub"] = Proposer(
        where="trusted", write=stub, sees="nothing", costs="its own CPU time"
    )
    config = compose_settings(settings(folder, count))
    grant(config)
    started = time.perf_counter()
    session.execute(config)
    seconds = time.perf_counter() - started
    entries = Ledger.file(Path(folder) / "runs" / "peer" / "ledger.sqlite").entries()
    found = [
        e.body["scores"]["exact_match"]
        for e in entries
        if e.kind == "score" and e.body["scores"] and e.body["index"] == 0
    ]
    spent = sum(fact.spent.cpu_us for _, fact in settlements(entries))
    return {
        "candidates": len(
            [e for e in entries if e.kind == "plan" and e.body["plan"]["purpose"] == "candidate"]
        ),
        "seconds": seconds,
        "cpu_seconds": spent / 1e6,
        "accepted": len([e for e in entries if e.kind == "champion"]) - 1,
        "trainings": len(
            [e for e in entries if e.kind == "start" and e.body["job"]["role"].endswith("train")]
        ),
        "spread": statistics.stdev(found),
        "head": entries[-1].hash,
    }


def grant(config: Any) -> None:
    """Give the unattended mandate."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from sandbox import keys
    from sandbox.unsigned import new_mandate

    key = Ed25519PrivateKey.generate()
    place = keys.home() / "mandates"
    place.mkdir(parents=True, exist_ok=True)
    made = plain(
        new_mandate(config, config.gates.unattended, "unattended", "peer", keys.public_hex(key))
    )
    (place / "peer-1.json").write_bytes(keys.sign(made, key, "mandate"))


EVALUATOR = """
import importlib.util, json, os, sys
FOLDER = {folder!r}
sys.path[:0] = [{root!r}, {box!r}]
def evaluate(path):
    import torch
    from safetensors.torch import load_file
    from configs.build import parse
    from configs.job import Order
    from configs.tokens import layout
    torch.set_num_threads(1)
    order = json.load(open(FOLDER + "/order.json"))
    order["seed"] = int.from_bytes(os.urandom(4), "big")
    order = parse(Order, order)
    spec = importlib.util.spec_from_file_location("candidate", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = load_file(FOLDER + "/data.safetensors")
    net, _ = module.train(order, data["items"])
    lay = layout(order.task, order.recipe)
    with torch.no_grad():
        logits = net.eval()(data["questions"].long()[:, list(lay.order[: lay.question])])[:, -1]
    return {{"combined_score": (logits.argmax(-1) == data["answers"][:, 0].long()).double().mean().item()}}
"""  # noqa: E501

PEER = """
import asyncio, http.server, json, logging, sys, threading, time
from openevolve import OpenEvolve
from openevolve.config import Config, LLMModelConfig
folder, count, answers = sys.argv[1], int(sys.argv[2]), json.load(open(sys.argv[1] + \
"/answers.json"))
logging.disable(logging.CRITICAL)
class Stub(http.server.BaseHTTPRequestHandler):
    left, lock = list(answers), threading.Lock()
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        with self.lock:
            text = self.left.pop(0) if self.left else answers[-1]
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = json.dumps({"id": "1", "object": "chat.completion", "created": 1, "model": "stub", "choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *rest):
        pass
if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = Config(max_iterations=count)
    one = LLMModelConfig(name="stub", api_base=f"http://127.0.0.1:{server.server_port}/v1", \
api_key="none", timeout=60, retries=1, retry_delay=1,
                         temperature=0.7, top_p=0.95, max_tokens=1000)
    config.llm.models, config.llm.evaluator_models = [one], [one]
    config.evaluator.cascade_evaluation = False
    config.max_code_length = 60000
    started = time.perf_counter()
    control = OpenEvolve(folder + "/train.py", folder + "/evaluator.py", config=config, \
output_dir=folder + "/out")
    asyncio.run(control.run(iterations=count))
    seconds = time.perf_counter() - started
    programs = sorted(control.database.programs.values(), key=lambda p: (p.iteration_found, \
p.timestamp))
    print("FOUND", json.dumps([seconds, [p.metrics.get("combined_score") for p in programs]]))
"""  # noqa: E501


def openevolve(folder: str, count: int) -> dict[str, Any]:
    """Run the peer; return candidates, seconds, and how often a program took the lead from the one
    before, each time falsely.
    """
    python = ROOT / ".bench/bin/python"
    config = compose_settings([one for one in settings(folder, count) if "arms" not in one])
    task, recipe = config.task.format(), config.task.baseline
    order = Order(
        role="train",
        task=task,
        recipe=recipe,
        seed=1,
        steps=steps(recipe, layout(task, recipe), config.task.cost, 500_000),
    )
    items, out = draw_train(task, SECRET, 1), held_out(task, SECRET)["feedback"]
    save_file(
        {"items": items, "questions": questions(task, out), "answers": answers(task, out)},
        f"{folder}/data.safetensors",
    )
    box = str(next((ROOT / ".box/lib").glob("python*/site-packages")))
    Path(folder, "order.json").write_text(json.dumps(plain(order)))
    Path(folder, "evaluator.py").write_text(
        EVALUATOR.format(folder=folder, root=str(ROOT), box=box)
    )
    Path(folder, "train.py").write_bytes((ROOT / FILE).read_bytes())
    texts = [
        f"Better.\n<<<<<<< SEARCH\n{MARK}=======\n{replacement(n)}>>>>>>> REPLACE\n"
        for n in range(count)
    ]
    Path(folder, "answers.json").write_text(json.dumps(texts))
    Path(folder, "peer.py").write_text(PEER)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [str(python), f"{folder}/peer.py", folder, str(count)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("FOUND ")), None)
    assert line, (done.stdout + done.stderr)[-3000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds, scores = json.loads(line[6:])
    best, lead = scores[0], []
    for score in scores[1:]:
        if score is not None and score > best:
            lead.append(score - best)
            best = score
    known = [one for one in scores if one is not None]
    return {
        "candidates": len(scores) - 1,
        "seconds": seconds,
        "cpu_seconds": cpu,
        "accepted": len(lead),
        "claimed_gain": best - scores[0],
        "failed": len(scores) - len(known),
        "spread": statistics.stdev(known),
    }


def main() -> None:
    """Run both, print, write."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    peers = []
    for _ in range(PEER_RUNS):
        with tempfile.TemporaryDirectory() as folder:
            peers.append(openevolve(folder, count))
    with tempfile.TemporaryDirectory() as folder:
        ours = heirloop(folder, count)
    table: dict[str, Any] = {"openevolve": peers, "heirloop": ours}
    for unit in ("cpu_seconds", "seconds"):
        rates = [
            statistics.median(60 * one["candidates"] / one[unit] for one in found)
            for found in (peers, [ours])
        ]
        table[f"candidates_per_minute_of_{unit}"] = {
            "openevolve": rates[0],
            "heirloop": rates[1],
            "ratio": rates[1] / rates[0],
        }
    table["falsely_better_per_run"] = {
        "openevolve": statistics.mean(one["accepted"] for one in peers),
        "heirloop": ours["accepted"],
    }
    table["falsely_claimed_gain"] = {
        "openevolve": statistics.mean(one["claimed_gain"] for one in peers),
        "heirloop": 0.0,
    }
    print(json.dumps(table, indent=1))
    OUTPUT.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
