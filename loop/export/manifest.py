"""How are the files of an export listed and signed? By manifest.json."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from configs.errors import BadInput, VerificationFailed
from loop.export.dictionary import PACKAGE
from loop.export.tables import TABLES
from sandbox.canonical import canonical, digest
from sandbox.foreign import LINES_BYTES, read_file

FORMAT, LEAN = 1, 2
"""Formats that are written. FORMAT: entries, heads, manifest and tables prove one another. LEAN:
entries and the largest tables are left out, so the rest stands on the studies' signatures alone.
"""
FORMATS = (FORMAT, LEAN)
"""Formats that are read. A change that older files do not fit is a new format beside these."""
LARGE = ("jobs", "looks")
"""Tables that a lean export leaves out: no figure is read from them."""
INSTRUMENTS = 3
"""Edition of the instruments' definitions. An export that names none is of edition 1.

2: the interval of `calibration` is a jackknife. 3: calibration is the slope over all screened plans
within a generation, with its bias; own effect, start effect and kappa own; `self-closed` rests on
the own effect, and on approve; an unusable proposal counts with the objective's floor in Q;
elasticities per doubling, compute x proposals, and four times as long; near the best known score
figures that compare gains read `saturated`; distance between proposals, and several proposers at
once; each slice is a rung of its own, and `lossy` rests on the excess loss.
"""
DOMAIN = b"heirloop-export:"
"""What begins the bytes that are signed."""
FIELDS = {"files", "format", "made_by", "signatures", "studies"}
HEX = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """manifest.json."""

    format: Any
    "format of the export"
    instruments: int
    "edition of the instruments"
    made_by: str
    "version that wrote it"
    studies: tuple[str, ...]
    "study roots"
    files: Mapping[str, str]
    "file -> sha256"
    signatures: Mapping[str, Any]
    "study root -> signature"
    unsigned: bytes
    "the bytes that are signed"
    left_out: Mapping[str, str] = field(default_factory=dict)
    "lean: file that is left out -> its sha256"

    @property
    def lean(self) -> bool:
        """Whether the ledgers are left out."""
        return bool(self.format == LEAN)

    @property
    def signed(self) -> bool:
        """Whether every study signed it."""
        return set(self.signatures) == set(self.studies)

    @property
    def parquet(self) -> list[str]:
        """The Parquet files."""
        return [name for name in self.files if name.endswith(".parquet")]


def file_name(kind: str, root: str) -> str:
    """Return the name of a run's file; `kind`: entries, heads or, of a lean export, root."""
    return f"{kind}-{root[:16]}.jsonl"


def read_manifest(folder: Path) -> Manifest:
    """Return the manifest, each file held against it.

    Raises VerificationFailed for a file that does not fit, BadInput for a format of another
    version.
    """
    try:
        manifest = _parse(read_file(folder / "manifest.json", LINES_BYTES))
    except FileNotFoundError:
        raise VerificationFailed(
            "manifest.json is missing; the export was not finished, or was cut"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        raise VerificationFailed("manifest.json is not as it was written") from None
    readable = manifest.format in FORMATS and 1 <= manifest.instruments <= INSTRUMENTS
    if not readable:
        raise BadInput(
            f"manifest.json has format {manifest.format!r} and instruments of edition"
            f" {manifest.instruments}, made by {manifest.made_by!r}; this version reads format"
            f" {' and '.join(map(str, FORMATS))} and editions up to {INSTRUMENTS}"
        )
    _check_names(folder, manifest)
    for name, expected in manifest.files.items():
        if _digest_file(folder / name) != expected:
            raise VerificationFailed(
                f"{name} is not the file that manifest.json names: its bytes have another digest"
            )
    return manifest


def _digest_file(path: Path) -> str:
    """Return the digest of a file; a link, which could lead out of the export, has none."""
    try:
        return digest(read_file(path))
    except OSError:
        return ""


def _parse(data: bytes) -> Manifest:
    """Return the manifest of these bytes; raises ValueError or the like for any others."""
    fields = json.loads(data)
    studies, files, signatures = fields["studies"], fields["files"], fields["signatures"]
    edition = fields.get("instruments", 1)
    whole = (
        canonical(fields) == data
        and set(fields) - {"instruments", "left_out"} == FIELDS
        and bool(fields.get("left_out")) == (fields["format"] == LEAN)
        and bool(studies and files)
        and set(signatures) <= set(studies)
        and type(edition) is int
        and len(set(studies)) == len(studies)
        and all(HEX.fullmatch(root) for root in studies)
    )
    if not whole:
        raise ValueError("no manifest")
    return Manifest(
        format=fields["format"],
        instruments=edition,
        made_by=fields["made_by"],
        studies=tuple(studies),
        files=dict(files),
        signatures=dict(signatures),
        unsigned=canonical({k: v for k, v in fields.items() if k != "signatures"}),
        left_out=dict(fields.get("left_out", {})),
    )


def _check_names(folder: Path, manifest: Manifest) -> None:
    """Hold the files of the folder against the manifest, and against the files of an export."""
    present = {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }
    present.discard("manifest.json")
    for name in sorted(present ^ set(manifest.files)):
        state = "not in manifest.json" if name in present else "missing"
        raise VerificationFailed(f"{name} is {state}")
    # An export of an earlier version has no data package.
    for name in sorted((present - {PACKAGE}) ^ _expected(manifest)):
        state = "no file of an export" if name in present else "missing"
        raise VerificationFailed(f"{name} is {state}")


def _expected(manifest: Manifest) -> set[str]:
    ends = ("csv", "parquet") if manifest.parquet else ("csv",)
    kept = [name for name in TABLES if not (manifest.lean and name in LARGE)]
    tables = {f"{name}.{end}" for name in kept for end in ends}
    kinds = ("root", "heads") if manifest.lean else ("entries", "heads")
    runs = {file_name(kind, root) for kind in kinds for root in manifest.studies}
    return {"README.md", *tables, *runs}


def check_signature(root: str, key: str, signature: Any, manifest: Manifest) -> None:
    """Raise VerificationFailed where a study's key did not sign the manifest."""
    try:
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        public.verify(bytes.fromhex(signature), DOMAIN + manifest.unsigned)
    except (InvalidSignature, ValueError, TypeError):
        raise VerificationFailed(f"manifest.json is not signed by the study {root[:12]}") from None


def write_manifest(fields: Mapping[str, Any], signatures: Mapping[str, str]) -> bytes:
    """Return manifest.json of these fields."""
    return canonical({**fields, "signatures": signatures})


def unsigned_fields(
    made_by: str,
    studies: Sequence[str],
    files: Mapping[str, bytes],
    left_out: Mapping[str, bytes] | None = None,
) -> dict[str, Any]:
    """Return the signed fields; with files that are left out, those of a lean export."""
    lean = {"left_out": {name: digest(data) for name, data in sorted((left_out or {}).items())}}
    return {
        **(lean if left_out else {}),
        "format": LEAN if left_out else FORMAT,
        "instruments": INSTRUMENTS,
        "made_by": made_by,
        "studies": list(studies),
        "files": {name: digest(data) for name, data in sorted(files.items())},
    }
