"""`heirloop run`: compose a configuration with Hydra, check it once, run the study to its end or to
what stops it.
"""

from pathlib import Path
from typing import Any

from configs.errors import BadInput, VerificationFailed
from loop.study.open import open_study
from loop.study.root import config_at, read_config
from sandbox.ledger import Ledger
from sandbox.run import replay as replay_job


def replay(folder: Path, prefix: str) -> dict[str, Any]:
    """Retrain a plan's first replicate from its bundle and compare the weights' bytes; raises
    VerificationFailed.
    """
    config = read_config(Ledger.file(folder / "ledger.sqlite"))
    running = open_study(config_at(config, folder))
    try:
        starts = [
            e
            for e in running.ledger.entries()
            if e.kind == "start" and e.body["job"]["role"] == "train"
        ]
        mine = [e for e in starts if e.body["job"]["plan"].startswith(prefix)]
        if len({e.body["job"]["plan"] for e in mine}) != 1:
            raise BadInput(
                f"PLAN is {prefix!r}; it should begin the digest of exactly one trained plan"
                " (`heirloop plans RUN`)"
            )
        job = mine[0].body["job"]
        recorded = running.facts().results[job["plan"], "train", job["index"]][0]
        again = replay_job(running.sandbox, mine[0])
    finally:
        running.sandbox.box.close()
        running.checkpoint()
    before, after = (r.outputs.get("weights.safetensors", "") for r in (recorded, again))
    if before != after or not after:
        raise VerificationFailed(
            f"the weights differ: recorded {before[:12] or 'none'}, replayed"
            f" {after[:12] or again.detail}; same bytes need the same CPU type and torch build"
        )
    return {
        "plan": job["plan"],
        "index": job["index"],
        "weights": after,
        "same": True,
        "cpu_seconds": again.charged.cpu_us / 1e6,
    }
