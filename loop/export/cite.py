"""How is a study cited? `heirloop cite RUN` prints BibTeX of software and study.

The study is named by its root, its signed head and its date. A run with a broken chain is refused.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from configs.entries import EndEntry, Entry
from loop.plan import ROOT
from loop.text import visible
from loop.verify.heads import open_verified
from sandbox.decision import policy

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{char: "\\" + char for char in "&%$#_"},
}
"""Characters that TeX would read -> text that prints as them."""


def cite(folder: Path) -> str:
    """Return two BibTeX entries: the software, and the study of a run.

    Raises VerificationFailed for a broken ledger.
    """
    ledger, heads = open_verified(folder, None)
    entries = ledger.entries()
    signed = max((max(sequences, default=0) for sequences in heads), default=0)
    return f"{_software_entry(entries)}\n{_study_entry(entries, signed)}"


def tex(text: str) -> str:
    """Escape text for BibTeX and LaTeX; show hidden characters as code points."""
    shown = visible(text).replace("⟨", "<").replace("⟩", ">")
    return "".join(SPECIAL.get(char, char) for char in shown)


def software() -> dict[str, Any]:
    """Return CITATION.cff."""
    fields = OmegaConf.to_container(OmegaConf.load(ROOT / "CITATION.cff"))
    assert isinstance(fields, dict)
    return {str(name): value for name, value in fields.items()}


def version() -> str:
    """Return the version of this software."""
    return str(software()["version"])


def _software_entry(entries: Sequence[Entry]) -> str:
    fields = software()
    authors = " and ".join(f"{{{tex(_author(author))}}}" for author in fields["authors"])
    return _entry(
        "software",
        "heirloop",
        {
            "title": f"{{{tex(fields['title'])}}}",
            "author": authors,
            "version": tex(version()),
            "year": str(_date(entries).year),
            "note": tex(f"Licence {fields['license']}"),
        },
    )


def _author(author: Mapping[str, str]) -> str:
    return author.get("name") or f"{author['given-names']} {author['family-names']}"


def _study_entry(entries: Sequence[Entry], signed: int) -> str:
    rules, root, date = policy(list(entries)), entries[0].hash, _date(entries)
    day = date.date().isoformat()
    state = "ended" if _end(entries) else "unfinished"
    last, hashes = entries[-1].sequence, {entry.sequence: entry.hash for entry in entries}
    head = f"no signed head, {last} entries"
    if signed:
        head = f"signed head {hashes[signed]} at entry {signed} of {last}"
    return _entry(
        "misc",
        f"heirloop-{root[:12]}",
        {
            "title": f"{{Heirloop study {tex(rules.config.study.name)}}}",
            "key": "Heirloop study",
            "year": str(date.year),
            "month": str(date.month),
            "date": day,
            "version": str(rules.version),
            "note": tex(f"Study root {root}; {head}; {state} {day}; heirloop {version()}"),
        },
    )


def _end(entries: Sequence[Entry]) -> Entry | None:
    return next((entry for entry in entries if entry.kind == EndEntry.kind), None)


def _date(entries: Sequence[Entry]) -> datetime:
    """Return when the study ended, or when it was last at work."""
    return datetime.fromisoformat((_end(entries) or entries[-1]).time)


def _entry(kind: str, name: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {field} = {{{value}}},\n" for field, value in fields.items()]
    return f"@{kind}{{{name},\n{''.join(lines)}}}\n"
