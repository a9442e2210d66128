"""The example under the help of every verb."""

import click

EXAMPLES: dict[str, str] = {
    "acknowledge": "heirloop acknowledge 3f2a9c41 --run runs/mine --key ada",
    "amend": 'heirloop amend runs/mine budget.jobs=960 --why "the first half was not enough"',
    "approve": 'heirloop approve 3f2a9c41 --run runs/mine --key ada --reason "one knob, small"',
    "attack": "heirloop attack --only S06",
    "calibrate": "heirloop calibrate fast",
    "check": "heirloop check docs/examples/size_gate.py",
    "cite": "heirloop cite runs/quickstart",
    "compare": "heirloop compare runs/greedy runs/careful --to build/rules",
    "compute": "heirloop compute runs/quickstart --since 2026-01-31T00:00",
    "decide": "heirloop decide decision.signed.json --run runs/mine",
    "deny": 'heirloop deny 3f2a9c41 --run runs/mine --key ada --reason "reads the answers"',
    "deploy": "heirloop deploy runs/quickstart",
    "doctor": "heirloop doctor --box namespace",
    "drill": "heirloop drill runs/quickstart",
    "escalate": 'heirloop escalate 3f2a9c41 --run runs/mine --key ada --reason "edits the loss"',
    "export": "heirloop export runs/quickstart --to build/tables",
    "fork": 'heirloop fork runs/old --from 3f2a9c41 --to runs/new --why "the disk died"',
    "image": "heirloop image build --offline",
    "image build": "heirloop image build --offline",
    "inbox": "heirloop inbox runs",
    "incident": "heirloop incident list runs/quickstart",
    "incident amend": 'heirloop incident amend runs/quickstart I-1 "root_cause=a full disk"',
    "incident export": "heirloop incident export runs/quickstart I-1 --out build",
    "incident list": "heirloop incident list runs/quickstart",
    "incident report": 'heirloop incident report runs/quickstart "a key lay open" --severity high',
    "incident show": "heirloop incident show runs/quickstart I-1",
    "instruments": "heirloop instruments runs/quickstart",
    "keys": "heirloop keys new ada",
    "keys add": "heirloop keys add bo PUBLIC --kind external",
    "keys address": "heirloop keys address ada mailto://ada@example.org",
    "keys invite": "heirloop keys invite bo",
    "keys list": "heirloop keys list",
    "keys new": "heirloop keys new ada",
    "keys revoke": "heirloop keys revoke ada",
    "keys sign-in": "heirloop keys sign-in ada NONCE --origin http://127.0.0.1:8321",
    "list": "heirloop list knobs",
    "mandate": "heirloop mandate grant --unattended study=quickstart",
    "mandate grant": "heirloop mandate grant --key ada --hours 8 study=quickstart",
    "notify": "heirloop notify runs/mine --watch",
    "pause": 'heirloop pause runs/quickstart --why "lunch"',
    "pending": "heirloop pending runs/mine",
    "plans": "heirloop plans runs/quickstart",
    "power": "heirloop power --gain 0.1 study=quickstart",
    "propose": "heirloop propose runs/mine proposal.json --arm human",
    "proposers": "heirloop proposers",
    "recall": 'heirloop recall runs/quickstart 3f2a9c41 --why "it learned the wrong thing"',
    "replay": "heirloop replay runs/quickstart 3f2a9c41",
    "report": "heirloop report runs/quickstart",
    "resume": "heirloop resume runs/quickstart",
    "rollback": "heirloop rollback runs/quickstart",
    "run": "heirloop run study=quickstart study.name=mine study.seed=7",
    "show": "heirloop show 3f2a9c41 --run runs/quickstart",
    "slow": "heirloop slow runs/quickstart 60",
    "status": "heirloop status runs/quickstart",
    "stop": 'heirloop stop runs/quickstart --why "it costs too much"',
    "tab": "heirloop tab build text --minutes 10",
    "tab build": "heirloop tab build text --minutes 10",
    "tab show": "heirloop tab show tab/text-v1.parquet",
    "task": "heirloop task check fast",
    "task check": "heirloop task check docs/examples/sort_task.py",
    "task climb": "heirloop task climb text",
    "unseal": "heirloop unseal runs/quickstart",
    "validate": "heirloop validate --world compounding --studies 20",
    "verify": "heirloop verify runs/quickstart",
}
"""Verb, or group and verb -> an example."""


def add_example(command: click.Command, path: str) -> None:
    """Put the example of a verb under its help, and under the help of each verb below it."""
    command.epilog = f"\b\nExample:\n  {EXAMPLES[path]}"
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            add_example(below, f"{path} {name}")
