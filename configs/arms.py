"""Arms of a study: the variants of the loop that settings, loop and instruments share."""

from dataclasses import dataclass, replace
from typing import Any, Literal

START = "start"
"""The arm of the shared first trials; each trial is a repeat of it."""


EVOLVE = "evolve"
"""The proposer that evolves programs, and the arm with all of its parts."""


ONE_SHOT = ("one_shot", "one_shot_free")
"""Arms that spend the compute of all generations at once."""


FREE = {"one_shot": "one_shot_free", "no_carry": "no_carry_free"}
"""Arm -> its twin without the change limit. Their difference is `reach` (docs/instruments.md)."""


MORE: dict[str, tuple[str, ...]] = {
    "more_compute": ("compute",),
    "more_proposals": ("proposals",),
    "more_replicates": ("replicates",),
    "more_both": ("compute", "proposals"),
}
"""Arms like `self` with more of something (study.raised), for elasticities: name -> the things."""


RAISE = 1.25
"""Factor by which an arm of MORE has more, unless a study says another."""


PARALLEL: dict[str, tuple[str, str, str]] = {
    "parallel": ("parallel_shared", "parallel_separate", "self"),
    "parallel tpe": ("parallel_shared_tpe", "parallel_separate_tpe", "tpe"),
}
"""Several proposers at once: comparison -> arms with a shared and with separate histories, and the
arm with a single proposer.
"""


PAIRS = {
    "shared minus separate": (0, 1),
    "shared minus single": (0, 2),
    "separate minus single": (1, 2),
}
"""Difference of several proposers -> places of its arms in a row of PARALLEL."""


LONGER, BOTH = "more_compute", "more_both"
"""The arm whose baseline trains longer, too; and the arm that has more proposals beside it."""


CONTENDERS = 3
"""Most contenders of a selection on proposing skill: the champion, and the best two candidates by
feedback that are not inferior on the task.
"""


LARGER = 4
"""Planned compute of a training of the larger look, as a multiple."""


AT_LARGER = ("larger", "reference_larger")
"""Purposes of plans with as much compute."""


REFERENCE = "reference"
"""The arm that measures a person's list of changes, one a repeat, as closing looks do.

It has no generation, and no other arm is compared with it.
"""


Reading = Literal["growing", "first", "scrambled", "scrambled_own", "scrambled_start", "no_own"]
"""How a campaign's trials are shown.

growing: as they are. first: the start and the baseline for ever. scrambled: outcomes permuted among
all trials; scrambled_own and scrambled_start: among the campaign's own candidates, or among those
of the start. no_own: each own trial replaced by one of the start, so that the length is the same.
"""


Layer = Literal["tests", "scenarios", "canary", "watch", "review", "weak review"]
"""A layer between a change of a service and its life.

tests: scripted clients that proposers may know, in every factory. scenarios: people's holdout on a
twin. canary: a share of the requests meets a new version first. watch: scripted clients beside the
real ones, and a rollback where satisfaction falls. review, weak review: a simulated reviewer.
"""


Support = Literal["data", "quota", "reviewer", "model", "storage", "operator"]
"""A support of a loop that people give and can withdraw.

data: outcomes of its own trials; quota: compute; reviewer: who decides on its successors; model: an
outside model that proposes; storage: a place for its record; operator: who renews its mandate.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A variant of the loop."""

    proposer: str
    "key of PROPOSERS"
    weights: Literal["champion", "first"] = "champion"
    "box: whose weights propose and whose recipe reads the notebook. first: generation 0's"
    history: Reading = "growing"
    "the history shown and learned from"
    carry: bool = True
    "whether a generation starts from the last champion; else from the baseline"
    notes: Literal["", "shared", "separate"] = ""
    """several proposers at once (study.proposers) on one champion, each with everybody's trials or
    with those of the start and its own; empty: a single proposer
    """
    limited: bool = True
    "whether the study's change limit (study.most_changes) holds for it"
    selects: Literal["", "skill", "placebo"] = ""
    """whether some generations choose their champion on proposing skill (`objective.skill`).
    placebo: the measured skills are permuted among the contenders, at the same cost
    """
    programs: Literal["", "clade", "score", "random"] = ""
    """how an archive of proposer programs chooses the parent of the next (docs/proposers.md): by
    the productivity of its clade, by its own score, at random; empty: no such archive
    """
    maker: Literal["operators", "model"] = "operators"
    "who makes the next program of such an archive: operators on the text, or the outside model"
    reseeds: bool = False
    """whether its proposals change nothing, and its candidates train under seeds of their own: a
    comparison of like with like (an A/A test), in which every difference is noise
    """
    evolve: tuple[tuple[str, Any], ...] = ()
    "settings of the program database that the arm fixes (proposer.evolve)"
    screens: bool = True
    """whether a generation screens all proposals of the study and confirms the best; else it has a
    single proposal, which is confirmed whatever its score on feedback
    """
    rule: Literal["", "greedy"] = ""
    "rule of acceptance of its own; empty: the objective's"
    line: tuple[Layer, ...] = ()
    """layers that a change of the service passes in the arm's factory, beside its tests
    (docs/factory.md); empty: the arm has no factory
    """
    spared: bool = False
    "whether the study's faults spare it (group `faults`): the twin of an arm that has them"
    stands: Literal["", "paused", "resumed"] = ""
    """whether it stands still for a part of the study (`study.pause`): paused: as long as an accord
    asks; resumed: until the other's breach is found
    """
    lacks: Literal["", Support] = ""
    "support that is withdrawn from it in mid-run (`faults.withdrawn`); empty: none"
    falls_back: str = ""
    """program that proposes where its outside model is withdrawn; empty: nobody does, and it stands
    still
    """


ARMS: dict[str, Arm] = {
    "self": Arm(proposer="notebook"),
    "self_skill": Arm(proposer="notebook", selects="skill"),
    "skill_placebo": Arm(proposer="notebook", selects="placebo"),
    "frozen": Arm(proposer="notebook", weights="first", history="first"),
    "refit": Arm(proposer="notebook", weights="first"),
    "scrambled": Arm(proposer="notebook", history="scrambled"),
    "scrambled_own": Arm(proposer="notebook", history="scrambled_own"),
    "scrambled_start": Arm(proposer="notebook", history="scrambled_start"),
    "no_own": Arm(proposer="notebook", history="no_own"),
    "no_carry": Arm(proposer="notebook", weights="first", history="first", carry=False),
    "one_shot": Arm(proposer="notebook"),
    "no_carry_free": Arm(
        proposer="notebook", weights="first", history="first", carry=False, limited=False
    ),
    "one_shot_free": Arm(proposer="notebook", limited=False),
    **{name: Arm(proposer="notebook") for name in MORE},
    "parallel_shared": Arm(proposer="notebook", notes="shared"),
    "parallel_separate": Arm(proposer="notebook", notes="separate"),
    "parallel_shared_tpe": Arm(proposer="tpe", notes="shared"),
    "parallel_separate_tpe": Arm(proposer="tpe", notes="separate"),
    REFERENCE: Arm(proposer="random", limited=False),
    "reseed": Arm(proposer="reseed", reseeds=True),
    "evolve_one_island": Arm(proposer=EVOLVE, evolve=(("islands", 1),)),
    "evolve_no_grid": Arm(proposer=EVOLVE, evolve=(("grid", False),)),
    "evolve_unscreened": Arm(proposer=EVOLVE, screens=False),
    "edits": Arm(proposer=EVOLVE, evolve=(("archive", False), ("islands", 1))),
    "agent_greedy": Arm(proposer="agent", rule="greedy"),
    "programs_clade": Arm(proposer="command", programs="clade"),
    "programs_score": Arm(proposer="command", programs="score"),
    "programs_random": Arm(proposer="command", programs="random"),
    "programs_model": Arm(proposer="command", programs="clade", maker="model"),
    "agents_clade": Arm(proposer="agent", programs="clade"),
    "agents_score": Arm(proposer="agent", programs="score"),
    "agents_random": Arm(proposer="agent", programs="random"),
    "agents_model": Arm(proposer="agent", programs="clade", maker="model"),
    "tests_alone": Arm(proposer="hostile", line=("tests",)),
    "reviewed": Arm(proposer="hostile", line=("tests", "review")),
    "reviewed_half": Arm(proposer="hostile", line=("tests", "weak review")),
    "lights_out": Arm(proposer="hostile", line=("tests", "scenarios", "canary", "watch")),
}
"""Arms with a name other than their proposer's. `self` is the loop closed on itself.

The others differ from it in a single thing (docs/instruments.md). `one_shot` and the arms of MORE
differ in the compute of a round (configs.settings.study.Study.rounds). Arms `evolve_...` and
`edits` are `evolve` without one of its parts.
"""


SPARED = {name: f"{name}_spared" for name in ("self", "scrambled", "random")}
"""Arm -> its twin that has none of the study's faults."""
ARMS |= {
    twin: replace(ARMS.get(name) or Arm(proposer=name), spared=True)
    for name, twin in SPARED.items()
}


STANDING = {
    "self_paused": ("self", "paused"),
    "self_resumed": ("self", "resumed"),
    "frozen_paused": ("frozen", "paused"),
}
"""Arm that stands still for a while -> the arm that it is otherwise, and how long it stands."""
ARMS |= {
    name: replace(ARMS.get(arm) or Arm(proposer=arm), stands=stands)  # type: ignore[arg-type]
    for name, (arm, stands) in STANDING.items()
}

WITHDRAWN: dict[str, tuple[str, Support]] = {
    "self_without_data": ("self", "data"),
    "self_without_quota": ("self", "quota"),
    "self_without_reviewer": ("self", "reviewer"),
    "self_without_storage": ("self", "storage"),
    "self_without_operator": ("self", "operator"),
    "outside_without_model": ("outside", "model"),
    "outside_replaced": ("outside", "model"),
}
"""Arm that loses a support in mid-run -> the arm that it is otherwise, and the support."""
ARMS["outside"] = Arm(proposer="planted")
ARMS |= {
    name: replace(ARMS[arm], lacks=support, falls_back="tpe" if "replaced" in name else "")
    for name, (arm, support) in WITHDRAWN.items()
}

ACCORD_FIGURES: dict[str, tuple[str, ...]] = {
    "cost of a pause to self": ("self", "self_paused"),
    "cost of a pause to frozen": ("frozen", "frozen_paused"),
    "lead, self alone pauses": ("self_paused", "frozen"),
    "lead, both pause": ("self_paused", "frozen_paused"),
    "lead, both minus none": ("self_paused", "frozen_paused", "self", "frozen"),
    "cost of a breach to self": ("self", "self_resumed"),
    "saved by finding it": ("self_resumed", "self_paused"),
}
"""Figure of a study on accords -> its arms. Of two, the first minus the second; of four, the
difference of the first two minus that of the last two.
"""


KEEPING = ("agent_greedy", "agent")
"""The same agent under a rule that keeps whatever looks better, and under the objective's."""


SELECTING = tuple(name for name, arm in ARMS.items() if arm.selects)
"""Arms that select on proposing skill, and their placebo."""


EVOLVING = tuple(name for name, arm in ARMS.items() if arm.programs)
"""Arms whose proposer program modifies itself."""


FACTORY = tuple(name for name, arm in ARMS.items() if arm.line)
"""Arms with a factory: changes of a service, deployed by rule."""


PROGRAM_CELLS = ("winner", "first")
"""The programs that are compared at the end of such an arm: the best of its archive, the first."""


CELLS: dict[str, Arm] = {name: ARMS[name] for name in ("self", "refit", "frozen", "scrambled")}
"""The four measures of the last weights' skill.

They are: the weights themselves; generation 0's recipe on the same history, on its own, and on
permuted outcomes.
"""


def without_twin(arm: str) -> str:
    """Return the arm whose luck an arm has: twins draw what the arm itself draws."""
    if arm in STANDING or arm in WITHDRAWN:
        return (STANDING.get(arm) or WITHDRAWN[arm])[0]
    return next((name for name, twin in SPARED.items() if twin == arm), arm)


def variant(arm: str) -> Arm:
    """Return the variant of an arm; a proposer's name is the plain loop with it."""
    return ARMS.get(arm) or Arm(proposer=arm)
