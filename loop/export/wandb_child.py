"""The program that speaks to wandb, in a process of its own: a call comes in as JSON.

Nothing about the machine, its code or its packages is sent.
"""

import json
import sys


def main() -> None:
    """Log the call's rows and tables to its run."""
    call = json.loads(sys.stdin.buffer.read())
    import wandb

    settings = wandb.Settings(
        console="off",
        silent=True,
        disable_git=True,
        disable_code=True,
        save_code=False,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
    )
    run = wandb.init(
        project="heirloop",
        name=call["study"],
        id=call["id"],
        dir=call["folder"],
        mode=call["mode"],
        resume="allow" if call["mode"] == "online" else None,
        settings=settings,
    )
    for row in call["rows"]:
        run.log(row)
    tables = {
        # An empty cell is None, which makes a column of mixed types.
        name: wandb.Table(columns=head, data=rows, allow_mixed_types=True)
        for name, (head, rows) in call["tables"].items()
    }
    if tables:
        run.log(tables)
    run.finish()


if __name__ == "__main__":
    main()
