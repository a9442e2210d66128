"""Every verb of the command line: its module and command, and its line of help."""

VERBS: dict[str, tuple[str, str]] = {
    "acknowledge": (
        "decide:acknowledge",
        "Sign that the notice DIGEST arrived. It decides nothing.",
    ),
    "amend": (
        "amend:amend",
        "Propose another objective, budget, gates or reviewers (FIELD=VALUE ...), or apply"
        " what people decided.",
    ),
    "approve": ("decide:approve", "Print a plan in full and sign a yes to exactly these bytes."),
    "attack": (
        "prove:attack",
        "Try the attack catalogue against a box on this machine; exit 6 if anything got through.",
    ),
    "calibrate": (
        "prove:calibrate",
        "Measure how often each acceptance rule keeps noise; goes on where it was interrupted.",
    ),
    "cite": ("read:cite", "Print BibTeX of the software and of a run's study."),
    "compare": (
        "read:compare",
        "Write one report of several runs: seeds of one study are its repeats, different"
        " studies stand side by side.",
    ),
    "compute": (
        "read:compute",
        "Print the signed compute statement of runs (total, peaks, per class and account) and"
        " record it, or check one.",
    ),
    "decide": (
        "decide:decide",
        "Hand in a decision or an acknowledgement that was signed elsewhere, or sign a"
        " request that came as a file, on a machine without network.",
    ),
    "deny": ("decide:deny", "Print a plan in full and sign a no; the loop goes on without it."),
    "deploy": (
        "orders:deploy",
        "Copy the champion's weights and card to RUN/deployed, once people decided on it"
        " (class deploy).",
    ),
    "doctor": (
        "prove:doctor",
        "Try every promise of each box on this machine, and tell the tier; exit 6 if a"
        " promise fails, 7 if no box works.",
    ),
    "drill": (
        "orders:drill",
        "Stop a running study for practice, measure how long its jobs lived on, and let it go on.",
    ),
    "escalate": (
        "decide:escalate",
        "Print a plan in full and sign that an external reviewer must say yes besides.",
    ),
    "export": (
        "read:export",
        "Write runs as tidy tables that `heirloop verify DIR` checks without the runs"
        " (docs/export.md).",
    ),
    "fork": (
        "fork:fork",
        "Begin a new study with the rest of the budget of a run whose newest ledger was lost.",
    ),
    "image": ("prove:image", "The image of the Docker box."),
    "inbox": (
        "decide:inbox",
        "Serve the web inbox of a run, or of a folder of runs: read, decide, watch, stop.",
    ),
    "incident": ("incident:incident", "What was violated, nearly was, or could be."),
    "instruments": (
        "read:instruments",
        "Measure runs of one study, seeds as repeats: closure, amplification, loss"
        " (docs/instruments.md); gains only of studies that ended.",
    ),
    "keys": ("keys:keys", "Reviewers' keys."),
    "mandate": ("mandate:mandate", "Standing approvals with caps."),
    "notify": (
        "decide:notify",
        "Send what people should have been told by now, where no loop runs that does it.",
    ),
    "pause": ("orders:pause", "Let jobs end and start none."),
    "pending": ("decide:pending", "List what waits for a decision, with the proposer's claim."),
    "plans": ("study:plans", "List the plans of a run."),
    "power": (
        "prove:power",
        "Tell how many replicates, CPU-seconds and campaigns a question needs, in the study"
        " that OVERRIDES compose.",
    ),
    "propose": (
        "study:propose",
        "Hand in a proposal (strict JSON: hypothesis, knobs, predicted_gain, edits) as a"
        " person; it is recorded with your name.",
    ),
    "proposers": ("study:proposers", "List every proposer with what it may see and what it costs."),
    "recall": (
        "orders:recall",
        "Quarantine a successor and its descendants: neither parent nor champion any more.",
    ),
    "replay": (
        "read:replay",
        "Retrain a plan's first replicate from its bundle and compare bytes.",
    ),
    "report": (
        "read:report",
        "Write report.html, report.json and summary.json again from the ledger.",
    ),
    "resume": (
        "orders:resume",
        "Let a stopped, paused or slowed run go on, if the reviewers that the study names said so.",
    ),
    "rollback": (
        "orders:rollback",
        "Deploy what was deployed before; it takes a decision of its own.",
    ),
    "run": (
        "run:run",
        "Run a study: heirloop run study=quickstart [group=choice] [field=value] [-m].",
    ),
    "show": (
        "study:show",
        "Show one plan in full, with the nearest other weights of each scored replicate.",
    ),
    "slow": ("orders:slow", "Start at most PER_HOUR jobs in any hour."),
    "status": ("study:status", "Show where a run stands."),
    "stop": (
        "orders:stop",
        "Kill every job of a run and let nothing start, even if its loop hangs or is dead.",
    ),
    "task": ("prove:task", "Tasks, and what they are worth."),
    "unseal": (
        "unseal:unseal",
        "Open the sealed split for the champion against the baseline, once a reviewer signed"
        " it (class unseal); every opening counts.",
    ),
    "validate": (
        "prove:validate",
        "Prove the instruments on worlds whose truth is known; exit 6 if an interval or a"
        " word does not hold.",
    ),
    "verify": (
        "read:verify",
        "Recompute a run, or an export of runs, from its bytes; a failure is an incident of"
        " the run, where its record still holds.",
    ),
}
"""Name of a verb -> (module:command below this folder, first paragraph of its help).

A module is imported when a verb of it is used, so the list of verbs is printed from here.
"""
