"""A Docker image of people's own: what is refused, and what a box sees of it."""

import io
import re
import tarfile

import pytest
from conftest import ROOT, need_box
from docker import APIClient
from programs import TASK, composer

from configs.errors import BadInput, NoBox, VerificationFailed
from configs.job import Limits
from configs.settings.box import Box
from loop.study import environment
from loop.study.box import make_real_box
from sandbox.box.base import Execution
from sandbox.box.docker import DockerBox
from sandbox.box.own_image import need_digest, need_plain

ID = "sha256:" + "ab" * 32
HARNESS = (ROOT / "models" / "program" / "harness.py").read_bytes()
LOUD = b"print('ran', __name__, flush=True)\nopen('/tmp/ran', 'w').close()\n"
LOOK = """
import json, os, sys
import figures
print("figures", figures.VALUE, "ran before:", os.path.exists("/tmp/ran"))
print("torch" in sys.modules, "numpy" in sys.modules, sorted(os.environ))
for place in (figures.__file__, "/opt/box/more.py", "/entry"):
    try:
        open(place, "w")
        print("written", place)
    except OSError:
        print("not written", place)
open("out/w", "w").write("w")
"""


@pytest.mark.parametrize(
    "named, kind, reason",
    [
        ("heirloop-box", "docker", "a tag may move"),
        ("heirloop-box:latest", "docker", "a tag may move"),
        ("name@" + ID, "docker", "a tag may move"),
        (ID[:20], "docker", "64 hexadecimal digits"),
        (ID.upper(), "docker", "64 hexadecimal digits"),
        (ID + "\n", "docker", "64 hexadecimal digits"),
        ("", "docker", "64 hexadecimal digits"),
        ("/some/folder", "docker", "the digest of an image with box=docker"),
        (ID, "namespace", "docker where box.environment is the digest"),
        (ID, "auto", "docker where box.environment is the digest"),
    ],
)
def test_an_image_is_named_by_its_whole_digest(named, kind, reason):
    with pytest.raises(BadInput, match=reason):
        need_digest(named, kind)


@pytest.mark.parametrize(
    "config, reason",
    [
        ({"Volumes": {"/data": {}}}, "declares a volume"),
        ({"Healthcheck": {"Test": ["CMD", "true"]}}, "has a health check"),
        ({"Env": ["PATH=/bin", "LD_PRELOAD=/x.so"]}, "sets LD_PRELOAD"),
        ({"Env": ["LD_AUDIT=/x.so"]}, "sets LD_AUDIT"),
    ],
)
def test_an_image_that_does_something_by_itself_is_refused(config, reason):
    with pytest.raises(NoBox, match=f"the image sha256:.* {reason}"):
        need_plain(ID, {"Id": ID, "Config": config})
    need_plain(ID, {"Id": ID, "Config": {"Env": ["LD_LIBRARY_PATH=/x"], "Entrypoint": ["/entry"]}})
    with pytest.raises(NoBox, match="for the engine; name that"):
        need_plain(ID, {"Id": "sha256:" + "cd" * 32, "Config": {}})


def test_a_digest_is_pinned_and_answers_are_looked_for(tmp_path, monkeypatch):
    compose, looked = composer(tmp_path, monkeypatch), []

    def look(settings, holding):
        looked.append(holding)
        return {"sklearn"}

    monkeypatch.setattr(environment, "_look_through", look)
    named = ("box=docker", f"box.environment={ID}")
    cfg = compose(*named)
    assert cfg.box.environment_digest == ID.removeprefix("sha256:") and not looked
    with pytest.raises(BadInput, match="holds sklearn, which holds answers"):
        compose(*named, **{"task.yaml": TASK + "answers_in: [sklearn]\n"})
    with pytest.raises(VerificationFailed, match="is pinned"):
        compose(*named, f"+box.environment_digest={'cd' * 32}", **{"task.yaml": TASK})
    with pytest.raises(BadInput, match=r"docker where box\.environment"):
        compose("box=namespace", f"box.environment={ID}")
    with pytest.raises(BadInput, match="a tag may move"):
        compose("box=docker", "box.environment=heirloop-box")


@pytest.fixture(scope="module")
def image():
    """Make an image of people's own from the box's; return a function that makes further ones."""
    box = need_box(lambda: DockerBox("heirloop-box"), "docker")
    api, made = box._api(), []
    version = sorted((ROOT / ".box" / "lib").glob("python3*"))[0].name

    def make(files, **config):
        created = api.create_container("heirloop-box", ["true"])["Id"]
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as tar:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(content), 0o644
                tar.addfile(entry, io.BytesIO(content))
        api.put_archive(created, "/", data.getvalue())
        made.append(api.commit(created, conf=config)["Id"])
        api.remove_container(created, force=True)
        return made[-1]

    site = "usr/local/lib/" + version + "/site-packages/"
    ours, debian = "opt/box/", "usr/lib/python3/dist-packages/"
    starts = {site + name: LOUD for name in ("sitecustomize.py", "usercustomize.py")}
    starts |= {f"{place}start.pth": b"import loud\n" for place in (site, ours, debian)}
    starts |= {f"usr/lib/{version}/sitecustomize.py": LOUD, f"{debian}loud.py": LOUD}
    plain = {site + "figures.py": b"VALUE = 7\n", "entry": LOUD}
    make.plain = make({**starts, **plain}, Entrypoint=["python3", "/entry"], User="root")
    yield make
    box.close()
    for name in made:
        api.remove_image(name, force=True)


def run(named, text=LOOK):
    files = {
        "models/__init__.py": HARNESS,
        "models/train.py": text.encode(),
        "models/program.json": b'{"files": {"train.py": "models/train.py"}}',
        "job.json": b'{"seed": 1, "steps": 9, "task": {"question": 1, "answer": 1}}',
        "data.safetensors": (
            b'\x48\0\0\0\0\0\0\0{"items": {"dtype": "U8", "shape": [1, 3], "data_offsets": [0, 3]}}'
        ).ljust(80)
        + b"\2\1\2",
    }
    box = make_real_box(Box(kind="docker", environment=named, environment_digest=named[7:]))
    try:
        asked = Execution(
            role="train", files=files, limits=Limits(), outputs={"weights.safetensors": 9999}
        )
        return box.run(asked)
    finally:
        box.close()


def test_jobs_import_from_it_and_nothing_of_it_runs_before_or_by_itself(image):
    result = run(image.plain)
    printed = result.log.decode()
    assert result.status == "ok", printed
    assert "figures 7 ran before: False" in printed and not re.search(r"^ran ", printed, re.M)
    assert "False False ['HEIRLOOP_CPU_SECONDS'" in printed
    assert re.findall(r"LD_\w+", printed) == ["LD_LIBRARY_PATH"]  # ours: nothing of the image's
    assert printed.count("not written") == 3


def test_what_the_engine_does_not_have_or_would_do_by_itself_is_refused(image):
    with pytest.raises(
        NoBox, match=r"the Docker engine has no image 'sha256:abab.*`docker load` it"
    ):
        run(ID)
    for config, reason in (
        ({"Volumes": {"/data": {}}}, "declares a volume"),
        ({"Env": ["LD_PRELOAD=/opt/box/x.so"]}, "sets LD_PRELOAD"),
    ):
        with pytest.raises(NoBox, match=reason):
            run(image({"note": b""}, **config))


def test_packages_with_answers_are_found_wherever_they_lie(image, monkeypatch):
    named = image({"srv/deep/sklearn/datasets.py": b"", "opt/box/torchvision.py": b""})
    settings = Box(kind="docker", environment=named, environment_digest=named[7:])
    with pytest.raises(BadInput, match="holds sklearn, torchvision, which holds answers"):
        environment.need_no_answers(settings, ("sklearn", "torchvision", "nothing"))
    monkeypatch.setattr(environment, "make_real_box", pytest.fail)  # it looks once
    assert environment._look_through(settings, ("nothing", "sklearn", "torchvision"))


def test_with_site_its_files_would_run(image, monkeypatch):
    """The ablation: without -S files of the image run before anything of ours, and it is told."""
    made = APIClient.create_container

    def careless(self, base, command, **given):
        return made(self, base, [part for part in command if part != "-S"], **given)

    monkeypatch.setattr(APIClient, "create_container", careless)
    result = run(image.plain)
    assert result.status == "box" and "does not start" in result.detail, result.detail
