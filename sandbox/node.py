"""A node's side of a study on several machines: check an order, run its job, sign what came of it.

An order is a statement signed by the study's key, and the bytes of the job's files. The node
believes nothing else: the plan must have the digest of the grant, the job must be the granted one
with the plan's bundle, recipe and steps, every file must have its digest, and a grant is used once.
It measures the job itself. The answer is a receipt signed by the node's key, and the bytes that the
job gave out. Both ways the bytes are a 4-byte length, the signed statement, and then the files.
"""

import queue
import struct
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from configs.build import need, parse, plain
from configs.errors import BadInput, VerificationFailed
from configs.job import Outcome
from configs.records import Grant, Job, NodeStatement, Plan, Receipt, module_of
from sandbox import keys
from sandbox.box.base import Box, Execution, Permission, report_failure
from sandbox.canonical import canonical, digest
from sandbox.run import OUTPUTS, fits
from sandbox.store import NAME

STATEMENT_BYTES = 1_000_000
"""Longest signed statement."""
JOB_FILE = "job.json"


def make_order(permission: Permission, node: str, files: Mapping[str, bytes], key: Any) -> bytes:
    """Return the order for a node to run a granted job, signed with the study's key."""
    sent = {name: data for name, data in sorted(files.items()) if name != JOB_FILE}
    statement = {
        "node": node,
        "plan": plain(permission.plan),
        "job": plain(permission.job),
        "grant": plain(permission.grant),
        "sizes": {name: len(data) for name, data in sent.items()},
    }
    return frame(keys.sign(statement, key, "order"), sent.values())


class Node:
    """Runs the granted jobs of a single study in a box of this machine."""

    def __init__(self, box: Box, cores: Sequence[int | None]) -> None:
        self._box, self._study_key = box, ""
        self._key = Ed25519PrivateKey.generate()
        self.public = keys.public_hex(self._key)
        self._used, self._lock = set[str](), threading.Lock()
        self._cores = queue.SimpleQueue[int | None]()
        for core in cores:
            self._cores.put(core)

    def serve(self, study_key: str) -> None:
        """Run orders signed with this key from now on; a node serves a single study."""
        need(not self._study_key, "study key", study_key[:80], "named once")
        self._study_key = study_key

    def state(self, statement: NodeStatement) -> bytes:
        """Return a signed statement of this node about itself."""
        return keys.sign(plain(replace(statement, node=self.public)), self._key, "node")

    def run(self, order: bytes) -> bytes:
        """Run the job of an order; return the signed receipt and the bytes that it names."""
        try:
            permission, files = self._check(order)
        except (BadInput, VerificationFailed) as error:
            outcome = report_failure(f"the node refused the order: {error}"[:300])
            return self._answer(outcome, "", "")
        plan, job, grant = permission.plan, permission.job, permission.grant
        module, core = module_of(plan, job.role), self._cores.get()
        try:
            outcome = self._box.run(
                Execution(
                    role=module,
                    files=files,
                    limits=job.limits,
                    outputs=OUTPUTS[module],
                    cpu=core,
                    key=grant.nonce[:12],
                    study=plan.study,
                )
            )
        finally:
            self._cores.put(core)
        return self._answer(outcome, grant.nonce, digest(job))

    def _check(self, order: bytes) -> tuple[Permission, dict[str, bytes]]:
        """Return a job that may run here now, and its files; use its grant up.

        Raises BadInput, VerificationFailed.
        """
        envelope, rest = unframe(order)
        stated = keys.verify(envelope, self._study_key, "order", STATEMENT_BYTES)
        need(stated.get("node") == self.public, "node", str(stated.get("node"))[:80], self.public)
        plan, job = parse(Plan, stated.get("plan"), "plan"), parse(Job, stated.get("job"), "job")
        grant = parse(Grant, stated.get("grant"), "grant")
        _need_granted(plan, job, grant)
        files = _read_files(job, stated.get("sizes"), rest)
        with self._lock:
            need(grant.nonce not in self._used, "grant", grant.nonce, "one that was not used here")
            self._used.add(grant.nonce)
        files[JOB_FILE] = canonical(job.order)
        return Permission(plan=plan, job=job, grant=grant), files

    def _answer(self, outcome: Outcome, nonce: str, job: str) -> bytes:
        outputs = dict(sorted(outcome.files.items()))
        assert outcome.charged_by in ("cgroup", "bound")
        receipt = Receipt(
            node=self.public,
            nonce=nonce,
            job=job,
            box=self._box.kind,
            status=outcome.status,
            detail=outcome.detail,
            cpu_us=outcome.cpu_us,
            startup_cpu_us=outcome.startup_cpu_us,
            wall_us=outcome.wall_us,
            peak_bytes=outcome.peak_bytes,
            charged_by=outcome.charged_by,
            outputs={name: digest(data) for name, data in outputs.items()},
            sizes={name: len(data) for name, data in outputs.items()},
            log=digest(outcome.log),
            log_bytes=len(outcome.log),
            log_total=outcome.log_total,
        )
        signed = keys.sign(plain(receipt), self._key, "receipt")
        return frame(signed, [*outputs.values(), outcome.log])


def _need_granted(plan: Plan, job: Job, grant: Grant) -> None:
    """Raise VerificationFailed unless a grant of this very plan allows this job."""
    unnamed = replace(grant, nonce="")
    if digest(plan) != grant.plan or grant.nonce != digest(unnamed)[:32]:
        raise VerificationFailed("the plan is not the one that the grant names; nothing ran")
    counts = {count.role: count.count for count in plan.jobs}
    if not 0 <= grant.index < counts.get(grant.role, 0) or not fits(plan, job, grant):
        raise VerificationFailed("the job is not the one that the grant allows; nothing ran")


def _read_files(job: Job, sizes: Any, data: bytes) -> dict[str, bytes]:
    """Return a job's files, each with the digest that the job names: its bundle and its inputs."""
    files = split(sizes, data)
    named = {given.name: given.digest for given in job.inputs}
    bundle = {name: digest(files[name]) for name in files if name not in named}
    need(named.keys() <= files.keys(), "sizes", sorted(files), f"with {', '.join(named)}")
    for name in files:
        need(bool(NAME.fullmatch(name)), "file", name, "a name that a bundle may hold")
    wrong = [name for name, blob in named.items() if digest(files[name]) != blob]
    if wrong or digest(canonical(bundle)) != job.bundle:
        raise VerificationFailed("the files are not those that the job names; nothing ran")
    return files


Answer = tuple[Receipt, bytes, dict[str, bytes], bytes]
"""A node's receipt, its signed bytes, the job's files and its log."""


def read_answer(answer: bytes, node: str, permission: Permission, most: int) -> Answer:
    """Return what a node answered to an order.

    Raises VerificationFailed and BadInput for bytes that this node did not sign, or not for this
    grant, and for outputs that the job may not give out; the reason of a node that refused.
    """
    need(len(answer) <= most, "the answer", len(answer), f"at most {most} bytes")
    signed, rest = unframe(answer)
    receipt = read_receipt(signed, node)
    if not receipt.nonce:
        raise VerificationFailed(receipt.detail)
    if (receipt.nonce, receipt.job) != (permission.grant.nonce, digest(permission.job)):
        raise VerificationFailed("the receipt is for another job")
    allowed = OUTPUTS[module_of(permission.plan, permission.job.role)]
    for name, size in receipt.sizes.items():
        need(size <= allowed.get(name, -1), "the receipt's output", name, "an output of the job")
    files = split({**receipt.sizes, "": receipt.log_bytes}, rest)
    log = files.pop("")
    stated = {**receipt.outputs, "": receipt.log}
    if {name: digest(data) for name, data in {**files, "": log}.items()} != stated:
        raise VerificationFailed("the bytes are not those that the receipt names")
    return receipt, signed, files, log


def read_receipt(signed: bytes, node: str) -> Receipt:
    """Return a receipt that a node signed; raises VerificationFailed, BadInput."""
    receipt = parse(Receipt, keys.verify(signed, node, "receipt", STATEMENT_BYTES), "receipt")
    need(receipt.node == node, "receipt.node", receipt.node[:80], node)
    return receipt


def read_statement(signed: bytes) -> NodeStatement:
    """Return what a node states about itself, signed by the key that it names."""
    claimed = keys.payload_unchecked(signed)
    public = str(claimed.get("node"))
    return parse(NodeStatement, keys.verify(signed, public, "node"), "node")


def frame(statement: bytes, blobs: Iterable[bytes]) -> bytes:
    """Return a signed statement and the files after it as bytes."""
    return b"".join([struct.pack(">I", len(statement)), statement, *blobs])


def unframe(data: bytes) -> tuple[bytes, bytes]:
    """Return a signed statement, and the bytes of all files after it; raises BadInput."""
    size = struct.unpack(">I", data[:4])[0] if len(data) >= 4 else 0
    whole = 0 < size <= STATEMENT_BYTES and len(data) >= 4 + size
    need(whole, "the message", len(data), "bytes with a statement at their head")
    return data[4 : 4 + size], data[4 + size :]


def split(sizes: Any, data: bytes) -> dict[str, bytes]:
    """Cut bytes into files by their sizes, sorted by name but for the last, which is ""."""
    whole = isinstance(sizes, dict) and all(
        type(size) is int and size >= 0 for size in sizes.values()
    )
    need(whole and sum(sizes.values()) == len(data), "sizes", len(data), "bytes of the files")
    files, start = dict[str, bytes](), 0
    for name in [*sorted(name for name in sizes if name), *(name for name in sizes if not name)]:
        files[name] = data[start : start + sizes[name]]
        start += sizes[name]
    return files
