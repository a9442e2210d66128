"""Every verb of the command line: its module and command, and its line of help."""

VERBS: dict[str, tuple[str, str]] = {
    "ablate": (
        "read:ablate",
        "Tell what each change of the last champions carries of the gain: taken back alone, with"
        " its loss.",
    ),
    "accord": (
        "accord:accord",
        "Accords: two studies slow or stop together, with evidence from files (docs/accord.md).",
    ),
    "acknowledge": (
        "decide:acknowledge",
        "Sign for the arrival of the notice DIGEST. It decides nothing.",
    ),
    "amend": (
        "amend:amend",
        "Propose another objective, budget, gates or reviewers (FIELD=VALUE ...), or apply a"
        " decided amendment.",
    ),
    "approve": (
        "decide:approve",
        "Print a plan in full and sign a yes to exactly these bytes.",
    ),
    "attack": (
        "prove:attack",
        "Try the attack catalogue against a box on this machine; exit 6 if anything got through.",
    ),
    "attest": (
        "attest:attest",
        "Write one signed page on a run for an outsider, with what was not examined; or check one"
        " from files.",
    ),
    "audit": (
        "audit:audit",
        "Read the log of a loop that ran elsewhere, and say what it can carry: keeps, false keeps,"
        " noise, plateau.",
    ),
    "calibrate": (
        "prove:calibrate",
        "Measure how often each acceptance rule keeps noise; goes on where it was interrupted.",
    ),
    "certify": (
        "gatebench:certify",
        "Sign what a bench showed of its gate, and what it cannot show; or check a certificate.",
    ),
    "check": (
        "prove:check_file",
        "Run a task, gate or proposer of your own on a small example, and tell its mistakes.",
    ),
    "cite": (
        "read:cite",
        "Print BibTeX of the software and of a run's study.",
    ),
    "compare": (
        "read:compare",
        "Write a report of several runs: seeds of a study are its repeats, different studies"
        " stand side by side.",
    ),
    "compute": (
        "read:compute",
        "Print the signed compute statement of runs (total, peaks, per class and account) and"
        " record it, or check a statement.",
    ),
    "decide": (
        "decide:decide",
        "Hand in a decision or an acknowledgement signed elsewhere, or sign a request file on"
        " a machine without network.",
    ),
    "deny": (
        "decide:deny",
        "Print a plan in full and sign a no; the loop goes on without it.",
    ),
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
        "Write runs as tidy tables; `heirloop verify DIR` checks them without the runs"
        " (docs/export.md).",
    ),
    "fork": (
        "fork:fork",
        "Begin a new study with the rest of the budget of a run whose newest ledger was lost.",
    ),
    "gatebench": (
        "gatebench:gatebench",
        "Test gates on sabotage whose harm was measured (docs/your-gate.md).",
    ),
    "image": (
        "prove:image",
        "The image of the Docker box.",
    ),
    "inbox": (
        "decide:inbox",
        "Serve the web inbox of a run, or of a folder of runs: read, decide, watch, stop.",
    ),
    "incident": (
        "incident:incident",
        "Incidents: rules violated, nearly violated, or open to violation.",
    ),
    "instruments": (
        "instruments:instruments",
        "Measure runs of a study, seeds as repeats: closure, amplification, loss"
        " (docs/instruments.md); gains only of ended studies. What was not measured is counted.",
    ),
    "keys": (
        "keys:keys",
        "Reviewers' keys.",
    ),
    "list": (
        "listing:list_names",
        "List the knobs, arms, tasks, studies or boxes that settings can name.",
    ),
    "mandate": (
        "mandate:mandate",
        "Standing approvals with caps.",
    ),
    "notify": (
        "decide:notify",
        "Send the notices that are due, for a study whose loop does not run.",
    ),
    "paper": (
        "paper:paper",
        "Write paper.html of a run: question, methods, results, write-ups with their blind review"
        " and checks, limitations (docs/scientist.md).",
    ),
    "pause": (
        "orders:pause",
        "Start no more jobs; running jobs end.",
    ),
    "pending": (
        "decide:pending",
        "List the requests waiting for a decision, with the proposers' claims.",
    ),
    "plans": (
        "study:plans",
        "List the plans of a run.",
    ),
    "power": (
        "prove:power",
        "Compute how many pairs and CPU-seconds a confirmation needs in the study of these"
        " OVERRIDES, with --like how many repeats a difference between arms needs, or with"
        " --escapes how many harmful families bound a gate's escape rate.",
    ),
    "propose": (
        "study:propose",
        "Hand in a proposal (strict JSON: hypothesis, knobs, predicted_gain, edits) as a"
        " person; it is recorded with your name.",
    ),
    "proposers": (
        "study:proposers",
        "List every proposer with its view and its cost.",
    ),
    "prune": (
        "read:prune",
        "Drop the weights of a finished run that no verification reads; the ledger says which.",
    ),
    "recall": (
        "orders:recall",
        "Quarantine a successor and its descendants: neither parent nor champion any more.",
    ),
    "repair": (
        "read:repair",
        "Put back signed heads and stored files that a run lost; the ledger is never touched.",
    ),
    "replay": (
        "read:replay",
        "Retrain a plan's first replicate, or run its agent again, and compare bytes.",
    ),
    "report": (
        "read:report",
        "Write report.html, report.json and summary.json again from the ledger.",
    ),
    "resume": (
        "orders:resume",
        "Let a stopped, paused or slowed run go on, after a yes of the study's reviewers.",
    ),
    "rollback": (
        "orders:rollback",
        "Deploy the previously deployed successor again; it takes a decision of its own.",
    ),
    "run": (
        "run:run",
        "Run a study: heirloop run study=quickstart [group=choice] [field=value] [-m].",
    ),
    "show": (
        "show:show",
        "Show what came of a run in five answers (heirloop show runs/quickstart), or a plan in"
        " full, with the nearest other weights of each scored replicate.",
    ),
    "slow": (
        "orders:slow",
        "Start at most PER_HOUR jobs in any hour.",
    ),
    "status": (
        "status:status",
        "Show where a run stands, or each run of a folder of runs.",
    ),
    "stop": (
        "orders:stop",
        "Kill every job of a run and let nothing start, even if its loop hangs or is dead.",
    ),
    "tab": (
        "tab:tab",
        "Tables of recorded trainings: build and show.",
    ),
    "task": (
        "task:task",
        "Tasks: test their worth.",
    ),
    "truth": (
        "tab:truth",
        "Hold the figures of runs on a table against its truth, instrument by instrument.",
    ),
    "unseal": (
        "unseal:unseal",
        "Open the sealed split for the champion against the baseline, once a reviewer signed"
        " it (class unseal); every opening counts.",
    ),
    "validate": (
        "prove:validate",
        "Prove the instruments on worlds of known truth; exit 6 if an interval or a word does"
        " not hold.",
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
