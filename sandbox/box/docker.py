"""The Docker box: one container per job over the engine's own API, limits and the kill from
outside.

Outputs leave a container as a capped stream. Warm, the next container starts and imports torch
behind the current job, and waits for a single job. The engine's socket is root on its host, so it
stays on the trusted side. Docker shares the host's kernel; `box.runtime=runsc` does not. If the
host can read control groups, they give the charge. If not, the charge is wall time on one core,
and the tier is C.
"""

import contextlib
import os
import shutil
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.errors import NoBox
from configs.job import Outcome
from sandbox.box import cgroup
from sandbox.box.base import STOPPED, Execution, heed_stop, report_failure
from sandbox.box.container import OURS, OWNER, Container, is_orphan
from sandbox.box.engine import connect, explain_silence
from sandbox.box.own_image import SITES, need_plain
from sandbox.box.watch import watch

LATE_SECONDS = 10
"""Longest wait at the end for a container whose creation the engine never answered."""


class DockerBox:
    """Runs jobs in containers; see the module docstring.

    Raises NoBox without an engine or without the image.
    """

    kind = "docker"
    fell_back = ""
    "reason why box=auto did not take the namespace box"

    def __init__(
        self, image: str, *, runtime: str = "", warm: bool = False, own: bool = False
    ) -> None:
        self._local, self._lock = threading.local(), threading.Lock()
        self._stopped, self._warm, self._runtime = False, warm and not own, runtime
        # Of an image of people's own (own_image.py) nothing is imported before the job.
        self._own, self._sites = own, ("", *SITES) if own else OURS
        self._live: dict[str, cgroup.Group | None] = {}
        self._unanswered = set[str]()
        self._waiting: dict[tuple[object, ...], list[Container]] = {}
        info = self._find_image(image)
        if runtime and runtime not in info.get("Runtimes", {}):
            runtimes = ", ".join(sorted(info.get("Runtimes", {})))
            raise NoBox(f"box.runtime is {runtime!r}; the engine knows {runtimes}")
        self._groups = (
            info.get("CgroupDriver") == "cgroupfs"
            and sys.platform == "linux"
            and cgroup.available()
        )
        self.tier = ("A" if runtime == "runsc" else "B") if self._groups else "C"
        self._spawner = ThreadPoolExecutor(1, "containers")
        self.sweep()

    def run(self, execution: Execution) -> Outcome:
        """Execute once; see `Box.run`."""
        return heed_stop(self._run(execution), self._stopped)

    def _run(self, execution: Execution) -> Outcome:
        if self._stopped:
            return report_failure(STOPPED)
        if execution.doors and self._runtime:
            return report_failure(f"box.runtime={self._runtime} has no doors for an agent")
        began = time.monotonic()
        kind = (execution.study, execution.cpu, execution.limits, execution.gpu is not None)
        with self._lock:
            # An agent with doors has a container of its own, which alone sees their folder.
            waiting = [] if execution.doors else self._waiting.get(kind, [])
            container = waiting.pop() if waiting else None
        try:
            container = container or self._make(execution)
        except Exception as error:  # the engine's own errors have no common type
            wall_us = int((time.monotonic() - began) * 1e6)
            return report_failure(f"the engine failed: {str(error)[:200]}", wall_us)
        if self._warm and not execution.doors:
            self._spawner.submit(self._prepare, kind, execution)
        try:
            if not self._admit(container):
                return report_failure(STOPPED, container.startup_us)
            return self._run_in(container, execution)
        except NoBox as error:
            return report_failure(str(error), container.startup_us)
        except Exception as error:
            # The use of the job is unknown, so its limit is charged.
            return report_failure(
                f"the engine failed: {str(error)[:200]}",
                container.startup_us,
                execution.limits.cpu_us,
            )
        finally:
            if execution.doors:
                execution.doors.close()
            self._clear(container)

    def stop(self) -> None:
        """Kill every live job and refuse new ones."""
        with self._lock:
            self._stopped = True
            live = list(self._live.items())
        for ident, group in live:
            self._kill(ident, group)

    def close(self) -> None:
        """Kill everything."""
        self.stop()
        self._spawner.shutdown()
        for containers in self._waiting.values():
            for container in containers:
                container.remove(self._api())
        self._waiting.clear()
        deadline = time.monotonic() + LATE_SECONDS
        while self._unanswered and time.monotonic() < deadline:
            self._remove_unanswered()
            time.sleep(0.1)

    def sweep(self) -> int:
        """Kill and remove containers of crashed processes; return their number.

        The reservations of their jobs stand as charged.
        """
        api, gone = self._api(), 0
        for entry in api.containers(all=True, filters={"label": OWNER}):
            if not is_orphan(entry["Labels"][OWNER], entry.get("State", "")):
                continue
            gone += 1
            with contextlib.suppress(Exception):
                api.remove_container(entry["Id"], force=True, v=True)
            for mount in entry.get("Mounts", ()):
                if Path(mount.get("Source", "")).name.startswith("heirloop-"):
                    shutil.rmtree(mount["Source"], ignore_errors=True)
        cgroup.sweep()
        return gone

    def _find_image(self, image: str) -> dict[str, Any]:
        """Pin the image by its digest; return the engine's description of itself."""
        try:
            info = dict(self._api().info())
            found = self._api().inspect_image(image)
            if self._own:
                need_plain(image, found)
            self.image = str(found["Id"])
            return info
        except NoBox:
            raise
        except ImportError:
            raise NoBox(
                "the Docker box needs the package docker; `pip install -e .[trusted]`"
            ) from None
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", 0) == 404:
                remedy = "`docker load` it" if self._own else "`heirloop image build` makes it"
                raise NoBox(f"the Docker engine has no image {image!r}; {remedy}") from None
            raise NoBox(explain_silence(error)) from None

    def _make(self, execution: Execution) -> Container:
        name = f"{os.getpid()}-d-{os.urandom(6).hex()}"
        try:
            given = (name, self.image, self._runtime, execution, self._groups, self._sites)
            return Container(self._api(), *given)
        except Exception as error:
            # Without an answer the engine may make the container later.
            if not isinstance(error, NoBox) and getattr(error, "response", None) is None:
                self._unanswered.add(f"heirloop-{name}")
            raise

    def _remove_unanswered(self) -> None:
        """Remove containers that the engine made after we had stopped waiting for its answer."""
        for name in list(self._unanswered):
            with contextlib.suppress(Exception):
                self._api().remove_container(name, force=True, v=True)
                self._unanswered.discard(name)

    def _prepare(self, kind: tuple[object, ...], execution: Execution) -> None:
        """Make one container ready for the next job of this kind.

        After a failure the next job starts its own, and reports the reason.
        """
        with self._lock:
            if self._stopped or self._waiting.get(kind):
                return
        with contextlib.suppress(Exception):
            container = self._make(execution)
            with self._lock:
                self._waiting.setdefault(kind, []).append(container)

    def _admit(self, container: Container) -> bool:
        """Enter a job among those that `stop` kills; False if the stop was first."""
        with self._lock:
            if not self._stopped:
                self._live[container.ident] = container.group
            return not self._stopped

    def _clear(self, container: Container) -> None:
        """Remove a used container; it is dead already, so the next job need not wait."""
        with self._lock:
            self._live.pop(container.ident, None)
        self._remove_unanswered()
        if self._warm and not self._stopped:
            self._spawner.submit(lambda: container.remove(self._api()))
        else:
            container.remove(self._api())

    def _api(self) -> Any:
        """Return this thread's connection to the engine."""
        if not hasattr(self._local, "api"):
            # With a version given, the SDK asks nothing yet, and the client can be closed.
            probe = connect(30, "1.41")
            try:
                version = probe.version(api_version=False)["ApiVersion"]
            finally:
                probe.close()
            self._local.api = connect(30, version)
        return self._local.api

    def _run_in(self, container: Container, execution: Execution) -> Outcome:
        """Give a waiting container its job, and watch the job to its end."""
        group = container.group
        for file, data in execution.files.items():
            (container.folder / file).parent.mkdir(exist_ok=True)
            (container.folder / file).write_bytes(data)
        with contextlib.suppress(Exception):
            self._api().rename(container.ident, f"heirloop-{execution.key}-{container.ident[:12]}")
        if group:
            group.allow_memory(execution.limits.memory_bytes)
        if execution.doors:
            execution.doors.open(container.find_collector())
        if execution.gpu:
            execution.gpu.open()
        outcome = watch(
            execution,
            container.frames,
            group,
            lambda: self._end(execution, container),
            started=time.monotonic(),
            startup_us=container.startup_us,
            in_group_us=container.startup_us if group else 0,
            send_files=False,
        )
        # It raises if the engine is gone: then nothing is known of the job.
        if outcome.status == "box" and self._is_out_of_memory(container.ident) and not group:
            return replace(outcome, status="limit", detail="memory")
        return outcome

    def _is_out_of_memory(self, ident: str) -> bool:
        return bool(self._api().inspect_container(ident)["State"].get("OOMKilled"))

    def _end(self, execution: Execution, container: Container) -> None:
        """Close a job's doors, then kill it."""
        if execution.doors:
            execution.doors.close()  # so that nobody comes in during the kill
        self._kill(container.ident, container.group)

    def _kill(self, ident: str, group: cgroup.Group | None) -> None:
        if group and group.kill():
            return
        with contextlib.suppress(Exception):
            self._api().kill(ident)
        with contextlib.suppress(Exception):
            self._api().wait(ident, timeout=10)
