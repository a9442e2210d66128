"""The command line: it calls the module of a verb. An error becomes an exit code.

Exit codes: 0 done, 1 a mistake in Heirloop, 2 bad input, 3 waiting for a human, 4 budget exhausted,
5 paused or stopped, 6 verification failed, 7 no usable box.
"""

import importlib
import os
import sys
from collections.abc import Sequence

import click

from loop.command.examples import add_example
from loop.command.failure import explain
from loop.command.verbs import VERBS
from loop.text import visible


class LazyGroup(click.Group):
    """A group of verbs; the module of a verb is imported when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all verbs, sorted."""
        return sorted(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb, None for an unknown name."""
        if cmd_name not in VERBS:
            return None
        module, _, name = VERBS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(f"loop.command.{module}"), name)
        add_example(command, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs from the table, without importing their modules."""
        names = self.list_commands(ctx)
        width = formatter.width - 6 - max(map(len, names))
        lines = [click.Command(name, help=VERBS[name][1]) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl([(str(line.name), line.get_short_help_str(width)) for line in lines])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="heirloop", prog_name="heirloop", message="%(prog)s %(version)s")
def cli() -> None:
    """A sandboxed closed-loop improvement testbed."""


LONG = (
    *("run", "doctor", "attack", "calibrate", "task", "validate", "power", "unseal"),
    *("verify", "replay", "report", "compare", "instruments", "export", "tab", "truth"),
    *("ablate", "attest", "audit", "gatebench"),
)
"""Verbs that load for seconds before their first words."""


def _give_sign(words: Sequence[str]) -> None:
    """Say at once that a long verb has begun; its libraries take seconds to load."""
    quiet = {"-h", "--help", "--json"}
    if words and words[0] in LONG and not quiet.intersection(words):
        click.echo(f"heirloop {words[0]}: begins", err=True)


def main() -> None:
    """Run the command line; print an error as a sentence and exit with its code."""
    try:
        _give_sign(sys.argv[1:])
        cli(standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except click.Abort:
        sys.exit(5)
    except BrokenPipeError:
        # The reader of the output went away, as `head` does; so does what is not written yet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        text, code = explain(error)
        click.echo(f"heirloop: {visible(text, lines=True)}", err=True)
        sys.exit(code)
