"""Independent replicates of a campaign, measured side by side on the cores that are free."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from configs.records import Split
from loop.campaign import Campaign
from loop.measure.jobs import Replicate
from loop.measure.replicate import record_data
from loop.study.running import Running

T = TypeVar("T")
Act = Callable[[Running, Replicate, Split, int | None], T]
"""What to do with each replicate: `measure`, or `score_once` where the caller records."""


def side_by_side(
    campaign: Campaign, act: Act[T], replicates: Iterable[Replicate], split: Split
) -> list[T]:
    """Measure replicates that hang on no other; return what `act` returns of each, in order.

    A replicate may begin as soon as `replicates` yields it.
    """
    return campaign.share(_list_steps(campaign, act, replicates, split))


def _list_steps(
    campaign: Campaign, act: Act[T], replicates: Iterable[Replicate], split: Split
) -> Iterator[Callable[[Campaign], T]]:
    for replicate in replicates:
        # Both sides of a pair train on a single file: it is drawn before either begins.
        record_data(campaign.running, replicate)
        yield partial(_act_on, act, replicate, split)


def _act_on(act: Act[T], replicate: Replicate, split: Split, campaign: Campaign) -> T:
    return act(campaign.running, replicate, split, campaign.cpu)
