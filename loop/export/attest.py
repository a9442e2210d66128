"""One signed page on a run for an outsider: what it cost, on which data, by whose keys, how far.

Everything follows from the entries up to one signed head. So whoever has the public key checks the
signature and the sums, and whoever has a copy of the run makes the same page again. It says what
was not examined, too: a page that leaves that out reads as praise.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from configs.build import parse, plain
from configs.entries import (
    AccordEntry,
    CallEntry,
    ChampionEntry,
    DataEntry,
    DecisionEntry,
    DeployEntry,
    EndEntry,
    Entry,
    HandedEntry,
    MandateEntry,
    PlanEntry,
    QuestionsEntry,
    StartEntry,
    StudyEntry,
    VerdictEntry,
    WarningEntry,
    facts_of,
)
from configs.errors import BadInput, VerificationFailed
from configs.records import Amount
from configs.settings.config import Config
from configs.settings.task import SIMULATED
from loop.accord.acts import WHO, begin_title
from loop.facts.statement import describe_run
from loop.verify.run import verify
from sandbox import incident, intoto, keys
from sandbox.decision import policy
from sandbox.heads import (
    check_signature,
    checkpoint,
    last_head,
    last_signature,
    open_ledger,
    places,
)
from sandbox.ledger import EPOCH

PREDICATE = "urn:heirloop:attestation:1"
STAGES = {
    "deployed": DeployEntry.kind,
    "promoted": "",
    "judged": VerdictEntry.kind,
    "computed": StartEntry.kind,
    "proposed": PlanEntry.kind,
    "registered": StudyEntry.kind,
}
"""Stage -> the kind of entry that shows it, the farthest first; promoted: a champion beyond the
baseline.
"""
UNSEEN = (
    "work outside this ledger: other studies, machines and accounts of the same people",
    "whether a key belongs to the person that it names, and who else can use it",
    "what the weights can do beside the task of the study",
    "the machine's clock, kernel and other users",
)
"""What no page of this kind says anything about."""


def attest(folder: Path, check: bool = True) -> dict[str, Any]:
    """Return the unsigned statement on a run, at a head that is signed now.

    With `check` the run is verified first. Raises VerificationFailed where its record fails.
    """
    counts = verify(folder) if check else {}
    book = open_ledger(folder)
    book.before()  # nothing is signed over an older ledger
    checkpoint(book, open_own_key(folder), places(folder, book.root()))
    place = places(folder, book.root())[0]
    entries = book.entries()
    root = cast(StudyEntry, entries[0].fact)
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(root.checkpoint_key))
    head = last_head(key, place)
    assert head
    told = describe(entries[: _upto(entries, head["sequence"])])
    told["head"] = {**head, "signature": last_signature(place)}
    told["verified"] = {name: value for name, value in counts.items() if isinstance(value, int)}
    if not check:
        told["not examined"].insert(
            0, "whether the record holds: it was not verified for this page"
        )
    return intoto.draw_up(PREDICATE, {told["study"]: book.root()}, told)


def open_own_key(folder: Path) -> Ed25519PrivateKey:
    """Return a run's key for signed heads; raises VerificationFailed where the secret is absent."""
    root = cast(StudyEntry, open_ledger(folder).entries()[0].fact)
    return keys.signer(keys.load_secret(root.secret))


def _upto(entries: Sequence[Entry], sequence: int) -> int:
    return sum(entry.sequence <= sequence for entry in entries)


def describe(entries: list[Entry]) -> dict[str, Any]:
    """Return what a page says that follows from entries alone."""
    root, config = cast(StudyEntry, entries[0].fact), policy(entries).config
    compute = describe_run(entries, entries)
    return {
        "study": config.study.name,
        "public": root.checkpoint_key,
        "from": next((one.time for one in entries if one.time != EPOCH), ""),
        "to": entries[-1].time,
        "compute": {
            name: compute[name]
            for name in ("total", "by_class", "peak_jobs", "peak_hour", "peak_hour_cpu_us")
        },
        "machine": {"box": root.box, "tier": root.tier, "proved": root.proved, **root.machine},
        "data": _list_data(entries, config),
        "keys": [plain(one) for one in policy(entries).reviewers],
        "decisions": _count_decisions(entries),
        "mandates": [
            {"by": one.mandate.reviewer, "kind": one.mandate.kind, "expires": one.mandate.expires}
            for one in facts_of(entries, MandateEntry)
        ],
        "stage": _find_stage(entries),
        "counts": {
            name: sum(entry.kind == kind for entry in entries)
            for name, kind in STAGES.items()
            if kind
        },
        "ended": any(entry.kind == EndEntry.kind for entry in entries),
        "sign": _read_sign(entries, config),
        "incidents": _count_incidents(entries),
        "accords": _list_accords(entries),
        "not examined": list_unseen(entries, config, root),
    }


def _list_data(entries: Sequence[Entry], config: Config) -> list[dict[str, Any]]:
    """Return every source of data: held-out questions, training files, people, outside models."""
    task = config.task
    origin = "a law that stands in for training" if task.name == SIMULATED else f"task {task.name}"
    named = [text for text in (task.file, task.folder) if text]
    rows = [
        {
            "source": f"held-out questions, {fact.split}, repeat {fact.repeat}",
            "from": origin,
            "digest": fact.digest,
            "items": fact.items,
        }
        for fact in facts_of(entries, QuestionsEntry)
    ]
    files = [fact.digest for fact in facts_of(entries, DataEntry)]
    people = sum(1 for _ in facts_of(entries, HandedEntry))
    calls = sum(1 for _ in facts_of(entries, CallEntry))
    rows += [{"source": "training files", "from": origin, "digest": "", "items": len(set(files))}]
    rows += [
        {"source": source, "from": where, "digest": "", "items": count}
        for source, where, count in (
            ("proposals of people", "people", people),
            ("questions to an outside model", "an outside model", calls),
            ("files of people's own", ", ".join(named), len(named)),
        )
        if count
    ]
    return rows


def _count_decisions(entries: Sequence[Entry]) -> dict[str, int]:
    """Return who decided how often; a no by a rule or by silence has no reviewer."""
    found = Counter(
        (one.reviewer_kind if one.allow else "a no") for one in facts_of(entries, DecisionEntry)
    )
    return dict(sorted(found.items()))


def _find_stage(entries: Sequence[Entry]) -> str:
    kinds = {entry.kind for entry in entries}
    promoted = any(fact.generation > 0 for fact in facts_of(entries, ChampionEntry))
    return next(
        stage for stage, kind in STAGES.items() if (promoted if not kind else kind in kinds)
    )


def _read_sign(entries: Sequence[Entry], config: Config) -> dict[str, str]:
    """Return the warning sign as it was read, or why nobody read it."""
    if config.study.warning is None:
        return {"sign": "not evaluated", "why": "the study registered no warning sign"}
    read = list(facts_of(entries, WarningEntry))
    if not read:
        why = "it is read when every campaign has ended, and they have not"
        return {"sign": "not evaluated", "why": why}
    parts = read[-1].parts
    missing = [name for name, word in parts.items() if word == "not evaluable" and name != "sign"]
    return {**parts, **({"why": f"not measured: {', '.join(missing)}"} if missing else {})}


def _count_incidents(entries: Sequence[Entry]) -> dict[str, int]:
    newest = incident.latest(entries).values()
    found = Counter(f"{one.kind}, {one.severity}" for one, _ in newest)
    return dict(sorted(found.items()))


def _list_accords(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return each accord with the breaches that this run found: whose, and of which rule."""
    titles = [one.title for one, _ in incident.latest(entries).values() if one.detector == WHO]
    found = list[dict[str, Any]]()
    for name in sorted({fact.digest for fact in facts_of(entries, AccordEntry)}):
        start = begin_title(name)
        broken = [one.removeprefix(start) for one in titles if one.startswith(start)]
        found.append({"digest": name, "broken": broken})
    return found


def list_unseen(entries: Sequence[Entry], config: Config, root: StudyEntry) -> list[str]:
    """Return what was not examined in this run, then what no such page examines."""
    kinds = {entry.kind for entry in entries}
    decided = _count_decisions(entries)
    told = [
        (config.task.name == SIMULATED, "training: a law stands in for it, nothing was trained"),
        (not root.proved, "the promises of the box: heirloop doctor was not run before the study"),
        (config.study.warning is None, "the warning sign: none was registered"),
        (config.study.skill_proposals == 0, "whether newer weights propose better: not measured"),
        (config.study.final_replicates == 0, "the last champion on fresh seeds: no closing look"),
        ("opening" not in kinds, "the sealed split: never opened"),
        ("drill" not in kinds, "how fast it stops: no drill was recorded"),
        ("probe" not in kinds, "whether its reviewers catch canaries: none was shown"),
        (not decided.get("person"), "plans by a person: none was decided on by a person"),
        ("accord" not in kinds, "silence towards others: it signed no accord"),
        ("accord" in kinds, "a breach of an accord that nobody brought before this run"),
        (EndEntry.kind not in kinds, "its end: the study goes on"),
    ]
    return [text for holds, text in told if holds] + list(UNSEEN)


def check(envelope: bytes, public: str, folder: Path | None = None) -> dict[str, Any]:
    """Return the page signed by the key with this public half (hex).

    Raises VerificationFailed for another signature, for sums that do not add up, for a head that
    the key did not sign, and with a copy of the run for a page that its entries do not give.
    """
    envelope = envelope.strip()
    intoto.need_signers(envelope, [public], "page")
    statement = intoto.read(envelope, PREDICATE)
    try:
        told = dict(statement["predicate"])
        head, parts = dict(told["head"]), told["compute"]["by_class"].values()
        total = sum((parse(Amount, one) for one in parts), Amount())
        signature = bytes.fromhex(head.pop("signature"))
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public))
        check_signature(key, signature, head)
        right = plain(total) == told["compute"]["total"] and told["public"] == public
        sequence, name = int(head["sequence"]), str(head["head"])
        right = right and statement["subject"][0]["digest"]["sha256"] == head["study"]
    except (
        *(BadInput, InvalidSignature, ValueError, KeyError, IndexError),
        *(TypeError, AttributeError),
    ) as error:
        raise VerificationFailed(f"this is no page on a run: {type(error).__name__}") from None
    if not right:
        raise VerificationFailed("the parts of the page do not add up to its total, or key differs")
    if folder:
        _need_same(told, folder, sequence, name)
    return told


def _need_same(told: Mapping[str, Any], folder: Path, sequence: int, name: str) -> None:
    """Raise VerificationFailed unless a copy of the run gives the same page at the same head."""
    entries = open_ledger(folder).entries()
    known = {entry.sequence: entry.hash for entry in entries}
    if known.get(sequence) != name:
        raise VerificationFailed(f"{folder} has no entry {sequence} of that hash: another history")
    again = describe(entries[: _upto(entries, sequence)])
    for part, value in again.items():
        own = told.get(part)
        if part == "not examined" and isinstance(own, list):
            own = own[-len(value) :]
        if own != value:
            raise VerificationFailed(f"the run's entries give another {part!r} than the page")
