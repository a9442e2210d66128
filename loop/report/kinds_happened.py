"""The tables of section `happened`, with their columns."""

from loop.report.kind import INTERVAL, TableKind

CLOSING = ("campaign", "metric", "what it is", "baseline", "champion")
CLOSING_NOTE = "On confirm, with fresh seeds: a campaign's last champion beside its own baseline."
HAPPENED: dict[str, TableKind] = {
    "outcome": TableKind(
        title="Gain of each arm at its end",
        figure=True,
        columns=(
            "study",
            "arm",
            "gain",
            "low",
            "high",
            "campaigns",
            "accepted",
            "unit",
            "rests on",
        ),
        note=(
            "Champion against baseline on confirm and fresh seeds. Bar: 95 % interval over"
            " campaigns, or of a single campaign that of its closing look. Hollow: no interval."
            " Arms may have spent unlike compute."
        ),
    ),
    "arms": TableKind(
        title="Arms",
        columns=(
            "arm",
            "repeat",
            "accepted",
            "baseline, feedback",
            "champion, feedback",
            "held-out gain on confirm",
            "low",
            "high",
            "flag",
            "claims against gains, rank correlation",
            "claims",
        ),
        note=(
            "The gain is champion against baseline in the closing look, on fresh seeds; empty: no"
            " change accepted, or no closing look yet."
        ),
    ),
    "scores": TableKind(
        title="Feedback score per generation",
        figure=True,
        columns=("arm", "generation", "champion, mean", "low", "high", "repeats"),
        note=(
            "Line: the champion's score, mean over repeats, with its 95 % interval (none below 2"
            " repeats). Dots: every trial. Scores rest on one training each and are rounded; what"
            " is best among many is luckier than it is good."
        ),
    ),
    "trials": TableKind(title="Trials", columns=("arm", "repeat", "generation", "feedback")),
    "gains": TableKind(
        title="Verified gain by planned compute",
        figure=True,
        columns=("arm", "planned CPU-seconds", "gain", "low", "high", "repeats", "rests on"),
        note=(
            "Gain on confirm over the baseline, up to the compute that all arms share. Until a"
            " campaign's last generation it is the sum of its accepted plans' gains, corrected for"
            " the winner's curse; from there on it is the closing look on fresh seeds. An arm that"
            " spent more than the dotted line goes on to its end, table Gain at the end. Bars or"
            " bands: 95 % interval over repeats (none below 2)."
        ),
    ),
    "ends": TableKind(
        title="Gain at the end of each arm",
        columns=("arm", "planned CPU-seconds", "gain", "low", "high", "repeats", "rests on"),
        note=(
            "When every campaign of the arm has ended, with whatever compute that took; 0 for a"
            " campaign whose baseline is still the champion. Arms may have spent unlike compute:"
            " only the table above compares them."
        ),
    ),
    "closing": TableKind(
        title="Closing look of the best champion on feedback", columns=CLOSING, note=CLOSING_NOTE
    ),
    "closings": TableKind(title="Closing looks of the others", columns=CLOSING, note=CLOSING_NOTE),
    "lineage": TableKind(
        title="Lineage",
        figure=True,
        columns=("arm", "repeat", "generation", "plan", "parent", "fate", "feedback"),
        note=(
            "A line a campaign, from the baseline on: champions lie on the line, below it what was"
            " tried, tied to its parent."
        ),
    ),
    "burn": TableKind(
        title="Budget burn-down",
        figure=True,
        columns=("run", "ledger entry", "CPU-seconds left"),
        note="What the study's root account had left.",
    ),
    "lanes": TableKind(
        title="Workers over time",
        figure=True,
        columns=("run", "worker", "stage", "from, s", "to, s", "plan"),
        note=(
            "Each replicate in the first lane that is free, with its stages; the longest 900 spans."
            " An empty stretch is a worker that waits, proposes or judges."
        ),
    ),
    "accounts": TableKind(
        title="Accounts", columns=("account", "CPU-seconds spent", "limit", "jobs", "limit of jobs")
    ),
    "funnel": TableKind(
        title="Funnel",
        figure=True,
        columns=("arm", "fate", "plans", "share", "CPU-seconds"),
        note=(
            "How each proposal ended. superseded: another plan of its generation was confirmed; no"
            " effect: rejected on confirm."
        ),
    ),
    "promise": TableKind(
        title="Promise",
        columns=("arm", "part", *INTERVAL),
        note=(
            "A rejected plan's promise falls whole into its fate; an accepted one's = over-claim +"
            " proxy gap + winner's curse + verified gain. Parts that are 0 in every repeat are left"
            " out. A plan that predicted nothing stands with the mean gain of earlier generations."
        ),
    ),
    "rungs": TableKind(
        title="Gain per rung",
        figure=True,
        columns=("arm", "rung", "gain", "low", "high", "repeats"),
        note=(
            "Accepted gains on feedback and on confirm, both selected on; then champion against"
            " baseline on fresh seeds (closing), on sealed, on each slice outside the training"
            " distribution, and with four times the compute on both sides (large). Hollow: without"
            " an interval."
        ),
    ),
    "retention": TableKind(
        title="Retention",
        columns=("arm", "step", *INTERVAL),
        note=(
            "Share of the gain before it that a rung still shows, after the closing look of that"
            " look. Excess loss: what is lost there beyond what reference changes of its size lose."
        ),
    ),
    "automation": TableKind(
        title="Automation per stage",
        figure=True,
        columns=("arm", "stage", *INTERVAL),
        note=(
            "1 - the share of compute that people released; what only people do stands in the table"
            " alone. Hollow: without an interval. There is no mean: a cron job has 1 at most"
            " stages, and stands beside it. A simulated reviewer is no person; what the vector"
            " would be, had they been people, is told apart."
        ),
    ),
    "stages": TableKind(title="Who did what", columns=("arm", "stage", "who", "controlled by")),
    "efficiency": TableKind(
        title="Efficiency",
        columns=("arm", "part", *INTERVAL),
        note=(
            "E = gain per accept x accepts per plan / CPU per plan; its change is -(smaller +"
            " harder + costlier), noisier is a part of costlier. Oversight is charged no CPU: what"
            " it costs stands as human cost."
        ),
    ),
    "budgets": TableKind(
        title="Efficiency by budget",
        columns=(
            "study",
            "times the smallest",
            "planned CPU-seconds a campaign",
            "arm",
            "counted",
            *INTERVAL,
        ),
        note=(
            "Verified gain per CPU-second of all plans, with proposing and oversight counted or"
            " not; studies of one task and objective alone."
        ),
    ),
    "calibration": TableKind(
        title="Foretold against shown",
        figure=True,
        columns=("arm", "plan", "foretold", "shown"),
        note="Gain on feedback of screened plans with a prediction; on the line it was kept.",
    ),
    "decisions": TableKind(
        title="Decisions by class",
        columns=(
            "class",
            "mandate",
            "approval",
            "denied",
            "person",
            "external",
            "simulated",
            "unattended",
        ),
    ),
    "oversight": TableKind(title="Oversight", columns=("what", "measured")),
    "signed": TableKind(
        title="Signed decisions",
        columns=(
            "plan",
            "class",
            "answer",
            "reviewer",
            "kind",
            "seconds since asked",
            "seconds looked",
        ),
    ),
    "canaries": TableKind(
        title="Canaries",
        columns=(
            "canaries stopped (hits)",
            "canaries passed (misses)",
            "twins stopped (false blocks)",
            "twins passed",
            "d′ (95 %)",
            "criterion (95 %)",
        ),
        note=(
            "Requests followed by a canary and its benign twin, which can never run. A miss means"
            " nothing without the false blocks beside it: whoever denies everything misses none."
        ),
    ),
    "looks": TableKind(title="Looks at held-out data", columns=("split", "looks", "limit")),
    "openings": TableKind(
        title="Openings of sealed",
        columns=(
            "opening",
            "plan",
            "champion",
            "metric",
            "gain over the baseline",
            "low",
            "high",
            "pairs",
            "flag",
        ),
    ),
    "factory": TableKind(
        title="The factory",
        columns=(
            "arm",
            "campaigns",
            "satisfaction at the end",
            "low",
            "high",
            "scenarios",
            "released",
            "rolled back",
            "defects planted",
            "defects deployed",
            "requests",
            "requests harmed",
            "minutes of reviewers",
        ),
        note=(
            "Sums over the campaigns that ended. Satisfaction: share of people's scenarios that the"
            " service met in the last period, with the exact 95 % interval; empty where nobody"
            " watches. Released, and deployed of the planted defects: live at some time, a canary"
            " included. Reviewers are simulated."
        ),
    ),
    "accords": TableKind(
        title="Accords",
        columns=(
            "run",
            "accord",
            "study",
            "owes",
            "from, UTC",
            "to, UTC",
            "state at the newest entry",
            "own starts within",
            "broken",
        ),
        note=(
            "A row of each term. Broken: by this ledger, and by incidents that the files of both"
            " sides opened here. Starts of the other side stand in its own ledger; the files of"
            " both show whether it was silent (docs/accord.md)."
        ),
    ),
    "incidents": TableKind(
        title="Incidents",
        columns=("id", "title", "kind", "severity", "detector", "detected at", "versions"),
    ),
    "plans": TableKind(
        title="Plans",
        columns=(
            "arm",
            "repeat",
            "generation",
            "plan",
            "change",
            "feedback",
            "verdict",
            "flag",
            "why it was denied or failed",
        ),
    ),
}
"""Table -> its heading and its columns."""
