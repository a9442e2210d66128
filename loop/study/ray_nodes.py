"""The nodes of a Ray cluster: one agent on each, with a box of its own. Begin with `connect`.

Ray starts the agents, carries bytes to them and back, and tells when one is gone. Nothing that
comes back is unpickled: an answer must be plain bytes, for sandbox/node.py to read. Ray itself
isolates nothing and runs code for whoever has the cluster's token, so a cluster without a token is
refused, and every machine of it is trusted as far as docs/scale.md says.
"""

import os
import platform
import socket
import subprocess
import sys
from typing import Any

from configs.build import parse, plain, strict_json
from configs.errors import BadInput, HeirloopError, NoBox
from configs.records import NodeStatement
from configs.settings.box import Box as Settings
from loop.plan import ROOT
from loop.study.box import day_proved, make_real_box
from loop.study.workers import list_cores
from sandbox.box.base import Box
from sandbox.box.cluster import ClusterBox, LostNode
from sandbox.canonical import canonical, digest
from sandbox.node import Node

PROVE_SECONDS = 180.0
"""How long a node may take to start its agent and its box."""
CALL_SECONDS = 30.0
"""How long a node may take for anything but a job."""
REFUSED = b"refused: "
"""Before the reason of a node that has no box."""
UNLOCKED = """
import os, sys
os.environ["RAY_AUTH_MODE"] = "disabled"
from ray._raylet import GcsClient
from ray.exceptions import AuthenticationError
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"heirloop", b"heirloop", timeout=10)
except AuthenticationError:
    sys.exit(3)
"""
"""Ask a cluster without a token; the exit code is 3 where it is refused."""


class Agent:
    """The process on a node that runs jobs there; Ray calls it from several threads."""

    def __init__(self, jobs: int) -> None:
        cores = list_cores()
        self._cores = [cores[number % len(cores)] for number in range(jobs)]
        self._box: Box | None = None
        self._node: Node | None = None

    def prove(self, settings: bytes) -> bytes:
        """Start the box of these settings; return the node's signed statement, or its refusal."""
        try:
            box = make_real_box(parse(Settings, strict_json(settings)))
        except HeirloopError as error:
            return REFUSED + str(error).encode()
        self._box, self._node = box, Node(box, self._cores)
        return self._node.state(
            NodeStatement(
                node="",
                name=platform.node()[:100],
                box=box.kind,
                tier=box.tier,
                proved=day_proved(box),
                python=platform.python_version(),
                packages=_digest_packages(box),
                jobs=len(self._cores),
            )
        )

    def serve(self, study_key: str) -> bytes:
        """Run orders of this key from now on."""
        assert self._node
        self._node.serve(study_key)
        return b""

    def run(self, order: bytes) -> bytes:
        """Return the answer to an order."""
        assert self._node
        return self._node.run(order)

    def stop(self) -> bytes:
        """Kill every job and refuse new ones."""
        if self._box:
            self._box.stop()
        return b""


class RayLink:
    """A way to the agent of one node; see `Link`."""

    def __init__(self, ray: Any, node: dict[str, Any], settings: Settings) -> None:
        self._ray, self._settings = ray, settings
        jobs, place = int(node["Resources"]["CPU"]), ray.util.scheduling_strategies
        strategy = place.NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        self._agent = (
            ray.remote(Agent)
            .options(num_cpus=jobs, max_concurrency=jobs + 2, scheduling_strategy=strategy)
            .remote(jobs)
        )

    def prove(self) -> bytes:
        """Let the node start its box; return its signed statement."""
        answer = self._ask(self._agent.prove, canonical(plain(self._settings)), PROVE_SECONDS)
        if answer.startswith(REFUSED):
            reason = answer.removeprefix(REFUSED)[:500].decode(errors="replace")
            raise NoBox(f"a node of the cluster has no box: {reason}")
        return answer

    def serve(self, study_key: str) -> None:
        """Name the key whose orders the node runs."""
        self._ask(self._agent.serve, study_key, CALL_SECONDS)

    def run(self, order: bytes, seconds: float) -> bytes:
        """Return the node's answer to an order."""
        return self._ask(self._agent.run, order, seconds)

    def stop(self) -> None:
        """Send the order to kill every job, and wait for nothing."""
        self._agent.stop.remote()

    def close(self) -> None:
        """Kill the agent; its box and jobs die with it."""
        self._ray.kill(self._agent)

    def _ask(self, method: Any, argument: object, seconds: float) -> bytes:
        """Call the agent; return the bytes that it answers, and refuse everything else unread."""
        from ray._private.worker import global_worker

        answer = method.remote(argument)
        ready, _ = self._ray.wait([answer], timeout=seconds)
        if not ready:
            raise LostNode(f"a node did not answer within {seconds:.0f} s")
        data, kind, *_ = global_worker.core_worker.get_objects([answer], -1)[0]
        if kind != b"RAW":  # an error, or an object that would have to be unpickled
            raise LostNode(
                "a node is gone" if kind.isdigit() else "a node's answer is no plain bytes"
            )
        return b"" if data is None else bytes(data)


def connect(address: str, settings: Settings) -> ClusterBox:
    """Return the boxes of all nodes of the cluster at HOST:PORT.

    Raises BadInput for a cluster that answers without a token, and NoBox where it has no box.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise BadInput(
            "launcher=ray needs Ray; install it with `pip install 'heirloop[ray]'`"
        ) from None
    _need_token(address)
    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except Exception as error:
        raise NoBox(f"the cluster at {address} cannot be joined: {_first_line(error)}") from None
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU", 0) >= 1]
    try:
        return ClusterBox([RayLink(ray, node, settings) for node in nodes], ray.shutdown)
    except BaseException:
        ray.shutdown()
        raise


def _need_token(address: str) -> None:
    """Raise BadInput unless the cluster refuses whoever has no token: it is tried."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:  # Ray itself would try for most of a minute
        raise NoBox(f"there is no cluster at {address}: {error}") from None
    hidden = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
    surroundings = {name: value for name, value in os.environ.items() if name not in hidden}
    command = [sys.executable, "-c", UNLOCKED, address]
    try:
        tried = subprocess.run(
            command,
            capture_output=True,
            env=surroundings,
            stdin=subprocess.DEVNULL,
            timeout=2 * CALL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise NoBox(f"there is no cluster at {address}: no answer") from None
    if tried.returncode == 0:
        raise BadInput(
            f"launcher.address is {address}; it should be a cluster with a token, for this one runs"
            " anybody's code: start every node with RAY_AUTH_MODE=token (docs/scale.md)"
        )
    if tried.returncode != 3:
        lines = tried.stderr.decode(errors="replace").strip().splitlines() or ["no word"]
        raise NoBox(f"there is no cluster at {address}: {lines[-1][:300]}")


def _digest_packages(box: Box) -> str:
    """Return the digest of the packages in a box: equal trainings want equal ones on all nodes."""
    if image := str(getattr(box, "image", "")):
        return image[:100]
    names = sorted(
        path.name for path in (ROOT / ".box").glob("lib/python3*/site-packages/*.dist-info")
    )
    return digest(canonical(names))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
