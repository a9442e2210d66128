"""The verb of loops that ran elsewhere: read their log, and say what it can carry."""

from pathlib import Path

import click

from configs.build import need
from configs.errors import BadInput
from configs.records.trials import Direction
from evals.intervals import Figure
from evals.trial_logs import measure_noise
from loop.audit.formats.base import LARGEST
from loop.audit.measure import Noise, measure, write_audit
from loop.audit.read import read_log, read_numbers
from loop.audit.tell import list_answers
from loop.terminal import AS_JSON, print_answers, print_json


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--noise", type=float, default=None, help="Standard deviation of one evaluation.")
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    default=None,
    help="File with scores of unchanged repeats: a number a line, or a CSV.",
)
@click.option("--score", default="", help="Name of the score, where the log has several.")
@click.option("--direction", type=click.Choice(["up", "down"]), default=None, help="Better scores.")
@AS_JSON
def audit(
    path: Path,
    noise: float | None,
    baseline: Path | None,
    score: str,
    direction: Direction | None,
    as_json: bool,
) -> None:
    """Read the log of a loop that ran elsewhere, and say what it can carry: keeps, false keeps,
    noise, plateau.
    """
    need(noise is None or 0 < noise <= LARGEST, "--noise", noise, "above 0")
    if noise is not None and baseline is not None:
        raise BadInput("--noise and --baseline are both given; it should be one of them")
    known = _given(noise) if noise is not None else None
    if baseline is not None:
        known = _measured(baseline, score)
    result = measure(read_log(path, score), direction or "", known)
    if as_json:
        print_json(write_audit(result))
    else:
        print_answers(list_answers(result))


def _given(noise: float) -> Noise:
    return Noise(figure=Figure(value=noise, unit="score"), source="--noise")


def _measured(baseline: Path, score: str) -> Noise:
    """Return the noise of a file of repeats. Raises BadInput for fewer than two, or equal ones."""
    scores = read_numbers(baseline, score)
    figure = measure_noise([scores])
    if figure.word or not figure.value:
        raise BadInput(
            f"--baseline is {str(baseline)!r}, which has {len(scores)} scores and no two that"
            " differ; it should be a file of two or more repeats of the unchanged baseline, each"
            " with a seed of its own"
        )
    return Noise(figure=figure, source=f"{len(scores)} scores of --baseline")
