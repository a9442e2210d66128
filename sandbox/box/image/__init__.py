"""How is the box image built? From the Dockerfile, or from debootstrap and wheels.

The second way needs neither an image registry nor the network inside the image.
"""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from configs.errors import NoBox
from sandbox.box.engine import connect, explain_silence

HERE = Path(__file__).parent
UNUSED_FOLDERS = ("root", "home", "srv", "boot", "media", "mnt")


def build(name: str, root: Path, *, offline: bool, index: str = "", gpu: str = "") -> str:
    """Build the image and return its id.

    `root` is the checkout, `index` a further package index, `gpu` a torch build such as cu126.
    Raises NoBox with the missing tool.
    """
    try:
        import docker

        api = connect(1800)
        api.ping()
    except ImportError:
        raise NoBox("the package docker is missing; `pip install -e .[trusted]`") from None
    except docker.errors.DockerException as error:
        raise NoBox(explain_silence(error)) from None
    if offline:
        with tempfile.TemporaryDirectory() as folder:
            _build_from_wheels(api, name, root, Path(folder), index, gpu)
    else:
        _build_from_dockerfile(api, name, root, index, gpu)
    return str(api.inspect_image(name)["Id"])


def _build_from_dockerfile(api: object, name: str, root: Path, index: str, gpu: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(HERE / "Dockerfile", "Dockerfile")
        tar.add(root / "constraints.txt", "constraints.txt")
    context.seek(0)
    version = ".".join(platform.python_version_tuple()[:2])
    for line in api.build(  # type: ignore[attr-defined]
        fileobj=context,
        custom_context=True,
        tag=name,
        rm=True,
        decode=True,
        buildargs={"PYTHON": version, "INDEX": index, "GPU": gpu},
    ):
        if "error" in line:
            raise NoBox(
                f"the image is not built: {str(line['error'])[:200]}; without a registry use"
                " --offline"
            )


def _build_from_wheels(
    api: object, name: str, root: Path, folder: Path, index: str, gpu: str
) -> None:
    """Make the base system by debootstrap, and install wheels by this machine's pip for the base's
    Python.
    """
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise NoBox("--offline needs debootstrap and root; on Debian: sudo apt install debootstrap")
    base = folder / "base"
    _bootstrap(base)
    _install_wheels(base, folder / "wheels", root, index, gpu)
    packed = folder / "base.tar"
    excluded = ["--exclude=./var/cache/*", "--exclude=./var/lib/apt/*"]
    _run("tar", ["tar", "-cf", str(packed), *excluded, "-C", str(base), "."])
    api.import_image_from_file(  # type: ignore[attr-defined]
        str(packed), repository=name, tag="latest", changes=["USER 1000:1000"]
    )


def _bootstrap(base: Path) -> None:
    """Make a small system with Python, from the package source of this machine."""
    suite = platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    sources = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    options = ["--variant=minbase", "--include=python3"]
    _run("debootstrap", ["debootstrap", *options, suite, str(base), *sources[:1]])
    for name in UNUSED_FOLDERS:
        shutil.rmtree(base / name, ignore_errors=True)


def _install_wheels(base: Path, wheels: Path, root: Path, index: str, gpu: str) -> None:
    """Install torch, numpy and safetensors at /opt/box of the base system."""
    libraries = sorted((base / "usr/lib").glob("python3.*"))
    version = libraries[0].name.removeprefix("python")
    pip = [sys.executable, "-m", "pip", "-q"]
    torch = f"torch{_pinned_torch(root)}" + (f"+{gpu}" if gpu else "")
    chosen = ["--only-binary", ":all:", "--python-version", version, torch, "numpy", "safetensors"]
    more = ["--extra-index-url", index] if index else []
    constraints = ["-c", str(root / "constraints.txt")]
    _run("pip download", [*pip, "download", "-d", str(wheels), *constraints, *more, *chosen])
    local = ["--no-index", "--find-links", str(wheels), "--target", str(base / "opt/box")]
    _run("pip install", [*pip, "install", *local, *chosen])


def _pinned_torch(root: Path) -> str:
    """Return the pinned version of torch, such as `==2.9.1`."""
    lines = (root / "constraints.txt").read_text().splitlines()
    return next(line.removeprefix("torch") for line in lines if line.startswith("torch=="))


def _run(title: str, command: list[str]) -> None:
    """Run a command; raise NoBox with the end of its output if it fails."""
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        output = (process.stdout + process.stderr).strip()
        raise NoBox(f"{title} failed: {output[-200:]}")
