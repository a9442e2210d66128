"""Build the box image: from the Dockerfile, or without registry and network from debootstrap and
wheels.
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

HERE = Path(__file__).parent


def build(name: str, root: Path, *, offline: bool, index: str = "", gpu: str = "") -> str:
    """Build the image and return its id; `root` is the checkout, `gpu` a torch build such as cu126.
    Raises NoBox with what is missing.
    """
    try:
        import docker

        api = docker.from_env(timeout=1800).api
        api.ping()
    except ImportError:
        raise NoBox("the package docker is missing; `pip install -e .[trusted]`") from None
    except docker.errors.DockerException as error:
        raise NoBox(
            f"no Docker engine answers ({type(error).__name__}); start it (`sudo systemctl start"
            " docker`)"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        if offline:
            _import(api, name, root, Path(folder), index, gpu)
        else:
            _dockerfile(api, name, root, index, gpu)
    return str(api.inspect_image(name)["Id"])


def _dockerfile(api: object, name: str, root: Path, index: str, gpu: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(HERE / "Dockerfile", "Dockerfile")
        tar.add(root / "constraints.txt", "constraints.txt")
    context.seek(0)
    version = ".".join(platform.python_version_tuple()[:2])
    last = ""
    for line in api.build(  # type: ignore[attr-defined]
        fileobj=context,
        custom_context=True,
        tag=name,
        rm=True,
        decode=True,
        buildargs={"PYTHON": version, "INDEX": index, "GPU": gpu},
    ):
        last = line.get("stream", "").strip() or last
        if "error" in line:
            raise NoBox(
                f"the image is not built: {str(line['error'])[:200]}; without a registry use"
                " --offline"
            )


def _import(api: object, name: str, root: Path, folder: Path, index: str, gpu: str) -> None:
    """Base system by debootstrap, wheels by this machine's pip for the base's Python; nothing is
    fetched inside the image.
    """
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise NoBox("--offline needs debootstrap and root; on Debian: sudo apt install debootstrap")
    base, wheels, suite = (
        folder / "base",
        folder / "wheels",
        platform.freedesktop_os_release().get("VERSION_CODENAME", "stable"),
    )
    found = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"],
        capture_output=True,
        text=True,
        check=False,
    )
    _do(
        "debootstrap",
        [
            "debootstrap",
            "--variant=minbase",
            "--include=python3",
            suite,
            str(base),
            *found.stdout.split()[:1],
        ],
    )
    for name_of in ("root", "home", "srv", "boot", "media", "mnt"):
        shutil.rmtree(base / name_of, ignore_errors=True)
    version = next(
        p.name.removeprefix("python") for p in sorted((base / "usr/lib").glob("python3.*"))
    )
    pip, torch = (
        [sys.executable, "-m", "pip", "-q"],
        f"torch{_pinned(root)}" + (f"+{gpu}" if gpu else ""),
    )
    chosen = ["--only-binary", ":all:", "--python-version", version, torch, "numpy", "safetensors"]
    more = ["--extra-index-url", index] if index else []
    _do(
        "pip download",
        [*pip, "download", "-d", str(wheels), "-c", str(root / "constraints.txt"), *more, *chosen],
    )
    _do(
        "pip install",
        [
            *pip,
            "install",
            "--no-index",
            "--find-links",
            str(wheels),
            "--target",
            str(base / "opt/box"),
            *chosen,
        ],
    )
    packed = folder / "base.tar"
    _do(
        "tar",
        [
            "tar",
            "-cf",
            str(packed),
            "--exclude=./var/cache/*",
            "--exclude=./var/lib/apt/*",
            "-C",
            str(base),
            ".",
        ],
    )
    api.import_image_from_file(  # type: ignore[attr-defined]
        str(packed), repository=name, tag="latest", changes=["USER 1000:1000"]
    )


def _pinned(root: Path) -> str:
    lines = (root / "constraints.txt").read_text().splitlines()
    return next(line.removeprefix("torch") for line in lines if line.startswith("torch=="))


def _do(what: str, command: list[str]) -> None:
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise NoBox(f"{what} failed: {(made.stdout + made.stderr).strip()[-200:]}")
