"""Build the box image: from the Dockerfile, or offline from debootstrap and the box environment of this checkout."""

import io
import os
import platform
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from configs.errors import NoBox

HERE = Path(__file__).parent


def build(name: str, root: Path, *, offline: bool, index: str = "") -> str:
    """Build the image and return its id; `root` is the checkout. Raises NoBox with what is missing."""
    try:
        import docker

        api = docker.from_env(timeout=1800).api
        api.ping()
    except ImportError:
        raise NoBox("the package docker is missing; `pip install -e .[trusted]`") from None
    except docker.errors.DockerException as error:
        raise NoBox(f"no Docker engine answers ({type(error).__name__}); start it (`sudo systemctl start docker`)") from None
    with tempfile.TemporaryDirectory() as folder:
        if offline:
            _import(api, name, root, Path(folder))
        else:
            _dockerfile(api, name, root, index)
    return str(api.inspect_image(name)["Id"])


def _dockerfile(api: object, name: str, root: Path, index: str) -> None:
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        tar.add(HERE / "Dockerfile", "Dockerfile")
        tar.add(root / "constraints.txt", "constraints.txt")
    context.seek(0)
    version = ".".join(platform.python_version_tuple()[:2])
    last = ""
    for line in api.build(fileobj=context, custom_context=True, tag=name, rm=True, decode=True,  # type: ignore[attr-defined]
                          buildargs={"PYTHON": version, "INDEX": index}):  # fmt: skip
        last = line.get("stream", "").strip() or last
        if "error" in line:
            raise NoBox(f"the image is not built: {str(line['error'])[:200]}; without a registry use --offline")


def _import(api: object, name: str, root: Path, folder: Path) -> None:
    """Base system by debootstrap (same release as this machine, so the same Python), the box environment copied in."""
    site = root / ".box" / "lib" / ("python" + ".".join(platform.python_version_tuple()[:2])) / "site-packages"
    if not site.is_dir():
        raise NoBox(f"there is no box environment at {site}; `make setup` makes it")
    if not shutil.which("debootstrap") or os.geteuid() != 0:
        raise NoBox("--offline needs debootstrap and root; on Debian: sudo apt install debootstrap")
    base, suite = folder / "base", platform.freedesktop_os_release().get("VERSION_CODENAME", "stable")
    found = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)"], capture_output=True, text=True, check=False)
    mirror = found.stdout.split()[:1]
    made = subprocess.run(
        ["debootstrap", "--variant=minbase", "--include=python3", suite, str(base), *mirror],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if made.returncode != 0:
        raise NoBox(f"debootstrap failed: {(made.stdout + made.stderr).strip()[-200:]}")
    for name_of in ("root", "home", "srv", "boot", "media", "mnt"):
        shutil.rmtree(base / name_of, ignore_errors=True)
    packed = folder / "base.tar"
    subprocess.run(["tar", "-cf", packed, "--exclude=./var/cache/*", "--exclude=./var/lib/apt/*", "-C", base, "."], check=True)
    subprocess.run(["tar", "-rf", packed, "--transform", "s,^[.],opt/box,", "-C", site, "."], check=True)
    api.import_image_from_file(str(packed), repository=name, tag="latest", changes=["USER 1000:1000"])  # type: ignore[attr-defined]
