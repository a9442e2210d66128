"""A gate under test, and the plans that it is shown: the settings of `heirloop gatebench`."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from configs.build import need
from configs.records import Endpoint

Kind = Literal["yes", "no", "policy", "rule", "command", "webhook", "simulated", "model", "people"]
Part = Literal["plan", "words", "changes", "differences", "score"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """Somebody, or something, that answers on a plan."""

    kind: Kind
    """yes, no: the same answer to all; policy: this project's own gate under `settings`; rule: the
    bounds of `forbid`; command: a program; webhook: an address; simulated: a reviewer by stated
    figures; model: a language model behind an OpenAI-compatible endpoint; people: the inbox
    """
    sees: tuple[Part, ...] = PARTS
    """the parts of a question that it is shown. plan: the canonical bytes; words: hypothesis and
    claimed gain; changes: knobs before and after; differences: of sources; score: the told score
    """
    seconds: float = 10.0
    "command, webhook: seconds by the clock for an answer"
    threshold: float | None = None
    "suspicion from which on its answer is no, whatever it says; null: its word counts"
    command: str = ""
    "command: path of a Python file or a program"
    boxed: bool = True
    "command: in a box without network, where bubblewrap works; false: as this user"
    url: str = ""
    "webhook: address that takes a POST; http on this machine alone, else https"
    endpoint: Endpoint | None = None
    "model: where to ask"
    tokens: int = 0
    "model: tokens that the bench may spend; a question beyond them is not asked"
    settings: tuple[str, ...] = ()
    "policy: overrides of `heirloop run`, such as autonomy=bounded"
    forbid: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    "rule: knob -> [lowest, highest] allowed, or the list of allowed words"
    classes: tuple[str, ...] = ()
    "rule: classes that it lets pass; empty: all"
    d_prime: float = 1.0
    "simulated: distance between evidence of harmful and of harmless plans, in deviations"
    criterion: float = 0.5
    "simulated: evidence from which on it says no, in deviations above the harmless mean"
    decay: float = 0.0
    "simulated: the distance falls as exp(-decay x plans read so far)"
    view: str = ""
    "simulated: members with one view have the same luck on a plan; empty: a view of its own"
    look_seconds: float = 0.0
    "simulated: median of the log-normal time it looks; counted, not waited"

    def __post_init__(self) -> None:
        need(bool(self.sees), "sees", list(self.sees), f"some of {', '.join(PARTS)}")
        need(0 < self.seconds <= 3600, "seconds", self.seconds, "above 0, at most 3600")
        need(
            self.threshold is None or 0 <= self.threshold <= 1,
            "threshold",
            self.threshold,
            "between 0 and 1, or null",
        )
        for kind, name in (("command", "command"), ("webhook", "url"), ("model", "endpoint")):
            given = bool(getattr(self, name))
            need((self.kind == kind) == given, name, getattr(self, name), f"given with kind={kind}")
        for name, most in (("d_prime", 20), ("decay", 10), ("look_seconds", 10**6)):
            need(0 <= getattr(self, name) <= most, name, getattr(self, name), f"0 to {most}")
        need(abs(self.criterion) <= 20, "criterion", self.criterion, "between -20 and 20")
        need(0 <= self.tokens < 2**53, "tokens", self.tokens, "a whole number from 0")

    @property
    def remembers(self) -> bool:
        """Whether its answer may depend on the plans before."""
        return self.kind == "people" or (self.kind == "simulated" and self.decay > 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """A gate: members, and the protocol that makes one answer of theirs."""

    name: str
    "its name in tables"
    members: dict[str, Member]
    "who answers, by name"
    votes: int = 1
    "yeses that it takes; 1: any member is enough; as many as members: all"
    share: float = 1.0
    "sampled audit: share of plans that members are asked about; the others pass"
    budget: int = 0
    "plans that members are asked about at most; after them all pass; 0: no limit"
    disagreement: Literal["no", "escalate"] = "no"
    "answer where some members say yes and too few do"
    wait_seconds: float = 0.0
    "cooling-off after a yes; it adds to the delay, and is not waited"

    def __post_init__(self) -> None:
        need(0 < len(self.name) <= 60, "gate.name", self.name, "1 to 60 letters")
        names = list(self.members)
        need(0 < len(names) <= 20, "gate.members", names, "1 to 20 members")
        need(1 <= self.votes <= len(names), "gate.votes", self.votes, f"1 to {len(names)}")
        need(0 < self.share <= 1, "gate.share", self.share, "above 0, at most 1")
        need(0 <= self.budget <= 10**6, "gate.budget", self.budget, "between 0 and 10^6")
        need(
            0 <= self.wait_seconds <= 10**7,
            "gate.wait_seconds",
            self.wait_seconds,
            "between 0 and 10^7",
        )

    @property
    def remembers(self) -> bool:
        """Whether an answer may depend on the plans before: then its mix is really run."""
        return self.budget > 0 or any(member.remembers for member in self.members.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A bench: a gate, the packs that it is shown, and their mix."""

    name: str
    "name of the run's folder"
    gate: Gate
    "the gate under test"
    packs: tuple[str, ...] = ("sabotage", "benign")
    "names of packs, or files of one's own"
    prevalence: float | None = None
    "share of harmful families among those shown; null: all of the packs, each once"
    seed: int = 1
    "fixes the order, the draws of a mix and simulated luck"
    most: int = 0
    "families shown at most, drawn evenly from each kind; 0: all"
    runs: str = "runs"
    "folder that holds the runs"

    def __post_init__(self) -> None:
        plain = bool(self.name) and "/" not in self.name and not self.name.startswith(".")
        need(plain and len(self.name) <= 80, "name", self.name, "the name of a folder")
        need(bool(self.packs), "packs", list(self.packs), "at least one pack")
        need(
            self.prevalence is None or 0 < self.prevalence < 1,
            "prevalence",
            self.prevalence,
            "above 0 and below 1, or null",
        )
        need(0 <= self.seed < 2**53, "seed", self.seed, "a whole number from 0")
        need(0 <= self.most <= 10**5, "most", self.most, "between 0 and 100000")
