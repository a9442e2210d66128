"""The tables about champions: their gain, how they propose, and what else changes."""

from loop.report.kind import TableKind

CHAMPIONS: dict[str, TableKind] = {
    "ablation": TableKind(
        title="What made the gain",
        figure=True,
        columns=(
            "arm",
            "change",
            "values (champions)",
            "champions with it",
            "champions",
            "loss without it",
            "low",
            "high",
            "share of their gain",
            "share, low",
            "share, high",
            "losses by",
            "reads",
        ),
        note=(
            "Each change of the last champions taken back alone; the mean loss is over the"
            " champions that have it. Shares need not add up to 1, since changes interact: beyond"
            " single changes stands the gain less the sum of the losses. Intervals are not"
            " corrected for the number of changes."
        ),
    ),
    "proposers": TableKind(
        title="The proposer, generation by generation",
        figure=True,
        columns=(
            "arm",
            "generation",
            "notebook share",
            "share, low",
            "share, high",
            "gain of a proposal",
            "gain, low",
            "gain, high",
            "repeats",
            "repeats with a gain",
            "gains by",
        ),
        note=(
            "Above: the share of its training that the champion's recipe gives to the notebook,"
            " from the baseline (generation 0) on. Below: the mean gain of a proposal over its"
            " parent. A better champion leaves less to gain, so a fall over generations is no"
            " proof of worse proposing; arm refit, whose proposals the baseline's recipe writes,"
            " falls as well. On feedback, parents were chosen for their score, which makes all"
            " gains look smaller. The figure has four arms at most, the table all."
        ),
    ),
    "agents": TableKind(
        title="Agents at work",
        columns=(
            "arm",
            "repeat",
            "generation",
            "seconds",
            "seconds left",
            "CPU-seconds",
            "CPU-seconds left",
            "trials",
            "trials left",
            "questions",
            "questions left",
            "tokens",
            "money",
            "turned away",
        ),
        note=(
            "What each generation of an agent used of its job's limits and of its doors, and what"
            " it left unused. Waiting at a door counts as seconds. Trainings of its trials are"
            " charged to the arm beside. Turned away: requests that a door refused before reading"
            " them, since they were too many, too slow, malformed, late, or not the agent's."
        ),
    ),
    "drift": TableKind(
        title="Drift in behaviour",
        figure=True,
        columns=(
            "arm",
            "quantity",
            "generation",
            "champion less baseline",
            "low",
            "high",
            "repeats",
            "rests on",
            "better",
            "reads",
        ),
        note=(
            "What the objective constrains, and the task's slices: the champion less its baseline,"
            " in the metric's own unit. Sums over accepted plans, which were selected; at the end"
            " the closing look on fresh seeds. A constraint against the champion beside it holds a"
            " step, and not the way from the baseline. The figure has four arms at most, the"
            " table all."
        ),
    ),
}
"""Table -> its heading and its columns."""
