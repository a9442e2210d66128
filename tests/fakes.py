"""Small real objects in place of slow ones."""

import json
import re
from collections.abc import Callable

import numpy as np
from safetensors.numpy import load, save

from configs.build import parse, strict_json
from configs.cost import parameters
from configs.history import History
from configs.job import Order, Outcome
from configs.tokens import FIRST_VALUE, Task, layout
from evals.text import read_text
from loop.propose.table import Proposer
from sandbox import budget, charges
from sandbox.box.base import Execution
from sandbox.canonical import canonical, digest
from sandbox.chain import GENESIS
from sandbox.ledger import ENTRIES, Ledger

ONE_DIGIT = Task(name="addition", digits=1, train_items=100)


def read_history(execution):
    """Return the history that a propose job is shown."""
    return parse(History, strict_json(execution.files["history.json"], limit=10**7))


def table():
    """Every sum of two digits, in canonical tokens."""
    a, b = np.divmod(np.arange(100), 10)
    c = a + b
    return np.stack([a + 2, 0 * a, b + 2, 0 * a + 1, c // 10 + 2, c % 10 + 2], axis=1).astype(
        np.uint8
    )


class FakeBox:
    """A box that computes nothing: weights from the seed, predictions from a quality per recipe."""

    kind, tier = "fake", "C"

    def __init__(
        self,
        quality: Callable[[Order], float],
        script: Callable[[Execution], Outcome | None] = lambda e: None,
        cpu_us: Callable[[Order], int] = lambda order: 100_000,
    ):
        self.quality, self.script, self.cpu_us, self.ran, self.stopped = (
            quality,
            script,
            cpu_us,
            [],
            False,
        )

    def run(self, execution: Execution) -> Outcome:
        self.ran.append(execution)
        if (scripted := self.script(execution)) is not None:
            return scripted
        order = parse(Order, strict_json(execution.files["job.json"]))
        lay, rng = layout(order.task, order.recipe), np.random.default_rng(order.seed)
        if order.role == "train":
            weights = rng.standard_normal(parameters(order.recipe, lay)).astype(np.float32)
            return outcome(
                cpu_us=self.cpu_us(order),
                files={"weights.safetensors": save({"w": weights}), "claims.json": b"{}"},
            )
        asked = load(execution.files["questions.safetensors"])["questions"].astype(int) - 2
        if order.task.name == "text":
            tokens = np.array([[_next_character(row)] for row in asked.astype(np.uint8)], np.uint8)
            sure = self.quality(order) * np.exp(0.02 * rng.standard_normal())
            return outcome(
                files={"predictions.safetensors": predictions(tokens, lay.vocabulary, sure)}
            )
        n = order.task.digits
        powers = 10 ** np.arange(n)[::-1]
        sums = asked[:, :n] @ powers + asked[:, n + 1 : 2 * n + 1] @ powers
        tokens = (sums[:, None] // 10 ** np.arange(n + 1)[::-1] % 10 + 2).astype(np.uint8)
        tokens[rng.random(len(tokens)) > self.quality(order), 0] = 0
        return outcome(files={"predictions.safetensors": predictions(tokens, lay.vocabulary)})

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None:
        pass


def _next_character(context):
    """The token after a context, looked up in the texts that items come from."""
    for name in ("english", "code", "licence"):
        text = read_text(name).tobytes()
        if (place := text.find(context.tobytes())) >= 0:
            return text[place + len(context)] + FIRST_VALUE
    raise AssertionError("no such context")


def predictions(tokens, vocabulary, sure=0.9) -> bytes:
    """Predictions of these tokens, each with the same probability."""
    rest = np.full((*tokens.shape, vocabulary), (1 - sure) / (vocabulary - 1), np.float32)
    np.put_along_axis(rest, tokens[:, :, None].astype(np.int64), np.float32(sure), axis=2)
    return save({"tokens": tokens, "probabilities": rest})


def outcome(status="ok", detail="exit 0", cpu_us=100_000, files=None) -> Outcome:
    return Outcome(
        status=status,
        detail=detail,
        cpu_us=cpu_us,
        startup_cpu_us=0,
        wall_us=cpu_us,
        peak_bytes=1,
        charged_by="cgroup",
        files=files or {},
        log=b"",
        log_total=0,
    )


def written(write) -> Proposer:
    """A proposer of the trusted side that writes what a function says."""
    return Proposer(where="trusted", sees="", costs="", write=write)


def longer(source, folder, least):
    """Write a ledger of at least so many entries: a finished study's campaigns again and again as
    further repeats, one valid chain.

    Plans keep what they are but their repeat, and have their true digests; the budget grows with
    the repeats.
    """
    old = Ledger.at(source).entries()
    first = next(
        i for i, e in enumerate(old) if e.kind == "plan" and e.body["plan"]["purpose"] != "start"
    )
    last = next(i for i, e in enumerate(old) if e.kind == "end")
    repeats = -(-(least - len(old)) // (last - first)) + 1
    bodies = [(e.kind, e.body) for e in old[:first]]
    for repeat in range(repeats):
        bodies += _as_repeat(old[first:last], repeat)
    bodies += [(e.kind, e.body) for e in old[last:]]
    root = json.loads(json.dumps(old[0].body))
    root["config"]["study"]["repeats"] = repeats
    spend = root["config"]["budget"]
    spend |= {
        name: spend[name] * repeats
        for name in ("cpu_seconds", "wall_seconds", "jobs", "output_mib")
    }
    spend["looks"] = {split: count * repeats for split, count in spend["looks"].items()}
    grown = [
        (
            kind,
            (
                body | {"limit": {name: value * repeats for name, value in body["limit"].items()}}
                if kind == "account"
                else body
            ),
        )
        for kind, body in bodies[1:]
    ]
    return chained(folder, [("study", root), *grown], old[0].time)


def chained(folder, bodies, time):
    """Write a ledger of these (kind, body) as one valid chain, with the balances that follow from
    it.
    """
    folder.mkdir(parents=True)
    made, previous, rows = Ledger.file(folder / "ledger.sqlite", create=True), GENESIS, []
    for number, (kind, body) in enumerate(bodies, 1):
        data = canonical(
            {
                "sequence": number,
                "previous": previous,
                "kind": kind,
                "time": time,
                "monotonic_us": number,
                "body": body,
            }
        )
        previous = digest(data)
        rows.append({"sequence": number, "hash": previous, "bytes": data})
    with made.transaction() as txn:
        txn.connection.execute(ENTRIES.insert(), rows)
        cells = charges.replay(made.entries_by(txn.connection))
        cells = [
            {"name": name, "resource": r, **cell}
            for name, one in cells.items()
            for r, cell in one.items()
        ]
        txn.connection.execute(budget.BALANCES.insert(), cells)
    return folder


def _as_repeat(entries, repeat):
    """Yield the entries of campaigns as those of another repeat: digests of plans and nonces are
    new, and told alike wherever they stand.
    """
    new = {}
    for e in entries:
        text = re.sub(
            r"[0-9a-f]{64}", lambda found: new.get(found[0], found[0]), json.dumps(e.body)
        )
        text = re.sub(
            r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])",
            lambda found: f"{repeat:08x}{found[0][8:]}",
            text,
        )
        body = json.loads(text)
        if e.kind == "plan":
            body["plan"]["repeat"] = repeat
            new[e.body["digest"]] = body["digest"] = digest(body["plan"])
        elif "repeat" in body:
            body["repeat"] = repeat
        elif str(body.get("key", "")).startswith("propose:("):
            body["key"] = re.sub(r"(?<=', )\d+", str(repeat), body["key"], count=1)
        yield e.kind, body
