"""What can be measured of a net: each metric with its direction and its meaning in a clause."""

from dataclasses import dataclass
from typing import Literal

COSTS = ("parameters", "inference_cpu_us", "measured_cpu_us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """The description of a metric."""

    better: Literal["up", "down"]
    "the better direction"
    share: bool
    "whether it lies between 0 and 1"
    text: str
    "the thing measured, in a clause"


METRICS: dict[str, Metric] = {
    "exact_match": Metric(
        better="up", share=True, text="share of items whose whole answer is right"
    ),
    "token_accuracy": Metric(better="up", share=True, text="share of right answer tokens"),
    "log_odds": Metric(
        better="up", share=False, text="ln((k + 1/2) / (n - k + 1/2)) of exact match"
    ),
    "nll": Metric(
        better="down",
        share=False,
        text="nats per right answer token, each conditioned on the net's own tokens before it",
    ),
    "bits": Metric(
        better="down",
        share=False,
        text="mean -log2 of the probability of the right character, of task text",
    ),
    "calibration_error": Metric(
        better="down", share=True, text="expected calibration error of whole answers, 15 bins"
    ),
    "robustness": Metric(better="up", share=True, text="lowest exact match over the task's slices"),
    "weighted": Metric(
        better="up",
        share=True,
        text="weighted mean of shares; those that should fall count as one minus themselves",
    ),
    "spread": Metric(
        better="down", share=False, text="standard deviation of the primary metric over seeds"
    ),
    "parameters": Metric(better="down", share=False, text="weights of the net"),
    "inference_cpu_us": Metric(
        better="down", share=False, text="CPU-microseconds of one predict job, start-up excluded"
    ),
    "measured_cpu_us": Metric(
        better="down", share=False, text="CPU-microseconds of the training, start-up excluded"
    ),
}
"""Every metric by name. `spread` and the costs are for constraints alone."""
ON_TABLE = {
    "bits",
    "nll",
    "parameters",
    "planned_cpu_us",
    "measured_cpu_us",
    "inference_cpu_us",
    "spread",
}
"""Metrics of a study on a table; an item is a fold there, so shares of right answers mean nothing.
"""
