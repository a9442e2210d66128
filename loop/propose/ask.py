"""Get a proposal for a campaign: from a program, weights in a box, a model, people or a list.

`WAYS` has a function for each place of writing. A box and an outside model are asked through a
propose plan. It is decided on, paid for and recorded like any other; a single plan stands for all
proposals of a generation.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from configs.arms import variant
from configs.errors import BadInput, HeirloopError, NeedsHuman, VerificationFailed
from configs.objective import objective_text
from configs.records import NOTES, JobCount, Proposal
from loop.campaign import POLL_SECONDS, Campaign, passes_gate
from loop.measure.replicate import write_proposals
from loop.people.advice import quote
from loop.plan import Draft, Planned, propose_jobs
from loop.propose.agent.doors import doors_of
from loop.propose.evolve.model import rebased, shown
from loop.propose.history import history_of, store_history, view_of, write_notebook
from loop.propose.limit import describe_limit
from loop.propose.outside.ask import answered
from loop.propose.outside.prompt import prompt
from loop.propose.outside.read import Unusable, read
from loop.propose.simulated import write as write_simulated
from loop.propose.table import proposer
from loop.study.agent_folder import program_files
from loop.study.own_files import read_proposals
from loop.study.running import Charge, charge_proposer
from loop.study.simulated import PROPOSE_US, law, planted, simulated
from sandbox.canonical import digest
from sandbox.remote_store import open_store

LONGEST = 70_000
"""Characters stored of a proposal; a longer proposal is refused as too long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A proposal as it was written."""

    text: str
    asked: str = ""
    "digest of its propose plan, if any"
    charge: Charge | None = None
    "what it still costs: recorded with its plan"


class UsedUp(HeirloopError):
    """A recorded run or a person's list has no more proposals; the campaign ends with its last."""


def ask(campaign: Campaign, generation: int, index: int) -> Written:
    """Return a single proposal; raise BadInput without a proposal."""
    way = WAYS[proposer(campaign.arm).where]
    written = way(campaign, generation, index)
    return replace(written, text=written.text[:LONGEST])


def _from_program(campaign: Campaign, generation: int, index: int) -> Written:
    """Let a program on the trusted side write, and charge its CPU time."""
    config, write = campaign.running.config, proposer(campaign.arm).write
    view = view_of(campaign, generation, index)
    started = time.thread_time()
    try:
        if write is None or (planted(config) and not law(config).search):
            text = write_simulated(config, campaign.arm, campaign.repeat, view)
        else:
            text = write(view)
    except BaseException:
        charge_proposer(campaign.running, _charge(campaign, generation, index, started))
        raise
    return Written(text=text, charge=_charge(campaign, generation, index, started))


@contextmanager
def _charged(campaign: Campaign, generation: int, index: int) -> Iterator[None]:
    """Charge the trusted side's own CPU time to the arm, even if the program fails."""
    started = time.thread_time()
    try:
        yield
    finally:
        charge_proposer(campaign.running, _charge(campaign, generation, index, started))


def _charge(campaign: Campaign, generation: int, index: int, started: float) -> Charge:
    """Return the charge for the CPU time of this thread since `started`."""
    used = int((time.thread_time() - started) * 1e6)
    if simulated(campaign.running.config):
        used = PROPOSE_US
    key = f"propose:{(campaign.arm, campaign.repeat, generation, index)}"
    return Charge(arm=campaign.arm, key=key, cpu_us=used)


def _from_box(campaign: Campaign, generation: int, index: int) -> Written:
    """Let the champion's weights or the study's own program write a whole generation in a box."""
    study = campaign.running.config.study
    author = study.author(campaign.arm, index)
    planned = _pass_propose_plan(campaign, generation, _record_propose_plan, author)
    lines = write_proposals(campaign.running, planned, campaign.cpu, doors_of(campaign, planned))
    line = index - author * study.written(campaign.arm)
    return Written(text=pick_line(lines, line), asked=planned.digest)


def pick_line(lines: list[str] | str, index: int) -> str:
    """Return a proposal of a propose job's output; raise BadInput with the reason otherwise."""
    if isinstance(lines, str):
        raise BadInput(lines)
    if index >= len(lines):
        raise BadInput(f"{len(lines)} proposals were written and number {index + 1} was wanted")
    return lines[index]


def _from_model(campaign: Campaign, generation: int, index: int) -> Written:
    """Ask an outside model a single question, and read its answer as a proposal."""
    config = campaign.running.config
    assert config.proposer.llm is not None
    planned = _pass_propose_plan(campaign, generation, _record_question_plan)
    evolving = proposer(campaign.arm).evolves
    with _charged(campaign, generation, index):
        view = view_of(campaign, generation, index)
        champion = view.sources[view.history.champion_source]
        history, source, others = shown(view) if evolving else (view.history, champion, ())
        question = prompt(
            config.proposer.llm,
            history,
            source,
            "\n".join([f"The task is {config.task.name}.", *objective_text(config.objective)]),
            (generation, index, campaign.shape()[1]),
            view.rng.getrandbits(31),
            [(other.describe_outcome(), other.source) for other in others],
        )
    answer = answered(campaign.running, planned.digest, index, question)
    try:
        with _charged(campaign, generation, index):
            text = read(answer, source)
            if evolving:
                text = rebased(view, history, source, text)
            return Written(text=text, asked=planned.digest)
    except BadInput as error:
        raise Unusable(str(error), answer) from None


def _from_people(campaign: Campaign, generation: int, index: int) -> Written:
    """Take the next proposal handed in by people.

    Waits as long as the study's patience, then raises NeedsHuman.
    """
    running = campaign.running
    patience = running.config.gates.patience_seconds
    deadline, waited = time.monotonic() + patience, False
    while True:
        waiting = _next_handed_in(campaign)
        if waiting:
            return Written(text=running.store.get(waiting).decode())
        place = f"proposal {index + 1} of {campaign.shape()[1]} of generation {generation}"
        repeat = f" --repeat {campaign.repeat}" if campaign.repeat else ""
        text = (
            f"arm {campaign.arm} waits for people's {place}; `heirloop propose"
            f" {quote(running.folder)} FILE --arm {campaign.arm}{repeat}` hands one in"
        )
        if campaign.limit():
            text += f". {describe_limit(campaign.limit())}"
        if time.monotonic() >= deadline or running.stopped:
            raise NeedsHuman(text)
        if not waited:
            waited = True
            campaign.say(f"{text}, within {patience / 60:.0f} minutes")
        time.sleep(POLL_SECONDS)


def _next_handed_in(campaign: Campaign) -> str:
    """Return the digest of the first handed-in proposal without a plan, if any."""
    facts = campaign.facts()
    handed_in = facts.handed[campaign.key]
    left = Counter(handed_in) - Counter(facts.taken[campaign.key])
    return next((name for name in handed_in if left[name]), "")


def _from_record(campaign: Campaign, generation: int, index: int) -> Written:
    """Repeat a recorded run's proposal in the same place.

    Raises UsedUp at the end of the record, VerificationFailed for another record.
    """
    settings = campaign.running.config.proposer
    proposals = read_proposals(settings.replay, settings.replay_arm)
    if digest(proposals) != settings.replay_digest:
        raise VerificationFailed(
            f"proposer.replay {settings.replay} holds other proposals than those that the study"
            " pins; restore it"
        )
    place = f"{campaign.repeat}:{generation}:{index}"
    if place not in proposals:
        raise UsedUp(
            f"{settings.replay}, arm {settings.replay_arm}, recorded {len(proposals)} proposals and"
            f" none for repeat {campaign.repeat}, generation {generation}, number {index + 1}"
        )
    if not proposals[place]:
        raise BadInput("the recorded run has no text here: its proposer wrote none")
    text = open_store(Path(settings.replay)).get(proposals[place])
    return Written(text=text.decode(errors="surrogatepass"))


def _from_script(campaign: Campaign, generation: int, index: int) -> Written:
    """Make the next proposal of a person's list; raise UsedUp at its end."""
    script = campaign.running.config.proposer.script
    number = (generation - 1) * campaign.shape()[1] + index
    if number >= len(script):
        raise UsedUp(f"proposer.script lists {len(script)} changes, and all were proposed")
    hypothesis = f"number {number + 1} of a person's list"
    return Written(text=json.dumps({"hypothesis": hypothesis, "knobs": script[number]}))


WAYS: dict[str, Callable[[Campaign, int, int], Written]] = {
    "trusted": _from_program,
    "box": _from_box,
    "outside": _from_model,
    "people": _from_people,
    "script": _from_script,
    "record": _from_record,
}
"""Place where a proposal is written (loop.propose.table.Proposer.where) -> way to get it."""


def _pass_propose_plan(
    campaign: Campaign,
    generation: int,
    record: Callable[[Campaign, int, int], Planned],
    author: int = 0,
) -> Planned:
    """Return the propose plan of a generation, recorded once, after it passed its gate.

    Where several proposers work at once, each author has its own.
    """
    facts = campaign.facts()
    if author:
        name = facts.further_asks.get((*campaign.key, generation, author))
    else:
        name = facts.asks.get((*campaign.key, generation))
    planned = campaign.planned(name) if name else record(campaign, generation, author)
    if not passes_gate(campaign, planned):
        refused = campaign.running.gate.refresh().memory.refused
        reason = refused.get((planned.digest, "propose"), "quarantined")
        raise BadInput(f"asking for proposals was refused: {reason}")
    return planned


def _record_propose_plan(campaign: Campaign, generation: int, author: int) -> Planned:
    """Record the propose plan of a generation's author and the history for its job.

    The champion's weights read the notebook as it stands, then write. A study's own program goes
    into the bundle in their place.
    """
    study = campaign.running.config.study
    own_program, count = proposer(campaign.arm).program, study.written(campaign.arm)
    writer = "the program" if own_program else "the champion"
    if variant(campaign.arm).notes:
        writer += f", proposer {author + 1} of {study.proposers}"
    best = campaign.champions()[0 if variant(campaign.arm).weights == "first" else -1]
    draft = replace(
        _draft(best, generation, writer, count),
        index=author,
        bundle=_bundle_program(campaign, best) if own_program else best.plan.bundle,
        notebook="" if own_program else write_notebook(campaign),
        jobs=propose_jobs(campaign.running.config, campaign.arm),
    )
    history = history_of(campaign, count, (generation, author))
    return campaign.record(draft, store_history(campaign, history))


def _record_question_plan(campaign: Campaign, generation: int, author: int) -> Planned:
    """Record the plan of a generation's questions to an outside model, a question per proposal."""
    model = campaign.running.config.proposer.llm
    assert model is not None
    writer = f"the outside model {model.model} at {model.url}"
    return campaign.record(_draft(campaign.parent(), generation, writer, campaign.shape()[1]))


def _draft(best: Planned, generation: int, writer: str, count: int) -> Draft:
    """Return a propose plan for asking a writer for `count` proposals, in as many questions."""
    return Draft(
        generation=generation,
        index=0,
        purpose="propose",
        parent=best.digest,
        change_class="propose",
        recipe=best.plan.recipe,
        bundle=best.plan.bundle,
        proposal=Proposal(hypothesis=f"asks {writer} for {count} proposals", knobs={}),
        jobs=(JobCount(role="ask", count=count),),
    )


def _bundle_program(campaign: Campaign, best: Planned) -> str:
    """Store the champion's bundle with the study's own program beside it, and its notes."""
    store = campaign.running.store
    beside = program_files(campaign.running.config.proposer, store)
    if proposer(campaign.arm).notes and (notes := _find_notes(campaign)):
        beside["notes"] = store.get(notes)
    return campaign.store_bundle({**store.get_bundle(best.plan.bundle), **beside})


def _find_notes(campaign: Campaign) -> str:
    """Return the digest of the notes that the campaign's last generation left.

    A generation that failed or left none keeps those that it was given; empty: none yet.
    """
    facts, store = campaign.facts(), campaign.running.store
    asked = [n for n in facts.proposed[campaign.key] if facts.plans[n].purpose == "propose"]
    if not asked:
        return ""
    result, given = facts.results.get((asked[-1], "propose", 0)), facts.plans[asked[-1]].bundle
    left = result[0].outputs.get(NOTES, "") if result else ""
    return left or store.manifest(given).get(NOTES, "")
