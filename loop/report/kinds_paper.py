"""The tables of a paper: which claims replicate, what their review is worth, the write-ups."""

from loop.report.kind import TableKind

PAPER: dict[str, TableKind] = {
    "replicates": TableKind(
        title="Which claims replicate",
        figure=True,
        columns=("arm", "claims", "share that replicates", "low", "high", "checked", "of"),
        note=(
            "Each write-up claims its finding (a gain above the minimum effect, or none); where it"
            " gains, that each of its changes has a part of the gain; and that the finding holds at"
            " another value of a knob that the study fixed, and at other compute."
            " A claim replicates if the mean of fresh pairs lies on the side that it says. Claims"
            " whose recipes the table lacks are not checked. The interval is over repeats; a hollow"
            " marker has none."
        ),
    ),
    "review": TableKind(
        title="What the review is worth",
        figure=True,
        columns=("reviewer", "said", "share that replicates", "claims"),
        note=(
            "Claims in ten bins by the probability that a reviewer gave them, blind, before any"
            " check. On the diagonal it is calibrated; a larger marker holds more claims."
        ),
    ),
    "reviewers": TableKind(
        title="Reviewers, over all checked claims",
        columns=("figure", "reviewer", "value", "low", "high", "n", "unit", "reads"),
    ),
    "writeups": TableKind(
        title="Write-ups",
        columns=(
            "arm",
            "repeat",
            "generation",
            "accepted",
            "claim",
            "stated gain",
            "review",
            "fresh gain",
            "true gain",
            "reads",
        ),
        note=(
            "Each judged generation claims what it found, then what follows from it elsewhere."
            " Review: the probability that the reviewer care gave. Gains are in bits saved."
        ),
    ),
}
"""Table -> its heading and its columns."""
