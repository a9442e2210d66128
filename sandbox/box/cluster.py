"""The boxes of other machines as a single box: each job goes to a free node.

What a node answers is bytes, read strictly (sandbox/node.py). A node that does not answer in time,
is gone, or answers what cannot be read or was not signed by it, is lost for this start of the loop:
the job's whole reservation is charged, and the job is granted anew by the rule for lost jobs.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, Protocol

from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Outcome
from configs.records import KILLED, NodeStatement
from sandbox.box.base import STOPPED, Execution, NodeOutcome, Permission, report_failure
from sandbox.keys import public_hex
from sandbox.node import STATEMENT_BYTES, make_order, read_answer, read_statement

GRACE_SECONDS = 180.0
"""How long after a job's wall limit its node may answer: a box starts, and bytes travel."""
EXCESS = 2
"""A node that claims more than so many times the limit in CPU-time or wall time is not believed."""


class LostNode(NoBox):
    """A node is gone or does not answer."""


class Link(Protocol):
    """A way to one node."""

    def prove(self) -> bytes:
        """Let the node start its box; return its signed statement. Raises LostNode, NoBox."""
        ...

    def serve(self, study_key: str) -> None:
        """Name the key whose orders the node runs, once."""
        ...

    def run(self, order: bytes, seconds: float) -> bytes:
        """Return the node's answer to an order within so many seconds; raises LostNode."""
        ...

    def stop(self) -> None:
        """Let the node kill every job and refuse new ones."""
        ...

    def close(self) -> None:
        """Give the node up, with all that runs there."""
        ...


@dataclass(slots=True)
class Member:
    """A node of the study."""

    link: Link
    stated: NodeStatement
    free: int
    "how many more jobs it may run now"
    lost: str = ""
    "why it is not used any more"


class ClusterBox:
    """Runs each job in the box of a node; see the module docstring.

    Raises NoBox without a node, and where nodes have boxes of two kinds or other packages.
    """

    def __init__(self, links: Sequence[Link], leave: Callable[[], object] = lambda: None) -> None:
        self._links, self._leave = links, leave
        with ThreadPoolExecutor(max(1, len(links))) as pool:  # boxes take seconds to start
            self._members = list(pool.map(_admit, links))
        if not self._members:
            raise NoBox(
                "no node of the cluster has a processor for jobs; start one with --num-cpus"
            )
        first = self._members[0].stated
        for member in self._members:
            _need_same(first, member.stated)
        self.kind = first.box
        self.tier = max(member.stated.tier for member in self._members)
        self._news, self._stopped, self._key = threading.Condition(), False, None

    def serve(self, key: Any) -> list[NodeStatement]:
        """Let the nodes run what is signed by a study's key; return their statements."""
        self._key = key
        for member in self._members:
            member.link.serve(public_hex(key))
        return [member.stated for member in self._members]

    def run(self, execution: Execution) -> Outcome:
        """Execute once on a free node, and wait for one; see `Box.run`."""
        permission = execution.permission
        if permission is None or execution.doors or execution.gpu:
            return report_failure("a node runs granted jobs alone, without doors and devices")
        member = self._take()
        if member is None:
            return report_failure(STOPPED if self._stopped else "no node of the cluster is left")
        try:
            return self._run_on(member, permission, execution)
        except (LostNode, BadInput, VerificationFailed) as error:
            self._give_up(member, str(error))
            return _lost(f"lost with node {member.stated.name}: {error}"[:300])
        finally:
            with self._news:
                member.free += 1
                self._news.notify_all()

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        with self._news:
            self._stopped = True
            self._news.notify_all()
        for member in self._members:
            if not member.lost:
                member.link.stop()

    def close(self) -> None:
        """Give every node up, and leave the cluster."""
        self.stop()
        for link in self._links:
            link.close()
        self._leave()

    def _run_on(self, member: Member, permission: Permission, execution: Execution) -> Outcome:
        limits, node = execution.limits, member.stated.node
        order = make_order(permission, node, execution.files, self._key)
        most = limits.output_bytes + limits.log_bytes + STATEMENT_BYTES + 4
        answer = member.link.run(order, limits.wall_us / 1e6 + GRACE_SECONDS)
        receipt, signed, files, log = read_answer(answer, node, permission, most)
        used = receipt.cpu_us - receipt.startup_cpu_us
        if max(used / limits.cpu_us, receipt.wall_us / limits.wall_us) > EXCESS:
            raise VerificationFailed("its receipt claims more than the job can have used")
        if receipt.detail.startswith(KILLED) and not self._stopped:
            raise VerificationFailed("its receipt says that people killed the job, and nobody did")
        return NodeOutcome(
            status=receipt.status,
            detail=receipt.detail,
            cpu_us=receipt.cpu_us,
            startup_cpu_us=receipt.startup_cpu_us,
            wall_us=receipt.wall_us,
            peak_bytes=receipt.peak_bytes,
            charged_by=receipt.charged_by,
            files=files,
            log=log,
            log_total=receipt.log_total,
            receipt=signed,
        )

    def _take(self) -> Member | None:
        """Wait for a place, and take it on the freest node; None once nothing is to wait for."""
        with self._news:
            while not self._stopped:
                living = [member for member in self._members if not member.lost]
                if not living:
                    return None
                freest = max(living, key=lambda member: member.free)
                if freest.free:
                    freest.free -= 1
                    return freest
                self._news.wait()
        return None

    def _give_up(self, member: Member, why: str) -> None:
        """Use a node no more: it may be gone, or no friend."""
        with self._news:
            member.lost = member.lost or why
            self._news.notify_all()
        member.link.close()


def _admit(link: Link) -> Member:
    stated = read_statement(link.prove())
    return Member(link=link, stated=stated, free=stated.jobs)


def _need_same(first: NodeStatement, other: NodeStatement) -> None:
    for what in ("box", "python", "packages"):
        if getattr(first, what) != getattr(other, what):
            raise NoBox(
                f"node {other.name} has another {what} ({getattr(other, what)[:40]}) than node"
                f" {first.name} ({getattr(first, what)[:40]}), so results would hang on the node;"
                " set both up from the same checkout"
            )


def _lost(detail: str) -> NodeOutcome:
    """Return the outcome of a job whose node is lost: its whole reservation is charged."""
    failed = report_failure(detail)
    return NodeOutcome(**{f.name: getattr(failed, f.name) for f in fields(failed)}, lost=True)
