"""`make bench`: ratios of things measured in one run; prints a table and writes bench.json. No figure is a test."""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from configs.job import Limits  # noqa: E402
from sandbox.box.base import Execution  # noqa: E402
from sandbox.box.namespace import NamespaceBox  # noqa: E402

PROGRAM = b"def main(i, o):\n    import torch\n    (o / 'weights.safetensors').write_bytes(b'w' * 100_000)\n"


def overhead(warm: bool, count: int) -> float:
    """Median seconds from call to collected outputs of a program that trains nothing."""
    box, found = NamespaceBox(ROOT / ".box", warm=warm), []
    files = {"models/__init__.py": b"", "models/train.py": PROGRAM, "job.json": b"{}"}
    for _ in range(count + warm):
        started = time.perf_counter()
        outcome = box.run(Execution(role="train", files=files, limits=Limits(), outputs={"weights.safetensors": 200_000}))
        found.append(time.perf_counter() - started)
        assert outcome.status == "ok", outcome
    box.close()
    return statistics.median(found[warm:])


def command(*arguments: str, count: int = 5) -> float:
    """Median seconds of a command."""
    found = []
    for _ in range(count):
        started = time.perf_counter()
        subprocess.run(arguments, check=True, capture_output=True, cwd=ROOT)
        found.append(time.perf_counter() - started)
    return statistics.median(found)


def main() -> None:
    """Measure, print, write."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as script:
        script.write("import torch, numpy, safetensors.torch\n")
        script.flush()
        plain = command(str(ROOT / ".box/bin/python"), script.name)
    python = str(ROOT / ".venv/bin/python")
    nothing = command(python, "-c", "pass")
    rows = [
        ("overhead per candidate, cold", overhead(False, 5), "plain python that imports torch", plain),
        ("overhead per candidate, warm", overhead(True, 30), "plain python that imports torch", plain),
        ("heirloop --help", command(str(ROOT / ".venv/bin/heirloop"), "--help"), "python -c pass", nothing),
        ("import configs, sandbox", command(python, "-c", "import configs, sandbox"), "python -c pass", nothing),
        ("import sandbox.run", command(python, "-c", "import sandbox.run"), "python -c pass", nothing),
    ]
    table = [{"name": n, "value": round(v, 4), "unit": "s", "against": a, "ratio": round(v / b, 3)} for n, v, a, b in rows]
    for row in table:
        print(f"{row['name']:32} {row['value']:8.3f} s   {row['ratio']:7.2f} x {row['against']}")
    (ROOT / "bench.json").write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
