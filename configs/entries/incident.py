"""Entries of incidents, near misses and hazards, and of the warning sign."""

from dataclasses import dataclass, field
from typing import ClassVar

from configs.records import Incident


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentEntry:
    """An incident was opened. Its fields are the body itself (docs/incidents.md)."""

    kind: ClassVar[str] = "incident"
    incident: Incident = field(metadata={"wire": "*"})
    "the incident"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentAmendedEntry:
    """A version was added to an incident; the versions before stay."""

    kind: ClassVar[str] = "incident-amended"
    incident: Incident = field(metadata={"wire": "*"})
    "the incident as it stands now"


@dataclass(frozen=True, slots=True, kw_only=True)
class WarningEntry:
    """The warning sign was read, once, when every campaign had ended (docs/instruments.md)."""

    kind: ClassVar[str] = "warning"
    parts: dict[str, str] = field(metadata={"wire": "*"})
    """`self effect`, `compute`, `automation of STAGE` and `sign` -> crossed, not crossed or not
    evaluable
    """

    @property
    def sign(self) -> str:
        """Return whether the sign as a whole is crossed."""
        return self.parts["sign"]
