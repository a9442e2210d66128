"""What people do to a run from outside its loop: look, decide, resume, deploy, roll back, recall,
amend, acknowledge, export.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from configs.build import need, parse, plain, strict_json
from configs.errors import BadInput, Stopped, VerificationFailed
from configs.records import Proposal
from configs.study import Config
from loop import own
from loop.archive import Archive
from loop.plan import change, source
from loop.propose import proposer
from loop.report.incident import incident_page
from loop.shown import body_of, facts, rows, visible
from loop.study import SCRIPTED, need_counterparty
from loop.summary import champion, shown
from sandbox import budget, control, incident, keys
from sandbox.canonical import canonical, digest
from sandbox.decision import Approval, Subject, decided, new_approval
from sandbox.gate import Gate
from sandbox.ledger import Ledger
from sandbox.notice import acknowledge
from sandbox.store import Store


def open_gate(folder: Path) -> Gate:
    """Return the gate of a run, read from its ledger; raises VerificationFailed where there is
    none.
    """
    return Gate(Ledger.file(folder / "ledger.sqlite"), Store(folder / "store")).refresh()


def subject_of(gate: Gate, prefix: str) -> Subject:
    """Return the one subject whose digest begins with `prefix`; raises BadInput otherwise."""
    found = [one for name, one in gate.subjects.items() if prefix and name.startswith(prefix)]
    if len(found) != 1:
        raise BadInput(
            f"PLAN is {prefix!r}; it should begin exactly one digest, {len(found)} match (`heirloop"
            " pending RUN`)"
        )
    return found[0]


def request_file(gate: Gate, name: str, change_class: str = "") -> bytes:
    """Return a request as a file for `heirloop decide` on another machine: what is shown, all
    bytes, and the decision to fill in.

    Raises BadInput for what is too large to be read. The digest covers the bytes; the differences
    shown are this machine's word.
    """
    subject = gate.subjects[name]
    found = facts(gate, subject, change_class)
    nobody = {"kind": "", "name": "", "public": ""}
    draft = new_approval(
        gate.rules,
        subject,
        found.change_class,
        "deny",
        "",
        gate.rules.config.gates.expire_hours,
        nobody,
    )
    return canonical({"request": draft, "canonical": found.canonical_raw, "shown": rows(found)})


def read_request(data: bytes) -> tuple[Approval, list[tuple[str, str]]] | None:
    """Return (decision to fill in, what is to be shown) of a request file, None for another file.

    Raises VerificationFailed where the digest that would be signed is not that of the bytes shown.
    """
    told = strict_json(data, 4_000_000)
    if not isinstance(told, dict) or "request" not in told:
        return None
    try:
        draft, text, shown = (
            parse(Approval, told["request"]),
            str(told["canonical"]),
            [(str(a), str(b)) for a, b in told["shown"]],
        )
    except (BadInput, KeyError, TypeError, ValueError) as error:
        raise VerificationFailed(f"the request file is malformed: {error}") from None
    if not all(_seen(part) for row in shown for part in row):
        raise VerificationFailed(
            "the request file holds characters that do not show themselves; do not sign it"
        )
    if digest(text.encode()) != draft.plan:
        raise VerificationFailed(
            "the request file shows other bytes than the digest that would be signed; ask for"
            " another"
        )
    return draft, [*((a, b) for a, b in shown if a != "all bytes"), ("all bytes", visible(text))]


def _seen(text: str) -> bool:
    """Tell whether a text is already visible, its escapes apart."""
    bare = text.replace("\u27e8", "").replace("\u27e9", "")
    return visible(bare, lines=True) == bare


def hand_in(gate: Gate, envelope: bytes) -> None:
    """Give a signed decision to the gate; raises VerificationFailed where it is refused, BadInput
    for a yes to what nobody can read whole.
    """
    said = keys.payload_unchecked(envelope)
    if said.get("answer") == "approve" and (
        subject := gate.refresh().subjects.get(str(said.get("plan")))
    ):
        facts(gate, subject, str(said.get("change_class")))
    refused = gate.admit(envelope, "approval")
    if refused:
        raise VerificationFailed(refused)


def resume(folder: Path, who: str) -> dict[str, Any]:
    """Let a stopped, paused or slowed study go on if the reviewers that it names say so; raises
    NeedsHuman until they do.

    A study that pins no reviewer is resumed by whoever can run this, and the entry says that nobody
    signed.
    """
    gate = open_gate(folder)
    if not gate.halted:
        raise BadInput(
            f"{folder} is neither stopped, paused nor slowed; there is nothing to resume"
        )
    by: list[str] = []
    if gate.named():
        gate.request(gate.halted, "resume")
    with (
        gate.ledger.transaction() as txn
    ):  # no newer stop can come between the decision and what rests on it
        gate.refresh(txn)
        if gate.named():
            said = gate.decision(gate.halted, "resume", gate.authority(gate.halted, "resume"))
            txn.append("decision", said)
            by = said["by"]
        why = "signed by the reviewers" if by else "unsigned: the study names no reviewer"
        txn.append("control", {"what": "resume", "who": who, "why": why, "per_hour": 0})
    (folder / "STOP").unlink(missing_ok=True)
    return {"resumed": True, "decisions": by}


def deploy(folder: Path, plan: str = "") -> dict[str, Any]:
    """Copy a champion's weights and card to `deployed/`, under a decision of class deploy that is
    used up by it.

    Raises NeedsHuman until people decided. `plan` empty: the study's champion; a former deployment
    is rolled back to by its plan.
    """
    gate, archive = open_gate(folder), Archive(Ledger.file(folder / "ledger.sqlite"))
    facts = archive.facts()
    name = plan or champion(facts, gate.rules.config.objective)
    if not any(name in names for names in facts.champions.values()):
        raise BadInput(
            f"{name[:12] or 'nothing'} is no champion of this study; only champions are deployed"
        )
    gate.request(name, "deploy")
    said = gate.decide(name, "deploy")
    weights = facts.results[name, "train", 0][0].outputs["weights.safetensors"]
    one = facts.plans[name]
    card = canonical(
        {
            "study": gate.rules.root,
            "plan": name,
            "weights": weights,
            "recipe": plain(one.recipe),
            "objective": one.objective,
            "scores": shown(facts, name, gate.rules.config.objective),
            "computable": gate.computable(one),
            "decided_by": said["kind"],
            "decisions": said["by"],
        }
    )
    target = folder / "deployed"
    target.mkdir(exist_ok=True)
    for file, data in (
        ("weights.safetensors", Store(folder / "store").get(weights)),
        ("card.json", card),
    ):
        (target / f".{file}").write_bytes(data)
        (target / f".{file}").replace(target / file)
    gate.ledger.append(
        "deploy", {"plan": name, "weights": weights, "card": digest(card), "by": said["by"]}
    )
    return {"plan": name, "folder": str(target), "kind": said["kind"]}


def rollback(folder: Path) -> dict[str, Any]:
    """Deploy what was deployed before; it takes a decision of its own, as deploying does."""
    told = [
        e.body["plan"]
        for e in Ledger.file(folder / "ledger.sqlite").entries()
        if e.kind == "deploy"
    ]
    gone = open_gate(folder).recalled
    before = [name for name in told if name != told[-1] and name not in gone]
    if not before:
        raise BadInput(f"{folder} has no earlier deployment to roll back to")
    return deploy(folder, before[-1])


def recall(folder: Path, prefix: str, who: str, why: str) -> list[str]:
    """Quarantine a successor and its descendants: they can be neither parent nor champion, and
    leave `deployed/`. Returns their plans.
    """
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    if name not in gate.plans or gate.plans[name].purpose == "baseline":
        raise BadInput(
            f"PLAN is {prefix!r}; it should be a successor, and not the baseline that people gave"
        )
    found = [name]
    for other, plan in gate.plans.items():  # a parent is always recorded before its children
        if plan.parent in found:
            found.append(other)
    with gate.ledger.transaction() as txn:
        first = txn.append("recall", {"plan": name, "plans": found, "who": who, "why": why})
        incident.report(
            txn,
            f"recalled by a person: {why[:100]}",
            kind="incident",
            severity="medium",
            detector="a person",
            reporter=who,
            plan=name,
            chain=(first.sequence,),
            containment=f"{len(found)} plans quarantined",
        )
    deployed = [e.body["plan"] for e in gate.ledger.entries() if e.kind == "deploy"]
    if deployed and deployed[-1] in found:
        (folder / "deployed" / "weights.safetensors").unlink(missing_ok=True)
        (folder / "deployed" / "card.json").write_bytes(
            canonical({"plan": deployed[-1], "recalled": why})
        )
    return found


def propose(folder: Path, text: str, arm: str, repeat: int, who: str, by: str) -> str:
    """Hand in a proposal of an arm in which people propose; return its digest. `by` is the name
    that does not count towards its quorum.

    Raises BadInput for another arm, for one that the campaign's champion could not take, and for
    more than the study can use.
    """
    gate, facts = open_gate(folder), Archive(Ledger.file(folder / "ledger.sqlite")).facts()
    config = gate.rules.config
    arms = [name for name in config.arms() if proposer(name).where == "people"]
    need(
        arm in arms,
        "--arm",
        arm,
        f"an arm in which people propose ({', '.join(arms) or 'this study has none'})",
    )
    need(
        0 <= repeat < config.study.repeats,
        "--repeat",
        repeat,
        f"below study.repeats, {config.study.repeats}",
    )
    most, known = config.study.generations * config.study.proposals, facts.handed[arm, repeat]
    need(
        len(known) - len(facts.taken[arm, repeat]) < most,
        "FILE",
        f"number {len(known) + 1}",
        f"one of the {most} that the campaign can use",
    )
    text = text.strip()
    given = parse(Proposal, strict_json(text))
    champions = facts.champions.get((arm, repeat), [])
    best = facts.plans[champions[-1]] if champions else None
    files = gate.store.get_bundle(best.bundle) if best else source()
    change(best.recipe if best else config.task.baseline, files, given)
    name = gate.store.put(text.encode())
    gate.ledger.append(
        "handed", {"arm": arm, "repeat": repeat, "digest": name, "who": who, "by": by}
    )
    return name


AMENDABLE = ("objective", "budget", "gates", "autonomy", "reviewer")


def amend(folder: Path, overrides: Sequence[str], who: str, why: str, repin: bool = False) -> str:
    """Propose another objective, budget, gates, autonomy or set of reviewers; return the digest
    that people decide on.
    """
    from omegaconf import OmegaConf

    gate = open_gate(folder)
    whole = OmegaConf.create(plain(gate.rules.config))
    for one in overrides:
        if one.partition(".")[0].partition("=")[0] not in AMENDABLE or "=" not in one:
            raise BadInput(
                f"CHANGES holds {one!r}; it should be field=value under {', '.join(AMENDABLE)}"
            )
        key, _, value = one.partition("=")
        OmegaConf.update(whole, key, OmegaConf.from_dotlist([f"v={value}"]).v if value else "")
        if key in ("gates", "gates.file"):
            OmegaConf.update(whole, "gates.file_digest", "")
    config = parse(Config, own.named(OmegaConf.to_object(whole)))
    own.load(config, gate.store)
    reviewers = list(gate.rules.reviewers)
    if repin:
        reviewers = [one for one in reviewers if one["name"] == SCRIPTED] + keys.reviewers()
    need_counterparty(config, reviewers)
    if decided(config) == gate.rules.decided and reviewers == list(gate.rules.reviewers):
        raise BadInput("the amendment changes nothing; name a field that differs")
    body = {
        "version": gate.rules.version + 1,
        "config": plain(config),
        "decided": decided(config),
        "reviewers": reviewers,
        "who": who,
        "why": why,
        "changes": list(overrides),
    }
    name = digest(body)
    if name not in gate.subjects:
        gate.ledger.append(
            "amendment",
            {
                "digest": name,
                "version": body["version"],
                "objective": digest(config.objective),
                "amendment": body,
            },
        )
        gate.refresh().request(name, "amend")
    return name


def apply_amendment(folder: Path, prefix: str) -> int:
    """Open the new version of the study root that people decided on; old grants die. Returns the
    version; raises NeedsHuman before that.
    """
    if control.holder(folder):
        raise Stopped(f"{folder} is running; stop or pause it first, an amendment ends its grants")
    gate = open_gate(folder)
    name = subject_of(gate, prefix).digest
    body = body_of(gate, name)
    said = gate.decide(name, "amend")
    config = parse(Config, body["config"])
    with gate.ledger.transaction() as txn:
        txn.append(
            "amended",
            {
                **{key: body[key] for key in ("version", "config", "decided", "reviewers")},
                "amendment": name,
                "by": said["by"],
            },
        )
        budget.amend(txn, config.budget, config.payers())
        gate.end_grants(txn)
    return int(body["version"])


def acknowledgement(
    gate: Gate | None, prefix: str, study: str, entry: str, key: str
) -> dict[str, Any]:
    """Return an unsigned acknowledgement of a notice: of one that the run sent, or (no gate) of a
    message's own three digests.
    """
    half = next((k for k in keys.public_keys() if k["name"] == key), None)
    if half is None:
        raise BadInput(f"there is no key {key!r}; `heirloop keys list` shows those of this user")
    if gate is None:
        return plain(acknowledge(study, entry, prefix, half))  # type: ignore[no-any-return]
    found = {
        (e.body["digest"], e.body["about"])
        for e in gate.ledger.entries()
        if e.kind == "notice" and e.body["digest"].startswith(prefix)
    }
    if len(found) != 1 or not prefix:
        raise BadInput(
            f"DIGEST is {prefix!r}; it should begin exactly one notice's digest, {len(found)} match"
        )
    ((name, about),) = found
    return plain(acknowledge(gate.rules.root, about, name, half))  # type: ignore[no-any-return]


def export_incident(folder: Path, name: str) -> tuple[bytes, str]:
    """Return an incident as JSON (every version, and the entries of its chain) and as a page of
    HTML that stands alone.
    """
    entries = Ledger.file(folder / "ledger.sqlite").entries()
    versions = [
        e.body
        for e in entries
        if e.kind in ("incident", "incident-amended") and e.body["id"] == name
    ]
    if not versions:
        raise BadInput(
            f"NAME is {name!r}; `heirloop incident list {folder}` names those of this run"
        )
    told = [e for e in entries if e.sequence in versions[-1]["chain"]]
    chain = [
        {"sequence": e.sequence, "kind": e.kind, "time": e.time, "hash": e.hash, "body": e.body}
        for e in told
    ]
    return canonical({"versions": versions, "chain": chain}), incident_page(versions, chain)
