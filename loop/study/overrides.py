"""Overrides that Hydra cannot take: which setting was meant, and how its value is typed.

Example: `study.generation=2` gives "did you mean study.generations=2", and `runs=/tmp/a=b` gives
its value in the quotes that Hydra and a shell need.
"""

import shlex
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any

from hydra import compose
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from loop.plan import ROOT


def help_with(overrides: Sequence[str]) -> str:
    """Return a clause on the first override that is not understood, or an empty string.

    Hydra must be initialized.
    """
    values = OmegaConf.to_container(_compose_groups(overrides), resolve=False)
    known = list(_list_keys(values))
    for override in overrides:
        sign, key, value = _split(override)
        if clause := _quote_value(override, key, value, known):
            return clause
        near = _find_near(key, value, known, bool(sign))
        if near:
            return f"did you mean {shlex.quote(near)}?"
    return ""


def _compose_groups(overrides: Sequence[str]) -> Any:
    """Compose the settings with the groups that were chosen, since a task has keys of its own."""
    chosen = [text for text in overrides if (ROOT / "configs" / _split(text)[1]).is_dir()]
    try:
        return compose("config", chosen)
    except HydraException:
        return compose("config")


def _split(override: str) -> tuple[str, str, str]:
    """Return the signs before a key (+, ++ or ~), the key and its value."""
    key, _, value = override.partition("=")
    bare = key.lstrip("+~")
    return key[: len(key) - len(bare)], bare, value


def _list_keys(values: Any, before: str = "") -> Iterator[str]:
    """Yield every key of the composed settings, dotted, and every group."""
    for name, value in values.items():
        yield f"{before}{name}"
        if isinstance(value, dict):
            yield from _list_keys(value, f"{before}{name}.")


def _quote_value(override: str, key: str, value: str, known: list[str]) -> str:
    """Return how a value is typed that Hydra cannot read, or reads as several."""
    try:
        parsed = OverridesParser.create().parse_override(override)
        if not parsed.is_sweep_override() or not set("/\\").intersection(value):
            return ""
    except HydraException:
        if not value or key not in known:
            return ""
    text = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"quote the value, for Hydra and for the shell: \"{key}='{text}'\""


def _find_near(key: str, value: str, known: list[str], added: bool) -> str:
    """Return the override that was meant by an unknown key, or by an unknown name of a group."""
    folder = ROOT / "configs" / key
    if folder.is_dir():
        names = [path.stem for path in folder.glob("*.yaml")]
        near = get_close_matches(value, names, 1, 0.6)
        return f"{key}={near[0]}" if near and value not in names else ""
    if key in known or key in _ADDED:
        return ""
    near = get_close_matches(key, [*known, *_ADDED], 1, 0.6)
    if not near:
        return ""
    return f"{'+' if near[0] in _ADDED else ''}{near[0]}={value}"


_ADDED = (
    *("proposer.file", "proposer.program", "proposer.replay", "proposer.script"),
    *("proposer.trials", "proposer.calls"),
)
"""Settings that a group may leave out, so they are given with a plus."""
