"""How much may a study spend? The settings of Hydra group `budget`."""

from dataclasses import dataclass, field

from configs.build import need
from configs.job import Limits
from configs.reader import later
from configs.records import Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How often each held-out split may be looked at in a study: an account like any other."""

    feedback: int = 500
    "plans with a score for a proposer, in steps (objective.feedback)"
    confirm: int | None = later(None)
    "confirmations and closing looks, where only the verdict leaves; absent: 50"
    sealed: int = 3
    "openings by `heirloop unseal`"
    gate: int | None = later(None)
    "name of `confirm` in studies of format 1"

    def __post_init__(self) -> None:
        need(self.gate is None or self.confirm is None, "gate", self.gate, "named `confirm`")
        for name, count in self.limits().items():
            need(0 <= count <= 10**9, name, count, "a whole number from 0 to 10^9")

    def limits(self) -> dict[str, int]:
        """Return the most looks at each split, by its name in the study's format."""
        confirm = {"confirm": 50 if self.confirm is None else self.confirm}
        of_confirm = confirm if self.gate is None else {"gate": self.gate}
        return {"feedback": self.feedback, **of_confirm, "sealed": self.sealed}

    def share(self, split: str, repeat: int, repeats: int) -> int:
        """Return the most looks of one repeat at a split; the study's limit is the sum of shares.

        Any repeat may use all openings of sealed: people sign each of them for its campaign.
        """
        limit = self.limits().get(split, 0)
        return limit if split == "sealed" else limit // repeats + (repeat < limit % repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """GPU-seconds: time with a context on the device, by one job."""

    seconds: int
    "GPU-seconds of the whole study"
    train: int
    "most GPU-seconds of a single train job"
    predict: int
    "most GPU-seconds of a single predict job"

    def __post_init__(self) -> None:
        for name in ("seconds", "train", "predict"):
            value = getattr(self, name)
            need(0 < value <= 10**9, name, value, "a whole number from 1 to 10^9")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The spending limits: hard, cumulative, in integers."""

    cpu_seconds: int
    "CPU-seconds of the whole study"
    wall_seconds: int
    "wall seconds of jobs, added up over parallel jobs"
    jobs: int
    "executions inside a box"
    output_mib: int
    "MiB collected and printed"
    tokens: int = 0
    "tokens of outside models"
    money_micros: int = 0
    "millionths of the study's currency"
    looks: Looks = field(default_factory=Looks)
    "looks at each held-out split"
    shares: dict[str, float] = field(default_factory=dict)
    """largest share of the CPU-seconds for a sub-account (propose, train, predict, evaluate, or
    each arm); missing: 1
    """
    train: Limits = field(default_factory=Limits)
    "hard limits of a single train job"
    predict: Limits = field(default_factory=Limits)
    "hard limits of a single predict job"
    propose: Limits = field(default_factory=Limits)
    "hard limits of a single propose job"
    gpu: Gpu | None = later(None)
    "with box.device=cuda: GPU-seconds; null: none"

    def __post_init__(self) -> None:
        for name in ("cpu_seconds", "wall_seconds", "jobs", "output_mib"):
            value = getattr(self, name)
            need(0 < value <= 10**9, name, value, "a whole number from 1 to 10^9")
        for name in ("tokens", "money_micros"):
            need(
                0 <= getattr(self, name) < 2**53, name, getattr(self, name), "a whole number from 0"
            )
        for name, share in self.shares.items():
            need(
                name in ("propose", "train", "predict", "evaluate", "arm"),
                "shares",
                name,
                "propose, train, predict, evaluate or arm",
            )
            need(0 < share <= 1, f"shares.{name}", share, "above 0, at most 1")

    def amount(self) -> Amount:
        """Return the study's limit as an Amount."""
        return Amount(
            cpu_us=self.cpu_seconds * 1_000_000,
            wall_us=self.wall_seconds * 1_000_000,
            jobs=self.jobs,
            output_bytes=self.output_mib * 2**20,
            tokens=self.tokens,
            money_micros=self.money_micros,
            looks=sum(self.looks.limits().values()),
            gpu_us=self.gpu.seconds * 1_000_000 if self.gpu else 0,
        )

    def gpu_us(self, role: str) -> int:
        """Return the most GPU-microseconds of a job: jobs that propose get no device."""
        limits = {"train": self.gpu.train, "predict": self.gpu.predict} if self.gpu else {}
        return limits.get(role, 0) * 1_000_000
