"""`task.yaml` in the folder of a person's own training program, as a typed record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from configs.build import need

TRAIN, PREDICT, ABOUT = "train.py", "predict.py", "task.yaml"
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}(\.\w{1,8})?", re.ASCII)
LIMITED = ("train", "predict")
"""Jobs whose limits a folder may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a person says of their own training program."""

    metric: Literal["exact_match", "nll"]
    "what counts on held-out questions: exact_match, or nll in nats"
    data: tuple[str, ...]
    "the data script, then the files that it reads; no job of the study gets any of them"
    may_change: dict[str, Literal["patch", "structural"]]
    """files that proposals may edit, each with its class: one `patch`, and at most one
    `structural`. No other file can be named by an edit
    """
    planned_cpu_seconds: float
    "planned CPU-seconds of a training"
    seed_deviation: float
    "standard deviation of the metric over seeds; `heirloop task check` measures it"
    held_out: int
    "questions in each of the splits feedback, confirm and sealed"
    train_items: int = 20_000
    "most items in a training file"
    files: tuple[str, ...] = ()
    "further files of the folder that train.py or predict.py need"
    weights: Literal["files", "safetensors"] = "files"
    """files: whatever train.py leaves in out/. safetensors: one out/weights.safetensors of float32,
    which is numbers and no code
    """
    answers_in: tuple[str, ...] = ()
    "packages that hold the answers, which no environment of one's own may have (box.environment)"
    limits: dict[str, dict[str, int]] | None = None
    "train and predict: limits that take the place of the budget's, by name"

    def __post_init__(self) -> None:
        need(bool(self.data), "data", self.data, "a script, then the files that it reads")
        classes = sorted(self.may_change.values())
        right = "one file of class patch, and at most one of class structural"
        need(classes in (["patch"], ["patch", "structural"]), "may_change", self.may_change, right)
        for name in (*self.code(), *self.data):
            need(bool(NAME.fullmatch(name)), "a file", name, "the plain name of a file beside it")
        both = sorted({*self.code(), ABOUT} & set(self.data))
        need(not both, "data", both, "files that no job gets")
        need(PREDICT not in self.may_change, "may_change", PREDICT, "without predict.py")
        limited = set(self.limits or {}) <= set(LIMITED)
        need(limited, "limits", list(self.limits or {}), f"those of {' and '.join(LIMITED)}")
        seconds = self.planned_cpu_seconds
        need(0.001 <= seconds <= 10**6, "planned_cpu_seconds", seconds, "between 0.001 and 10^6")

    def code(self) -> tuple[str, ...]:
        """Return the files that the jobs of a study get."""
        return tuple(dict.fromkeys((TRAIN, PREDICT, *self.may_change, *self.files)))

    def places(self) -> Mapping[str, str]:
        """Return where each of these files lies in a bundle: an edit names models/ alone."""
        place = {"patch": "models/train.py", "structural": "models/net.py"}
        return {
            name: place[self.may_change[name]] if name in self.may_change else f"task/{name}"
            for name in self.code()
        }

    def not_in_predict(self) -> list[str]:
        """Return the files that no predict job gets: changed code could compute answers there."""
        return [] if self.computable() else list(self.may_change)

    def computable(self) -> bool:
        """Tell whether changed code could reach the predictions otherwise than by numbers."""
        return self.weights == "files" or "structural" in self.may_change.values()
