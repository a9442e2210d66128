"""A door that answers from the record: equal bytes get the recorded reply, in their order.

Any other request is `diverged`. It is refused and counted, and goes nowhere.
"""

from collections import Counter
from typing import Any

from configs.build import strict_json
from sandbox.canonical import canonical, digest
from sandbox.door.doors import Reply, refuse

TRANSCRIPT_BYTES = 100_000_000


class ReplayedDoor:
    """The replies of a recorded door (`Doors.transcripts`)."""

    def __init__(self, transcript: bytes) -> None:
        self.diverged = 0
        self._used = Counter[str]()
        self._replies: dict[str, list[Reply]] = {}
        for row in strict_json(transcript, limit=TRANSCRIPT_BYTES):
            reply = Reply(status=row["status"], kind=row["kind"], body=row["body"].encode())
            self._replies.setdefault(row["request"], []).append(reply)

    def answer(self, request: Any) -> Reply:
        """Return the recorded reply to a request of the same bytes and occurrence."""
        asked = digest(canonical(request))
        number = self._used[asked]
        self._used[asked] += 1
        replies = self._replies.get(asked, [])
        if number < len(replies):
            return replies[number]
        self.diverged += 1
        return refuse(409, "diverged: the recorded agent did not ask this")
