"""Each test has a home folder of its own, so that nothing touches a user's keys; and the fixtures
that several files share.
"""

import os

# before numpy is imported: two threads cost twelve times as much
os.environ |= {
    name: os.environ.get(name, "1")
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
}

import itertools
import shutil
import subprocess
from pathlib import Path

import fabricated
import pytest
from fakes import ONE_DIGIT, table
from hypothesis import HealthCheck, settings
from safetensors.numpy import save_file
from servers import PASSWORD, Cluster, FilePlace, ServerPlace, find_programs
from studies import execute

from configs.errors import NoBox
from evals.data import questions
from loop.study import open as study_open
from sandbox import database, keys
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox

ROOT = Path(__file__).resolve().parent.parent
FAILED = pytest.StashKey[bool]()
# A busy machine is no fault of the code: no example has a deadline, and none is too slow.
settings.register_profile("kind", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kind")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.failed:
        item.stash[FAILED] = True
    return report


@pytest.fixture
def tmp_path(tmp_path, request):
    """Empty the folder of a test that passed: kept, those of the whole suite are 14 GB. The folder
    itself stays, so that no later test has a path that an earlier one had.
    """
    yield tmp_path
    if not request.node.stash.get(FAILED, False):
        for path in tmp_path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HEIRLOOP_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def luck(request, monkeypatch):
    """Give the studies of a test secrets of their own, the same each time: what a study finds hangs
    on its draws, and no test may pass or fail by luck.
    """
    draw_secrets(monkeypatch, request.node.name)


def draw_secrets(patch, name):
    """Let new studies have secrets that hang on a name and on their number."""
    count = itertools.count()
    patch.setattr(keys, "new_secret", lambda: keys.plain_secret(f"{name} {next(count)}".encode()))


def on(kind):
    """Return a parameter that names a box; tests of the Docker box bear its mark."""
    return pytest.param(kind, marks=pytest.mark.docker if kind.startswith("docker") else ())


def pytest_collection_modifyitems(items):
    """Mark each test that drives a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def unsynced(connection, _):
    """Open a ledger that outlives the process and not a loss of power."""
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=OFF"):
        connection.execute(f"PRAGMA {pragma}")


@pytest.fixture(scope="session", autouse=True)
def swift():
    """Let ledgers and stores of this process wait for no disk; yield the real functions."""
    real = {(database, "_set_pragmas"): database._set_pragmas, (os, "fsync"): os.fsync}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_set_pragmas", unsynced)
        patch.setattr(os, "fsync", lambda file: None)
        yield real


@pytest.fixture(autouse=True)
def _durable(request, swift, monkeypatch):
    """Give a test marked `durable` ledgers and stores that wait for the disk, as every run does."""
    if request.node.get_closest_marker("durable"):
        for (place, name), function in swift.items():
            monkeypatch.setattr(place, name, function)


@pytest.fixture(scope="session")
def box_env() -> Path:
    return ROOT / ".box"


def need_box(make, kind="namespace"):
    """Make a box, or skip with the reason; a box that HEIRLOOP_REQUIRE_BOX names (comma-separated)
    must be there.
    """
    try:
        return make()
    except NoBox as error:
        if kind in os.environ.get("HEIRLOOP_REQUIRE_BOX", "").split(","):
            raise
        pytest.skip(str(error))


def real_box(kind):
    """Make the namespace or the Docker box, or skip with the reason."""
    if kind == "docker":
        return need_box(lambda: DockerBox("heirloop-box", warm=True), kind)
    return need_box(lambda: NamespaceBox(ROOT / ".box"))


@pytest.fixture(scope="session")
def _cluster():
    """Start a PostgreSQL cluster, or skip with the reason; HEIRLOOP_REQUIRE_BOX may require it."""

    def find():
        if programs := find_programs():
            return programs
        raise NoBox("no PostgreSQL or no psycopg; apt install postgresql, make .venv/servers")

    made = Cluster(need_box(find, "postgres"))
    yield made
    made.close()


@pytest.fixture
def cluster(_cluster, monkeypatch):
    """Give a test the cluster, with the password where libpq looks for it."""
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    return _cluster


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Give a test a place for a ledger: a file, and a database on a server."""
    if request.param == "sqlite":
        return FilePlace(tmp_path / "l.sqlite")
    server = request.getfixturevalue("cluster")
    return ServerPlace(server, server.new_database())


@pytest.fixture
def beside_a_table(tmp_path, monkeypatch):
    """Let every run of a test lie under its own folder, beside a table with a notebook."""
    monkeypatch.chdir(tmp_path)
    fabricated.write(tmp_path, fabricated.fabricate(seeds=2, notebook=True))


@pytest.fixture
def go(monkeypatch):
    """Run a study on a given box; locks are released afterwards, as the end of a process would."""

    def release():
        study_open.release_locks()

    def start(cfg, box, act=execute):
        monkeypatch.setattr(study_open, "make_box", lambda _: box)
        try:
            return act(cfg)
        finally:
            release()

    yield start
    release()


@pytest.fixture(scope="session")
def _templates():
    return {}


@pytest.fixture
def copied(request, tmp_path, tmp_path_factory, monkeypatch, _templates):
    """Make something in a folder once a worker; give each test a copy of its own, with the home in
    which it was made.

    Call it with a function of the folder; functions of one name in one file make the same thing.
    """

    def copy(make):
        name = (request.path, make.__qualname__)
        if name not in _templates:
            template = tmp_path_factory.mktemp("made")
            with monkeypatch.context() as patch:
                patch.setenv("HEIRLOOP_HOME", str(template / "home"))
                draw_secrets(patch, make.__qualname__)  # whichever test comes first
                make(template)
            _templates[name] = template
        shutil.copytree(_templates[name], tmp_path, dirs_exist_ok=True)

    return copy


@pytest.fixture
def bundle(tmp_path, box_env):
    """Make a bundle folder, and a function that runs code or a module in it with the box's
    Python.
    """
    source = tmp_path / "in"
    for folder in ("models", "configs"):
        (source / folder).mkdir(parents=True)
        for file in (ROOT / folder).glob("*.py"):
            shutil.copy(file, source / folder)
    save_file({"items": table()}, source / "data.safetensors")
    save_file({"questions": questions(ONE_DIGIT, table()).copy()}, source / "questions.safetensors")

    def run(*arguments, fails=False):
        command = [box_env / "bin" / "python", *map(str, arguments)]
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=120)
        assert (done.returncode != 0) == fails, done.stderr
        return done.stderr if fails else done.stdout

    run.source = source
    return run
