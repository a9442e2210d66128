"""Every test has a home folder of its own; nothing touches the user's keys."""

import os
from pathlib import Path

for threads in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(
        threads, "1"
    )  # before numpy is imported: two threads cost twelve times as much

import pytest  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def box_env() -> Path:
    return ROOT / ".box"


def need_box(make, kind="namespace"):
    """Make a box, or skip with the reason; a box that HEIRLOOP_REQUIRE_BOX names (comma-separated)
    must be there.
    """
    from configs.errors import NoBox

    try:
        return make()
    except NoBox as error:
        if kind in os.environ.get("HEIRLOOP_REQUIRE_BOX", "").split(","):
            raise
        pytest.skip(str(error))
