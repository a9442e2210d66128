"""How do values become markup? By the Jinja2 templates beside this file, and in no other way.

Every value is made visible and escaped, also text of a model; a missing value is an error.
"""

import urllib.parse
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loop.text import visible

AUTOESCAPE = True
"""Whether values are escaped. Tests switch it off and see markup act."""


class Lines(str):
    """Text of several lines: its line feeds stay."""

    __slots__ = ()


def render(template: str, **values: Any) -> str:
    """Return a page from its template."""
    return _environment(AUTOESCAPE).get_template(template).render(**values)


def anchor(name: str) -> str:
    """Return the place of a set of entries on the page."""
    return "e-" + urllib.parse.quote(name, safe="").replace("%", "_")


@lru_cache
def _environment(autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("loop.report"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_show,
    )
    environment.filters["anchor"] = anchor
    environment.filters["lines"] = Lines
    return environment


def _show(value: Any) -> Any:
    """Return a value as a page shows it: text made visible, nothing for null."""
    if value is None:
        return ""
    # What a macro or a figure gives is markup already.
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return visible(value, lines=isinstance(value, Lines))
