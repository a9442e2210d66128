"""Connect to the Docker engine that the Docker client would use, and say how to start it.

The order is the client's: DOCKER_HOST, then DOCKER_CONTEXT, then the current context of the
client's settings, then the usual socket.
"""

import hashlib
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

from configs.errors import NoBox

USUAL = "default"
"""Name of the context without settings of its own."""


def connect(timeout: int, version: str = "") -> Any:
    """Return a connection to the engine; with a `version` it asks the engine nothing yet.

    Raises ImportError without the SDK, and NoBox for a context that does not exist.
    """
    import docker

    options: dict[str, Any] = {"timeout": timeout} | ({"version": version} if version else {})
    context = name_context()
    if context == USUAL:
        # An old or a new SDK: neither shall read contexts by itself.
        settings = docker.utils.kwargs_from_env()
        return docker.DockerClient(**settings, **options).api
    host, tls = _read_context(context)
    return docker.DockerClient(
        base_url=host, tls=tls, use_ssh_client=host.startswith("ssh://"), **options
    ).api


def name_context() -> str:
    """Return the name of the context that the client would use."""
    if os.environ.get("DOCKER_HOST"):
        return USUAL
    if os.environ.get("DOCKER_CONTEXT"):
        return os.environ["DOCKER_CONTEXT"]
    try:
        return str(json.loads((_folder() / "config.json").read_bytes())["currentContext"]) or USUAL
    except (OSError, ValueError, KeyError, TypeError):
        return USUAL


def explain_silence(error: BaseException) -> str:
    """Return a sentence on an engine that does not answer, with the remedy of this platform."""
    context = name_context()
    where = os.environ.get("DOCKER_HOST") or ("" if context == USUAL else f"context {context}")
    place = f" at {where}" if where else ""
    if "Permission denied" in str(error):
        remedy = "its socket is closed to you: `sudo usermod -aG docker $USER`, then log in again"
    else:
        remedy = f"start it ({_remedy()})"
    return f"no Docker engine answers{place} ({type(error).__name__}); {remedy}"


def _remedy() -> str:
    """Return how to start an engine here."""
    if sys.platform == "darwin":
        return "open Docker Desktop, or `colima start`"
    if sys.platform == "win32" or "microsoft" in platform.release().lower():
        return "start Docker Desktop with its WSL integration, or `sudo service docker start`"
    if Path("/run/systemd/system").exists():
        return "`sudo systemctl start docker`"
    return "`sudo service docker start`, or `sudo dockerd`"


def _folder() -> Path:
    return Path(os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker"))


def _read_context(name: str) -> tuple[str, Any]:
    """Return (address, TLS settings) of a context of the Docker client."""
    ident = hashlib.sha256(name.encode()).hexdigest()
    contexts = _folder() / "contexts"
    try:
        facts = json.loads((contexts / "meta" / ident / "meta.json").read_bytes())
        endpoint = facts["Endpoints"]["docker"]
        host = str(endpoint["Host"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NoBox(
            f"the Docker context is {name!r}, and {contexts} has none of that name; `docker context"
            " ls` lists them, DOCKER_CONTEXT chooses"
        ) from None
    return host, _read_tls(contexts / "tls" / ident / "docker", endpoint)


def _read_tls(folder: Path, endpoint: dict[str, Any]) -> Any:
    """Return the TLS settings of a context, or False where it has no certificates."""
    if not folder.is_dir():
        return False
    from docker.tls import TLSConfig

    files = {path.stem: str(path) for path in folder.iterdir()}
    pair = (files["cert"], files["key"]) if {"cert", "key"} <= files.keys() else None
    verify = not endpoint.get("SkipTLSVerify", False)
    return TLSConfig(client_cert=pair, ca_cert=files.get("ca"), verify=verify)
