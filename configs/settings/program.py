"""`task.yaml` in the folder of a person's own training program, as a typed record."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from configs.build import need
from configs.errors import BadInput
from configs.records import CLASSES, ClassName
from configs.records.regions import REGION

TRAIN, PREDICT, ABOUT = "train.py", "predict.py", "task.yaml"
NAME = re.compile(r"[A-Za-z0-9_-]{1,40}(\.\w{1,8})?", re.ASCII)
LABEL = re.compile(r"[a-z]+")
BEGIN = re.compile(rb"^# region: ", re.MULTILINE)
PLACES = ("models/train.py", "models/net.py")
"""Places in a bundle of the files that may change; an edit names no other."""
USUAL: dict[str, ClassName] = dict(zip(PLACES, ("patch", "structural"), strict=True))
"""Their classes where a task.yaml classes no region, as in every task of ours."""
LIMITED = ("train", "predict")
"""Jobs whose limits a folder may set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a person says of their own training program."""

    metric: Literal["exact_match", "nll"]
    "what counts on held-out questions: exact_match, or nll in nats"
    data: tuple[str, ...]
    "the data script, then the files that it reads; no job of the study gets any of them"
    may_change: dict[str, Literal["recipe", "patch", "structural"]]
    """what proposals may edit, each with its class: files, or marked regions as FILE#REGION, of one
    or two files. Lines outside the regions have the file's class where it is given too; without it
    they may not change
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
        right = "of one or two files"
        need(1 <= len(self.changing()) <= len(PLACES), "may_change", self.may_change, right)
        for label in (at.partition("#")[2] for at in self.may_change if "#" in at):
            need(bool(LABEL.fullmatch(label)), "a region of may_change", label, "small letters")
        for name in (*self.code(), *self.data):
            need(bool(NAME.fullmatch(name)), "a file", name, "the plain name of a file beside it")
        both = sorted({*self.code(), ABOUT} & set(self.data))
        need(not both, "data", both, "files that no job gets")
        need(PREDICT not in self.changing(), "may_change", PREDICT, "without predict.py")
        limited = set(self.limits or {}) <= set(LIMITED)
        need(limited, "limits", list(self.limits or {}), f"those of {' and '.join(LIMITED)}")
        seconds = self.planned_cpu_seconds
        need(0.001 <= seconds <= 10**6, "planned_cpu_seconds", seconds, "between 0.001 and 10^6")

    def changing(self) -> tuple[str, ...]:
        """Return the files of which something may change, lowest risk first."""
        names = dict.fromkeys(place.partition("#")[0] for place in self.may_change)

        def risk(name: str) -> int:
            places = {at: one for at, one in self.may_change.items() if at.split("#")[0] == name}
            return max(map(CLASSES.index, places.values()))

        return tuple(sorted(names, key=risk))

    def code(self) -> tuple[str, ...]:
        """Return the files that the jobs of a study get."""
        return tuple(dict.fromkeys((TRAIN, PREDICT, *self.changing(), *self.files)))

    def places(self) -> Mapping[str, str]:
        """Return where each of these files lies in a bundle: an edit names models/ alone."""
        edited = dict(zip(self.changing(), PLACES, strict=False))
        return {name: edited.get(name, f"task/{name}") for name in self.code()}

    def classes(self) -> dict[str, ClassName] | None:
        """Return place in a bundle -> its class; None where each file has its usual class."""
        places, found = self.places(), dict[str, ClassName]()
        for at, one in self.may_change.items():
            file, mark, label = at.partition("#")
            found[f"{places[file]}{mark}{label}"] = one
        return None if found.items() <= USUAL.items() else found

    def need_regions(self, name: str, source: bytes) -> None:
        """Raise BadInput unless the regions of a file that may change are those that are classed.

        They may not overlap, and none may be marked twice.
        """
        named = [at.partition("#")[2] for at in self.may_change if at.startswith(f"{name}#")]
        if not named:
            return
        marked = [found[1].decode() for found in REGION.finditer(source)]
        inside = [found[1].decode() for found in REGION.finditer(source) if BEGIN.search(found[2])]
        twice = [label for label in marked if marked.count(label) > 1]
        absent = [label for label in named if label not in marked]
        other = [label for label in marked if label not in named and name not in self.may_change]
        for labels, wrong in (
            (inside, "overlaps another region; end it by `# endregion` before the next begins"),
            (twice, "is marked twice; give each region a name of its own"),
            (absent, f"is not in it; mark it by `# region: {(absent or [''])[0]}` at the margin"),
            (other, f"has no class; add {name}#{(other or [''])[0]} to may_change"),
        ):
            if labels:
                raise BadInput(f"region {labels[0]} of {name} of task.folder {wrong}")

    def not_in_predict(self) -> list[str]:
        """Return the files that no predict job gets: changed code could compute answers there."""
        return [] if self.computable() else list(self.changing())

    def computable(self) -> bool:
        """Tell whether changed code could reach the predictions otherwise than by numbers."""
        return self.weights == "files" or "structural" in self.may_change.values()
