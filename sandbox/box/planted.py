"""The simulated box: it answers jobs of task `planted` from a law, in this process, and runs no
code of anybody.

It isolates nothing and needs not to, for nothing proposed is executed in it. It refuses every job
of another task, and the door refuses it for them too; its tier is `simulated`, which meets no
demand for a tier. What it charges is the plan, so that a run is the same on any machine.
"""

from collections.abc import Callable, Mapping

from configs.build import parse, strict_json
from configs.errors import BadInput
from configs.job import Order, Outcome
from sandbox.box.base import Execution, failed

SIMULATED = "planted"
"""Name of the only task whose jobs it answers, and of its kind."""
Answer = Callable[[Order, Mapping[str, bytes]], tuple[dict[str, bytes], int]]


class PlantedBox:
    """A box whose jobs are a function: order and inputs in, output files and charged
    CPU-microseconds out.
    """

    kind, tier = SIMULATED, "simulated"

    def __init__(self, answer: Answer) -> None:
        self._answer, self._stopped = answer, False

    def run(self, execution: Execution) -> Outcome:
        """Answer one job from the law; a job of another task is refused, as a failure of the
        box.
        """
        try:
            order = parse(Order, strict_json(execution.files["job.json"]))
        except (BadInput, KeyError):
            return failed("the job's order is malformed")
        if order.task.name != SIMULATED or self._stopped:
            return failed(
                f"a simulated box answers no job of task {order.task.name}"
                if not self._stopped
                else "stopped"
            )
        files, cpu_us = self._answer(order, execution.files)
        return Outcome(
            status="ok",
            detail="exit 0",
            cpu_us=cpu_us,
            startup_cpu_us=0,
            wall_us=cpu_us,
            peak_bytes=0,
            charged_by="plan",
            files=files,
            log=b"",
            log_total=0,
        )

    def stop(self) -> None:
        """Refuse new jobs; none lasts."""
        self._stopped = True

    def close(self) -> None:
        """Nothing is held."""
