"""The tables about champions: what made their gain."""

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
}
"""Table -> its heading and its columns."""
