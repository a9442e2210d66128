"""Where is a study mirrored? A tracker is for people and is never read back.

`none` does nothing; wandb is optional, and offline by default.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from configs.errors import BadInput
from configs.settings.config import Tracker

Tables = Mapping[str, tuple[list[str], list[list[Any]]]]
"""Name -> (columns, rows)."""


class Track(Protocol):
    """Where rounded, shown scores are mirrored, and the tables of an ended study."""

    def log(self, row: dict[str, Any]) -> None:
        """Mirror a row."""
        ...

    def tables(self, make: Callable[[], Tables]) -> None:
        """Mirror tables; `make` is called only where a tracker shows them."""
        ...

    def close(self) -> None:
        """Finish."""
        ...


class Null:
    """A tracker without effect."""

    def log(self, row: dict[str, Any]) -> None:
        """Do nothing."""

    def tables(self, make: Callable[[], Tables]) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class Wandb:
    """A wandb run inside the study's folder, in the trusted parent only."""

    def __init__(self, config: Tracker, study: str, folder: str) -> None:
        for name in list(os.environ):
            if name.startswith("WANDB_") and name != "WANDB_API_KEY":
                del os.environ[name]
        os.environ.update(WANDB_ERROR_REPORTING="false", WANDB_SILENT="true")
        try:
            import wandb
        except ImportError:
            raise BadInput(
                "tracker.kind is 'wandb', and wandb is not installed; `pip install -e '.[trusted]'`"
                " or tracker=none"
            ) from None
        self._table = wandb.Table
        self._run = wandb.init(project="heirloop", name=study, dir=folder, mode=config.mode)

    def log(self, row: dict[str, Any]) -> None:
        """Mirror a row."""
        self._run.log(row)

    def tables(self, make: Callable[[], Tables]) -> None:
        """Mirror each as a wandb.Table."""
        mirror = {}
        for name, (head, rows) in make().items():
            # An empty cell is None, which makes a column of mixed types.
            mirror[name] = self._table(columns=head, data=rows, allow_mixed_types=True)
        self._run.log(mirror)

    def close(self) -> None:
        """Finish."""
        self._run.finish()


def make(config: Tracker, study: str, folder: str) -> Track:
    """Return the tracker of the configuration."""
    return Wandb(config, study, folder) if config.kind == "wandb" else Null()
