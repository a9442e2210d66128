"""Build the image of the Docker box: Python, torch, numpy and safetensors, and nothing else.

Online it builds `image/Dockerfile`. Offline (no registry, but a Debian mirror and wheels within reach) it makes the same
tree with debootstrap and the host's pip, then imports it. It refuses to name a mirror or an index of its own: both are
read from the machine's apt and pip settings. Run: `python -m sandbox.box.image [--offline] [NAME]`; offline needs root.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from configs.errors import NoBox

NAME = "heirloop-box"
PINS = ("torch==2.13.0", "numpy==2.4.6", "safetensors==0.8.0")
"""The versions of the box environment; a box of other versions would give other bytes for the same seed."""
FOLDER = Path(__file__).with_name("image")


def build(offline: bool = False, name: str = NAME) -> str:
    """Build the image and return its id; raises NoBox where a tool or the engine is missing or fails."""
    for tool in ("docker", *(("debootstrap", "tar") if offline else ())):
        if shutil.which(tool) is None:
            raise NoBox(f"{tool} is not installed; the image cannot be built, install {tool} or use box=namespace")
    if offline:
        _import(name)
    else:
        _run(["docker", "build", "--tag", name, "--build-arg", f"PINS={' '.join(PINS)}", str(FOLDER)])
    return _run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).strip()


def _import(name: str) -> None:
    if os.geteuid() != 0:
        raise NoBox("an offline build needs root for debootstrap; run it with sudo or build online")
    site, release = _mirror()
    with tempfile.TemporaryDirectory(prefix="heirloop-image-") as folder:
        root, wheels = Path(folder) / "root", Path(folder) / "wheels"
        _run(["debootstrap", "--variant=minbase", "--include=python3-minimal,libpython3-stdlib,libexpat1,zlib1g",
              release, str(root), site])  # fmt: skip
        os.chmod(root, 0o755)
        python = os.path.realpath(root / "usr/bin/python3")
        version = Path(python).name.removeprefix("python")
        _wheels(wheels, root / "opt/box", version)
        (root / "opt/python3").symlink_to(f"/usr/bin/python{version}")
        for made in ("in", "out"):
            (root / made).mkdir()
        _strip(root)
        _pack(root, name)


def _mirror() -> tuple[str, str]:
    """Return (site, release) of the machine's own distribution, as apt knows them."""
    listed = _run(["apt-get", "indextargets", "--format", "$(ORIGIN)|$(SITE)|$(CODENAME)", "Created-By: Packages"])
    rows = [line.split("|") for line in listed.splitlines() if line.count("|") == 2]
    for origin, site, release in rows:
        if origin in ("Debian", "Ubuntu") and "-" not in release:
            return site, release
    raise NoBox("apt names no Debian or Ubuntu mirror on this machine; build online")


def _wheels(wheels: Path, target: Path, version: str) -> None:
    """Download wheels for the image's Python with the host's pip, and install from that folder alone."""
    pip = [shutil.which("pip") or "pip", "--disable-pip-version-check"]
    fit = ["--only-binary=:all:", "--python-version", version, "--implementation", "cp"]
    _run([*pip, "download", "--quiet", *fit, "--dest", str(wheels), *PINS])
    _run([*pip, "install", "--quiet", *fit, "--no-index", "--find-links", str(wheels), "--target", str(target), *PINS],
         env={"PATH": os.environ.get("PATH", ""), "HOME": str(wheels), "PIP_CONFIG_FILE": os.devnull})  # fmt: skip


def _strip(root: Path) -> None:
    """Remove package caches, device nodes and every setuid bit."""
    for waste in ("var/cache/apt", "var/lib/apt", "usr/share/doc", "usr/share/locale", "usr/share/man", "dev"):
        shutil.rmtree(root / waste, ignore_errors=True)
        (root / waste).mkdir(parents=True, exist_ok=True)
    for path in root.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_mode & 0o6000:
            path.chmod(path.stat().st_mode & 0o777)


def _pack(root: Path, name: str) -> None:
    """Stream the tree into the engine."""
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        done = subprocess.run(["docker", "import", "--change", "USER 65534:65534", "-", name], stdin=tar.stdout,
                              capture_output=True, text=True, check=False)  # fmt: skip
    if done.returncode or tar.returncode:
        raise NoBox(f"docker import failed: {done.stderr.strip()[-300:]}; is the engine running?")


def _run(argv: list[str], env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=env)
    if done.returncode:
        raise NoBox(f"`{' '.join(argv[:3])}` failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout


def main() -> None:
    """Build and print the image's id."""
    told = argparse.ArgumentParser(description="Build the image of the Docker box.")
    told.add_argument("--offline", action="store_true", help="debootstrap and local wheels instead of a registry")
    told.add_argument("name", nargs="?", default=NAME)
    chosen = told.parse_args()
    print(build(chosen.offline, chosen.name))


if __name__ == "__main__":
    main()
