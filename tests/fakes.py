"""Small real objects in place of slow ones."""

from collections.abc import Callable

import numpy as np
from safetensors.numpy import load, save

from configs.build import parse, strict_json
from configs.cost import parameters
from configs.job import Order, Outcome
from configs.tokens import layout
from loop.propose import Proposer
from sandbox.box.base import Execution


class FakeBox:
    """A box that computes nothing: weights from the seed, predictions from a quality per recipe."""

    kind, tier = "fake", "C"

    def __init__(
        self, quality: Callable[[Order], float], script: Callable[[Execution], Outcome | None] = lambda e: None,
        cpu_us: Callable[[Order], int] = lambda order: 100_000,
    ):  # fmt: skip
        self.quality, self.script, self.cpu_us, self.ran, self.stopped = quality, script, cpu_us, [], False

    def run(self, execution: Execution) -> Outcome:
        self.ran.append(execution)
        if (scripted := self.script(execution)) is not None:
            return scripted
        order = parse(Order, strict_json(execution.files["job.json"]))
        lay, rng = layout(order.task, order.recipe), np.random.default_rng(order.seed)
        if order.role == "train":
            weights = rng.standard_normal(parameters(order.recipe, lay)).astype(np.float32)
            return outcome(cpu_us=self.cpu_us(order), files={"weights.safetensors": save({"w": weights}), "claims.json": b"{}"})
        asked = load(execution.files["questions.safetensors"])["questions"].astype(int) - 2
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


def predictions(tokens, vocabulary, sure=0.9) -> bytes:
    """Predictions of these tokens, each with the same probability."""
    rest = np.full((*tokens.shape, vocabulary), (1 - sure) / (vocabulary - 1), np.float32)
    np.put_along_axis(rest, tokens[:, :, None].astype(np.int64), np.float32(sure), axis=2)
    return save({"tokens": tokens, "probabilities": rest})


def outcome(status="ok", detail="exit 0", cpu_us=100_000, files=None) -> Outcome:
    return Outcome(status=status, detail=detail, cpu_us=cpu_us, startup_cpu_us=0, wall_us=cpu_us, peak_bytes=1,
                   charged_by="cgroup", files=files or {}, log=b"", log_total=0)  # fmt: skip


def written(write) -> Proposer:
    """A proposer of the trusted side that writes what a function says."""
    return Proposer(where="trusted", sees="", costs="", write=write)
