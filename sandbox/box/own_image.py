"""A Docker image of people's own for their training program, named by its digest alone.

Its own Python runs each job, without `site`: no `.pth` file, sitecustomize or usercustomize runs,
and only the confined job imports packages. Its entry point, command, user and folder do not count.
Refused is an image that would write, run or load something by itself: volumes, a health check, and
LD_PRELOAD or LD_AUDIT. All its files can be read by the jobs.
"""

import re
from collections.abc import Mapping
from typing import Any

from configs.build import need
from configs.errors import NoBox

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
SITES = (
    "/opt/box",
    *(f"/usr/local/lib/python3.{n}/site-packages" for n in range(9, 20)),
    *(f"/opt/venv/lib/python3.{n}/site-packages" for n in range(9, 20)),
    "/usr/lib/python3/dist-packages",
)
"""Folders of packages in an image, as far as it has them; jobs import from them in this order."""
LOADED = ("LD_PRELOAD", "LD_AUDIT")
"""Variables that let the loader run a library of the image in every program."""


def is_digest(named: str) -> bool:
    """Tell whether `box.environment` names an image and no folder."""
    return named.startswith("sha256:")


def need_digest(named: str, kind: str) -> None:
    """Raise BadInput unless an image is named by its whole digest, for the Docker box."""
    right = "the digest of an image with box=docker, `sha256:` and 64 hexadecimal digits, as"
    right += " `docker image inspect --format {{.Id}} NAME` tells it; a tag may move"
    need(bool(DIGEST.fullmatch(named)), "box.environment", named, right)
    need(
        kind == "docker", "box.kind", kind, "docker where box.environment is the digest of an image"
    )


def need_plain(named: str, found: Mapping[str, Any]) -> None:
    """Raise NoBox unless the engine's description of an image is that of the digest, and plain."""
    config = found.get("Config") or {}
    variables = [text.partition("=")[0] for text in config.get("Env") or ()]
    loaded = [name for name in variables if name in LOADED]
    for wrong, reason in (
        (found["Id"] != named, f"is {found['Id']} for the engine; name that"),
        (config.get("Volumes"), "declares a volume, which no limit of a job holds"),
        (config.get("Healthcheck"), "has a health check, which runs beside the job"),
        (loaded, f"sets {', '.join(loaded)}, which runs in every program of it"),
    ):
        if wrong:
            raise NoBox(f"the image {named[:19]} of box.environment {reason}")
