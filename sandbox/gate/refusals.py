"""Refused envelopes become incidents: singly up to a cap, then as a flood. No decision is here."""

from configs.records import Incident
from sandbox import incident
from sandbox.decision import HOUR
from sandbox.gate.memory import Memory, recent
from sandbox.ledger import Transaction

REFUSALS_PER_HOUR = 20
"""Refusals recorded singly in an hour. Further refusals share an incident."""


def write_refusal(txn: Transaction, memory: Memory, name: str, kind: str, reason: str) -> None:
    """Record a refused envelope as an incident. Beyond an hour's cap a single incident counts."""
    since = txn.now().timestamp() - HOUR
    severity = "medium"
    if recent(memory.refusal_times, since) < REFUSALS_PER_HOUR:
        title, harm = f"refused {kind}", "a plan could have run that nobody decided on"
    elif memory.flood_times.get("decision flood", 0) <= since:
        title = f"decision flood: more than {REFUSALS_PER_HOUR} refused in an hour"
        severity, harm = "high", "tired reviewers approve what they do not read"
    else:
        return
    incident.report(
        txn,
        title,
        severity=severity,
        detector="gate",
        artifacts=(name,),
        containment=reason,
        harm_potential=harm,
    )


def incident_code(incident: Incident) -> str:
    """Return the code of an incident written by the gate, or an empty string.

    Entries of format 1 carry no code, and their titles are prose. Three facts tell them apart: the
    gate detected it; it concerns a plan (a request) or no plan (an envelope); and the severity.
    """
    if incident.detector != "gate":
        return ""
    if incident.plan:
        return "request flood"
    return {"medium": "refused decision", "high": "decision flood"}.get(incident.severity, "")
