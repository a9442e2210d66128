"""What a human decides before a study: the typed form of every Hydra group.

Hydra composes plain values from the YAML files beside this module; `configs.build.parse` turns them
once into these records. Unknown keys, wrong types and numbers outside their range are refused by
name.
"""

import re
from dataclasses import dataclass, field
from typing import Any, Literal

from configs.build import need
from configs.call import Endpoint
from configs.cost import Cost
from configs.job import Limits
from configs.objective import Objective
from configs.recipe import Recipe
from configs.records import Amount
from configs.tokens import Task

Rule = Literal["mandate", "approve", "deny"]
START = "start"
"""The arm of the trials that every arm starts from; each is a repeat of it."""
ONE_SHOT = "one_shot"
"""The arm that spends the compute of all generations in one."""
MORE = {"more_compute": "compute", "more_proposals": "proposals", "more_replicates": "replicates"}
"""Arms that are `self` with a quarter more of one thing, for elasticities: name -> what."""
SKILLS = 4
"""Measures of skill at the end of a campaign of arm self (loop/cycle.py)."""
LARGER = 4
"""Planned compute of a training of the larger look, as a multiple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """The warning sign, registered in the study root before the first generation: crossed, it
    pauses the study and opens an incident.
    """

    repeats: int
    "k: repeats that must each show a self effect above `floor`"
    floor: float
    """log-odds per proposal; the smallest that one repeat can tell from noise, two deviations of
    the placebo in an earlier study
    """
    automation: dict[str, float]
    "stage -> least automation; deploy among them"
    cpu_seconds: float
    "c_min: CPU-seconds at the root that the loop itself released"

    def __post_init__(self) -> None:
        need(self.repeats >= 1, "repeats", self.repeats, "at least 1")
        need(
            "deploy" in self.automation,
            "automation",
            sorted(self.automation),
            "a vector that includes deploy",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The shape of the experiment."""

    name: str
    "folder under runs/; letters, digits, dot, dash, underscore"
    seed: int = 1
    "seed of the proposers; replicate seeds come from the study secret instead"
    arms: tuple[str, ...] = ()
    "proposers that run side by side; empty: the one of group `proposer`"
    repeats: int = 1
    "independent campaigns per arm"
    start_trials: int = 0
    """random trials of the notebook that every arm starts from, made once and charged to the study;
    at least 16 where weights propose
    """
    generations: int = 3
    "generations per campaign, the baseline not counted"
    proposals: int = 4
    "proposals per generation"
    confirm_replicates: int = 12
    "most paired replicates of one confirmation on gate; the rule stops earlier where it can"
    final_replicates: int = 4
    "paired replicates of the closing look at gate (champion against baseline); 0 leaves it out"
    larger_replicates: int = 0
    """paired replicates of the same look with four times the planned compute a training; 0 leaves
    it out
    """
    skill_proposals: int = 0
    """proposals that the last weights of arm self write on the baseline, each measured on gate
    once, and as many of three twins; 0 leaves it out
    """
    plan_trainings: int = 0
    """planned compute of a campaign in trainings: those that screen and confirm, and reading the
    notebook counts as one; a generation whose worst case would pass it is not begun; 0: the
    generations alone bound it
    """
    warning: Warn | None = None
    "the warning sign (docs/instruments.md); null: none is registered"

    def __post_init__(self) -> None:
        need(
            bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", self.name)),
            "name",
            self.name,
            "a plain folder name",
        )
        need(0 <= self.seed < 2**53, "seed", self.seed, "a whole number from 0")
        need(
            len(set(self.arms)) == len(self.arms) and START not in self.arms,
            "arms",
            self.arms,
            f"a list without repetition and without {START!r}",
        )
        need(1 <= self.repeats <= 1000, "repeats", self.repeats, "between 1 and 1000")
        need(
            0 <= self.start_trials <= 10_000,
            "start_trials",
            self.start_trials,
            "between 0 and 10000",
        )
        need(
            1 <= self.generations <= 10_000, "generations", self.generations, "between 1 and 10000"
        )
        need(1 <= self.proposals <= 1000, "proposals", self.proposals, "between 1 and 1000")
        need(
            1 <= self.confirm_replicates <= 1000,
            "confirm_replicates",
            self.confirm_replicates,
            "between 1 and 1000",
        )
        for name in ("final_replicates", "larger_replicates"):
            count = getattr(self, name)
            need(count == 0 or 4 <= count <= 1000, name, count, "0, or between 4 and 1000")
        need(
            0 <= self.skill_proposals <= 100,
            "skill_proposals",
            self.skill_proposals,
            "between 0 and 100",
        )
        least = 1 + self.worst("")
        need(
            self.plan_trainings == 0 or least <= self.plan_trainings <= 10**6,
            "plan_trainings",
            self.plan_trainings,
            f"0, or at least {least}: the baseline and the worst case of one generation",
        )

    def rounds(self, arm: str = "") -> tuple[int, int]:
        """Return (generations, proposals of each) of an arm; `one_shot` spends all that its round
        does not confirm with on proposals.
        """
        if arm == ONE_SHOT:
            fit = self.plan_trainings - 2 - 2 * self.confirm_replicates
            return 1, min(1000, fit if self.plan_trainings else self.generations * self.proposals)
        return self.generations, _more(self.proposals, MORE.get(arm) == "proposals")

    def replicates(self, arm: str) -> int:
        """Return the most paired replicates of one confirmation of an arm."""
        return _more(self.confirm_replicates, MORE.get(arm) == "replicates")

    def worst(self, arm: str) -> int:
        """Return the most trainings of one generation of an arm, reading the notebook counted as
        one.
        """
        return 1 + self.rounds(arm)[1] + 2 * self.replicates(arm)

    def allowance(self, arm: str) -> int:
        """Return the planned compute of a campaign in trainings, 0 where generations alone bound
        it; an arm with more of one thing gets it on top.
        """
        extra = self.worst(arm) - self.worst("") if arm in MORE else 0
        return (
            self.plan_trainings
            and self.plan_trainings + self.plan_trainings * extra // self.worst("")
        )


def _more(count: int, raised: bool) -> int:
    """Return a count, or a quarter more of it, rounded up."""
    return -(-5 * count // 4) if raised else count


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSetup:
    """One task with its compute and its measured constants (docs/tasks.md)."""

    name: Literal["addition", "modular", "digits", "custom", "planted"]
    """token format; custom: that of `file`; planted: none, trainings and weights are simulated by
    the law of `world` (docs/instruments.md)
    """
    world: str = ""
    "planted: the world whose law holds, one of evals/law.py"
    file: str = ""
    """custom: a Python file of at most 50 lines that yields the items (docs/plugs.md); trusted code
    of a person, run outside every box
    """
    file_digest: str = ""
    "sha256 of that file; filled in when the study is composed, and pinned by it"
    digits: int = 3
    "addition: digits per operand"
    modulus: int = 97
    "modular: p"
    levels: int = 5
    "digits: grey levels of a pixel"
    side: Literal[8, 4] = 8
    "digits: pixels a side"
    train_items: int = 20_000
    "items in one training file"
    held_out: int = 500
    "items per held-out split"
    train_digits: int = 0
    """addition: digits of the operands in training and splits; fewer than `digits` opens the slice
    `longer`; 0: all
    """
    hold_carries: bool = False
    """addition: keep sums in which every column carries out of training; they are the slice
    `carries` in any case
    """
    question: int = 0
    "custom: columns of a question; filled in from the file, like the next three"
    answer: int = 0
    "custom: columns of an answer"
    values: int = 0
    "custom: distinct values of a column"
    items: str = ""
    "custom: digest of all items"
    notebook: bool = False
    "whether nets also have the tokens of the notebook; needed where weights propose (arm `self`)"
    planned_cpu_us: int
    "planned CPU-microseconds of one training"
    cost: Cost
    "constants of the cost formula, measured by tests/bench/measure_tasks.py"
    seed_deviation: float
    "standard deviation of exact match over seeds, measured; floor of every standard error"
    baseline: Recipe
    "what a newcomer would write; the first champion"

    def __post_init__(self) -> None:
        need(
            1_000 <= self.planned_cpu_us <= 10**12,
            "planned_cpu_us",
            self.planned_cpu_us,
            "between 1000 and 10^12",
        )
        need(
            self.notebook or not self.baseline.notebook,
            "baseline.notebook",
            self.baseline.notebook,
            "0 where task.notebook is false",
        )
        need(0 < self.seed_deviation < 1, "seed_deviation", self.seed_deviation, "between 0 and 1")
        own = bool(self.file) == bool(self.file_digest) == (self.name == "custom")
        need(own, "file", self.file, "a path with task custom, and empty with any other")
        need(
            bool(self.world) == (self.name == "planted"),
            "world",
            self.world,
            "a planted world with task planted, and empty with any other",
        )
        self.format()

    def format(self) -> Task:
        """Return the token format alone, as it goes into a box."""
        names = (
            "name",
            "digits",
            "modulus",
            "levels",
            "side",
            "train_items",
            "held_out",
            "train_digits",
            "hold_carries",
            "notebook",
            "question",
            "answer",
            "values",
            "items",
        )
        return Task(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """How often each held-out split may be looked at in a study: an account like any other."""

    feedback: int = 500
    "plans whose score goes to a proposer, in steps (objective.feedback)"
    gate: int = 50
    "confirmations and closing looks, of which the verdict leaves"
    sealed: int = 3
    "openings by `heirloop unseal`"

    def __post_init__(self) -> None:
        for name in ("feedback", "gate", "sealed"):
            need(
                0 <= getattr(self, name) <= 10**9,
                name,
                getattr(self, name),
                "a whole number from 0 to 10^9",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What may be spent. Hard, cumulative, in integers."""

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
    "hard limits of one train job"
    predict: Limits = field(default_factory=Limits)
    "hard limits of one predict job"
    propose: Limits = field(default_factory=Limits)
    "hard limits of one propose job"

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
            looks=self.looks.feedback + self.looks.gate + self.looks.sealed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """What a mandate may cover."""

    classes: tuple[str, ...]
    "change classes, exact names"
    jobs: int
    "executions"
    cpu_seconds: int
    "CPU-seconds"
    hours: int
    "life from the signature on"
    drift: int = 40
    """changed knobs + changed source lines against the last plan that a person approved (or the
    baseline); beyond it a plan needs approval
    """
    per_hour: int = 1000
    "plans and promotions that it lets pass in an hour; beyond it they need approval"

    def __post_init__(self) -> None:
        known = ("recipe", "patch", "structural", "proposer", "propose", "promote")
        for name in self.classes:
            need(name in known, "classes", name, f"one of {', '.join(known)}")
        for name in ("jobs", "cpu_seconds", "hours", "drift", "per_hour"):
            need(
                0 < getattr(self, name) <= 10**9,
                name,
                getattr(self, name),
                "a whole number above 0",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorum:
    """Who must say yes to a plan of a class whose rule is `approve`. Silence is never a yes."""

    of: int = 1
    "distinct people; two keys of one person count once"
    reviewers: tuple[str, ...] = ()
    "names of the keys that count; empty: every pinned one"
    role: Literal["", "person", "external", "simulated"] = ""
    """kind of reviewer that counts; empty: any, a simulated one only if `reviewers` names it or the
    study has a scripted reviewer
    """
    wait_seconds: int = 0
    "cooling-off: time from the last yes that was needed until the plan may run"

    def __post_init__(self) -> None:
        need(1 <= self.of <= 100, "of", self.of, "between 1 and 100")
        need(
            0 <= self.wait_seconds <= 10**7, "wait_seconds", self.wait_seconds, "between 0 and 10^7"
        )
        need(
            len(set(self.reviewers)) == len(self.reviewers),
            "reviewers",
            self.reviewers,
            "a list without repetition",
        )
        need(
            not self.reviewers or self.of <= len(self.reviewers),
            "of",
            self.of,
            "at most the number of reviewers",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Quorums:
    """One quorum per change class; null: one yes of any pinned reviewer."""

    recipe: Quorum | None = None
    "a changed training configuration"
    patch: Quorum | None = None
    "edited train.py"
    structural: Quorum | None = None
    "edited net.py"
    proposer: Quorum | None = None
    "edited propose.py"
    propose: Quorum | None = None
    "asking weights, a program in a box or an outside model for proposals"
    promote: Quorum | None = None
    "a new champion"
    deploy: Quorum | None = None
    "weights leave the study"
    unseal: Quorum | None = None
    "a look at the sealed split"
    amend: Quorum | None = None
    "another objective, budget, gate or reviewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tripwires:
    """What pauses a study by itself and opens an incident. null: not watched."""

    spent_share: float | None = None
    "share of the study's CPU-seconds"
    incidents: int | None = None
    "incidents since the study began or was last resumed"
    accepted_per_hour: int | None = None
    "promotions within an hour"
    score_jump: float | None = None
    "rise of a candidate's feedback score over the best before it in its campaign"

    def __post_init__(self) -> None:
        for name in ("spent_share", "score_jump"):
            value = getattr(self, name)
            need(value is None or 0 < value <= 1, name, value, "above 0, at most 1, or null")
        for name in ("incidents", "accepted_per_hour"):
            value = getattr(self, name)
            need(
                value is None or 0 < value <= 10**6, name, value, "a whole number above 0, or null"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What gates take as a decision."""

    unattended: Caps | None = None
    "caps of a mandate that was given without a person at a terminal; null: none is taken"
    approve: Quorums = field(default_factory=Quorums)
    "who must say yes, per change class"
    resume: Quorum | None = None
    """who must say yes before a stopped or paused study goes on; null: one yes of any pinned
    reviewer
    """
    expire_hours: int = 24
    "a request that is not decided by then is denied"
    requests_per_hour: int = 60
    "requests that the study may put to people in an hour; what is beyond is denied"
    pending_per_arm: int = 20
    "requests of one arm that may wait at a time; what is beyond is denied"
    patience_seconds: int = 0
    """how long a run waits for people before it ends with exit code 3 (or 5 when paused); waiting
    spends nothing
    """
    canaries: float = 0.0
    """share of the requests that are followed by a canary and its benign twin, which can never run
    (docs/gates.md)
    """
    counterparty: str = ""
    "a pinned reviewer outside who is called about every incident too; empty: none"
    tripwires: Tripwires = field(default_factory=Tripwires)
    "what pauses the study by itself"
    file: str = ""
    """a Python file of at most 50 lines whose `gate` may add a no to every decision on a plan
    (docs/plugs.md); empty: none
    """
    file_digest: str = ""
    "sha256 of that file; filled in when the study is composed, and pinned by it"

    def __post_init__(self) -> None:
        need(
            1 <= self.expire_hours <= 24 * 365,
            "expire_hours",
            self.expire_hours,
            "between 1 and 8760",
        )
        for name in ("requests_per_hour", "pending_per_arm"):
            need(1 <= getattr(self, name) <= 10**6, name, getattr(self, name), "between 1 and 10^6")
        need(
            0 <= self.patience_seconds <= 10**8,
            "patience_seconds",
            self.patience_seconds,
            "between 0 and 10^8",
        )
        need(0 <= self.canaries <= 1, "canaries", self.canaries, "between 0 and 1")
        need(
            bool(self.file) == bool(self.file_digest),
            "file_digest",
            self.file_digest,
            "the digest of `file`, and empty without one",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """One rule per change class; what is not named is denied."""

    recipe: Rule = "deny"
    "a changed training configuration"
    patch: Rule = "deny"
    "edited train.py"
    structural: Rule = "deny"
    "edited net.py"
    proposer: Rule = "deny"
    "edited propose.py"
    propose: Rule = "deny"
    "asking weights, a program in a box or an outside model for proposals"
    promote: Rule = "deny"
    "a new champion"
    deploy: Rule = "deny"
    "weights leave the study"
    unseal: Rule = "deny"
    "a look at the sealed split; never by mandate"
    amend: Rule = "deny"
    "another objective, budget, gate or reviewer"

    def __post_init__(self) -> None:
        need(
            self.unseal != "mandate",
            "unseal",
            self.unseal,
            "approve or deny: every opening is signed for itself",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Autonomy:
    """The stage of autonomy: who decides on which class."""

    stage: Literal["assisted", "bounded", "autonomous"]
    "name of the stage"
    humans: str
    "what humans still control, in one sentence"
    rules: Rules
    "mandate: a standing approval is enough; approve: a decision on this very plan; deny: never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reviewer:
    """A scripted stand-in for people, so that studies and gate tests run unattended. Always signed
    as `simulated`.
    """

    policy: Literal["people", "approve-all", "deny-all", "by-file", "fatigue"]
    """people: none; by-file: the answers of `file`; fatigue: a reviewer that tires, by the figures
    below
    """
    file: str = ""
    """by-file: JSON object from change class (or the start of a plan's digest) to approve, deny or
    escalate; anything else is denied
    """
    hit_rate: float = 0.9
    "fatigue: probability of denying a canary, at the first decision"
    false_alarm_rate: float = 0.05
    """fatigue: probability of denying any other proposal or promotion; the baseline and what
    measures are what people ordered, and get a yes
    """
    decay: float = 0.01
    "fatigue: the hit rate falls as exp(-decay x decisions so far)"
    delay_seconds: float = 30.0
    "fatigue: median of the log-normal time looked at a request; recorded, not waited"
    delay_spread: float = 1.0
    "fatigue: its standard deviation, in log units"

    def __post_init__(self) -> None:
        need(
            (self.policy == "by-file") == bool(self.file),
            "file",
            self.file,
            "a path with policy by-file, else empty",
        )
        for name in ("hit_rate", "false_alarm_rate"):
            need(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")
        for name in ("decay", "delay_seconds", "delay_spread"):
            need(0 <= getattr(self, name) <= 10**6, name, getattr(self, name), "between 0 and 10^6")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolve:
    """The program database of `evolve` (docs/proposers.md)."""

    islands: int = 3
    "populations that evolve side by side; proposals go round them"
    migration: int = 12
    "trials between two migrations, in which each island's best goes to the next"
    inspirations: int = 2
    "programs beside the parent that a proposal may take regions from"
    explore: float = 0.3
    "probability that the parent is any elite; otherwise the better its rank, the likelier"
    knobs: float = 0.5
    "probability that a proposal changes knobs of the parent's recipe, too"
    novelty: int = 4
    """a program of the same recipe that differs from an earlier one in fewer token threes is drawn
    again; one changed token makes about 6
    """
    edits: int = 3
    "the most operators that one proposal applies"

    def __post_init__(self) -> None:
        for name, low, high in (
            ("islands", 1, 100),
            ("migration", 1, 10**6),
            ("inspirations", 0, 20),
            ("novelty", 1, 10**4),
            ("edits", 1, 20),
        ):
            need(
                low <= getattr(self, name) <= high,
                name,
                getattr(self, name),
                f"between {low} and {high}",
            )
        for name in ("explore", "knobs"):
            need(0 <= getattr(self, name) <= 1, name, getattr(self, name), "between 0 and 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposer:
    """Settings of the proposers."""

    name: str
    "proposer of a study that names no arms"
    mutations: int = 3
    "local, evolve: the most knobs that one proposal changes"
    script: tuple[dict[str, Any], ...] = ()
    """scripted: a person's list of changes, knobs and their values, one proposal each in order;
    used up, the campaign ends
    """
    evolve: Evolve = field(default_factory=Evolve)
    "evolve: its program database"
    hostile_share: float = 0.5
    "hostile: share of the proposals that are attacks; the others are those of `local`"
    llm: Endpoint | None = None
    "llm: the outside model that is asked, and what one question may cost; null: none"
    program: str = ""
    """command: a binary or a Python script that proposes in a box: history as a line of JSON in, a
    proposal a line out (docs/proposers.md)
    """
    program_digest: str = ""
    "sha256 of that file; filled in when the study is composed, and pinned by it"
    file: str = ""
    """command: instead of a program, a Python file of one's own of at most 50 lines, run in the
    same way (docs/plugs.md)
    """
    file_digest: str = ""
    "sha256 of that file; filled in likewise"
    replay: str = ""
    "replay: folder of the run whose proposals are made again"
    replay_arm: str = ""
    "replay: arm of that run"
    replay_digest: str = ""
    "digest of the list of those proposals; filled in likewise"

    def __post_init__(self) -> None:
        need(1 <= self.mutations <= 16, "mutations", self.mutations, "between 1 and 16")
        need(0 <= self.hostile_share <= 1, "hostile_share", self.hostile_share, "between 0 and 1")
        need(
            not (self.program and self.file),
            "program/file",
            (self.program, self.file),
            "one of the two",
        )
        for name in ("program", "file", "replay"):
            pin = getattr(self, f"{name}_digest")
            need(
                bool(getattr(self, name)) == bool(pin),
                f"{name}_digest",
                pin,
                f"the digest of `{name}`, and empty without one",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Where jobs run."""

    kind: Literal["auto", "namespace", "docker", "planted"] = "auto"
    """auto: namespace where it works, else docker; never none; planted: no box, for task planted
    alone, where nothing is run
    """
    warm: bool = True
    "keep a process that has imported torch inside the box and fork each job from it"
    parallel: int = 2
    "jobs at a time, one core each"
    image: str = "heirloop-box"
    "docker: name or digest of the image; its digest is pinned in the study root"
    runtime: str = ""
    "docker: a runtime of the engine, runsc for gVisor; empty: the engine's default"
    tier: Literal["", "A", "B", "C"] = ""
    "the least tier that the study takes (docs/threat-model.md); empty: any"

    def __post_init__(self) -> None:
        need(1 <= self.parallel <= 256, "parallel", self.parallel, "between 1 and 256")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracker:
    """A mirror of the ledger for people who live in wandb. Never read back."""

    kind: Literal["none", "wandb"] = "none"
    "none, or wandb if it is installed"
    mode: Literal["offline", "online"] = "offline"
    "offline writes files into the run; online needs a login of the trusted side"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A whole study, as composed."""

    study: Study
    "shape"
    task: TaskSetup
    "what is learned"
    objective: Objective
    "what counts"
    budget: Budget
    "what may be spent"
    gates: Gates
    "what gates take"
    autonomy: Autonomy
    "who decides"
    reviewer: Reviewer
    "a scripted reviewer, or people alone"
    proposer: Proposer
    "how changes are proposed"
    box: Box
    "where jobs run"
    tracker: Tracker
    "where it is mirrored"
    runs: str = "runs"
    "folder that holds the runs"

    def __post_init__(self) -> None:
        for name in ("train", "predict", "propose"):
            limits: Limits = getattr(self.budget, name)
            total = self.budget.cpu_seconds * 1_000_000
            need(
                limits.cpu_us <= total,
                f"budget.{name}.cpu_us",
                limits.cpu_us,
                f"at most the study's {total}",
            )
        simulated = (self.task.name == "planted", self.box.kind == "planted")
        need(
            simulated[0] == simulated[1],
            "box.kind",
            self.box.kind,
            "planted with task planted, and a real box with any other",
        )
        least = self.task.planned_cpu_us
        least = max(
            least * (LARGER if self.study.larger_replicates else 1), *map(self.compute, self.arms())
        )
        need(
            self.budget.train.cpu_us >= least,
            "budget.train.cpu_us",
            self.budget.train.cpu_us,
            f"at least the plan's {least}",
        )
        self._measurable()
        self._affordable()

    def _measurable(self) -> None:
        """Refuse an objective whose noise nobody measured, or that names what the task does not
        have.
        """
        known = (self.objective.metric, self.objective.scale) == (
            "exact_match",
            "raw",
        ) or self.objective.deviation is not None
        need(
            known,
            "objective.deviation",
            None,
            f"the standard deviation over seeds of {self.objective.metric}, {self.objective.scale}",
        )
        names = self.task.format().slices()
        for one in (*self.objective.secondary, *self.objective.constraints):
            need(
                not one.slice or one.slice in names,
                "objective slice",
                one.slice,
                f"one of task {self.task.name}: {', '.join(names)}",
            )

    def _affordable(self) -> None:
        """Refuse a study that plans more looks, confirmations or replicates than its budget or
        objective holds.
        """
        study, looks, planned = self.study, self.budget.looks, self.objective.confirmations
        need(
            planned is None or planned >= study.generations,
            "objective.confirmations",
            planned,
            f"at least study.generations {study.generations}",
        )
        closing = (study.final_replicates > 0) + (study.larger_replicates > 0)
        shown = sum(self.trials(arm) - study.start_trials for arm in self.arms())
        asked = sum(
            study.rounds(arm)[0] + closing + (arm == "self") * SKILLS * study.skill_proposals
            for arm in self.arms()
        )
        for split, each, start in (("feedback", shown, study.start_trials), ("gate", asked, 0)):
            held, wanted = getattr(looks, split), study.repeats * each + start
            need(
                held >= wanted,
                f"budget.looks.{split}",
                held,
                f"at least the {wanted} looks that the study plans",
            )
        most = max(study.confirm_replicates, study.final_replicates, study.larger_replicates)
        jobs, cpu = 4 * most + 2, 2 * most * self.task.planned_cpu_us
        what = f"for one confirmation with {most} replicates"
        need(self.budget.jobs >= jobs, "budget.jobs", self.budget.jobs, f"at least {jobs}, {what}")
        seconds = -(-cpu // 1_000_000)
        need(
            self.budget.cpu_seconds >= seconds,
            "budget.cpu_seconds",
            self.budget.cpu_seconds,
            f"at least {seconds}, {what}",
        )

    def files(self) -> dict[str, tuple[str, str]]:
        """Return the people's own files that the study names: field -> (path, digest)."""
        mine = self.proposer
        named = {
            "task.file": (self.task.file, self.task.file_digest),
            "gates.file": (self.gates.file, self.gates.file_digest),
            "proposer.file": (mine.file, mine.file_digest),
            "proposer.program": (mine.program, mine.program_digest),
        }
        return {field: found for field, found in named.items() if found[0]}

    def compute(self, arm: str) -> int:
        """Return the planned CPU-microseconds of one training of an arm."""
        return _more(self.task.planned_cpu_us, MORE.get(arm) == "compute")

    def trials(self, arm: str) -> int:
        """Return how many scores a campaign of an arm plans to tell its proposer, those of the
        start and the baseline included.
        """
        generations, proposals = self.study.rounds(arm)
        return self.study.start_trials + 1 + generations * proposals

    def confirmations(self, arm: str = "") -> int:
        """Return how many confirmations of a campaign share alpha."""
        return self.objective.confirmations or self.study.rounds(arm)[0]

    def deviation(self) -> float:
        """Return the standard deviation over seeds of the primary metric on its scale."""
        return self.objective.deviation or self.task.seed_deviation

    def arms(self) -> tuple[str, ...]:
        """Return the arms of the study."""
        return self.study.arms or (self.proposer.name,)

    def payers(self) -> tuple[str, ...]:
        """Return the arms that have an account: those of the study, and the start that all
        share.
        """
        return (*self.arms(), *((START,) if self.study.start_trials else ()))
