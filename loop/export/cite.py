"""`heirloop cite RUN`: BibTeX of the software and of one study, by root, signed head and date.
Refuses a run whose chain does not hold.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from loop.plan import ROOT
from loop.text import visible
from loop.verify.run import opened
from sandbox.decision import policy

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{c: "\\" + c for c in "&%$#_"},
}
"""Characters that TeX would read, and what prints as them."""


def tex(text: str) -> str:
    """Return text that BibTeX and LaTeX print as it stands; what does not show itself stands as its
    code point.
    """
    return "".join(SPECIAL.get(c, c) for c in visible(text).replace("⟨", "<").replace("⟩", ">"))


def software() -> dict[str, Any]:
    """Return CITATION.cff."""
    found = OmegaConf.to_container(OmegaConf.load(ROOT / "CITATION.cff"))
    assert isinstance(found, dict)
    return {str(name): value for name, value in found.items()}


def version() -> str:
    """Return the version of this software."""
    return str(software()["version"])


def cite(folder: Path) -> str:
    """Return two BibTeX entries: the software, and the study of a run; raises VerificationFailed
    for a broken ledger.
    """
    ledger, heads = opened(folder, None)
    entries, told = ledger.entries(), software()
    rules, root, signed = (
        policy(entries),
        entries[0].hash,
        max((max(h, default=0) for h in heads), default=0),
    )
    on = datetime.fromisoformat(
        next((e.time for e in entries if e.kind == "end"), entries[-1].time)
    )
    state = "ended" if any(e.kind == "end" for e in entries) else "unfinished"
    head = (
        f"signed head {entries[signed - 1].hash} at entry {signed} of {len(entries)}"
        if signed
        else f"no signed head, {len(entries)} entries"
    )
    authors = " and ".join(
        f"{{{tex(str(a.get('name') or ' '.join((a['given-names'], a['family-names']))))}}}"
        for a in told["authors"]
    )
    return (
        _entry(
            "software",
            "heirloop",
            {
                "title": f"{{{tex(told['title'])}}}",
                "author": authors,
                "version": tex(version()),
                "year": str(on.year),
                "note": tex(f"Licence {told['license']}"),
            },
        )
        + "\n"
        + _entry(
            "misc",
            f"heirloop-{root[:12]}",
            {
                "title": f"{{Heirloop study {tex(rules.config.study.name)}}}",
                "key": "Heirloop study",
                "year": str(on.year),
                "month": str(on.month),
                "date": on.date().isoformat(),
                "version": str(rules.version),
                "note": tex(
                    f"Study root {root}; {head}; {state} {on.date().isoformat()}; heirloop"
                    f" {version()}"
                ),
            },
        )
    )


def _entry(kind: str, name: str, fields: dict[str, str]) -> str:
    return (
        f"@{kind}{{{name},\n"
        + "".join(f"  {field} = {{{value}}},\n" for field, value in fields.items())
        + "}\n"
    )
