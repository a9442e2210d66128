"""Which doors does an agent find in its box? Each attempt of its job gets doors of its own."""

from collections.abc import Callable, Mapping
from functools import partial

from configs.records import AGENT, module_of
from configs.settings.proposer import Proposer
from loop.campaign import Campaign
from loop.plan import Planned
from loop.propose.agent import model, trials
from loop.propose.agent.model import ModelDoor
from loop.propose.agent.trials import DraftTrial, TrialDoor
from loop.propose.draft import draft_of
from sandbox.box.tcp import explain_absence
from sandbox.door.doors import Doors, Handler


def doors_of(
    campaign: Campaign, asked: Planned, draft: DraftTrial | None = None
) -> Callable[[], Doors] | None:
    """Return what opens the doors of a propose plan's job; None for a job without any.

    `draft` makes a trial's draft of a request; without it a trial changes the campaign's parent.
    """
    make_draft = draft or partial(draft_of, campaign)
    settings = campaign.running.config.proposer
    if module_of(asked.plan, "propose") != AGENT or not (settings.trials or settings.calls):
        return None

    def make() -> Doors:
        handlers: dict[str, tuple[str, Handler]] = {}
        if settings.trials:
            trial = TrialDoor(campaign=campaign, asked=asked, draft=make_draft)
            handlers["trial"] = (trials.PATH, trial.answer)
        if settings.calls and settings.llm:
            door = ModelDoor(campaign=campaign, asked=asked, endpoint=settings.llm)
            handlers["model"] = (model.PATH, door.answer)
        return open_doors(handlers, name_model(settings))

    return make


def name_model(settings: Proposer) -> str:
    """Return the name of the model behind the door `model`, for the agent; empty: no such door."""
    return settings.llm.model if settings.calls and settings.llm else ""


def open_doors(handlers: Mapping[str, tuple[str, Handler]], name: str = "") -> Doors:
    """Open the doors of an attempt; a TCP port leads to the door `model` where the kernel has rules
    for ports. `name` is the model's, for the agent.
    """
    forwards = "model" in handlers and not explain_absence()
    return Doors(handlers, forwarded="model" if forwards else "", model=name)
