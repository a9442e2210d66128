"""Where does a run lie? A ledger needs locks and shared memory that a network file system breaks.

SQLite's write-ahead log does not work over a network (https://sqlite.org/wal.html), and two
machines could each hold the lock of the same run. So such a folder is refused before anything is
written.
"""

import re
from pathlib import Path

from configs.errors import BadInput

NETWORK = (
    *("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "beegfs", "gpfs"),
    *("glusterfs", "fuse.ceph", "fuse.glusterfs", "fuse.sshfs", "fuse.rclone", "fuse.s3fs"),
)
"""Names by which Linux mounts file systems of other machines."""
MOUNTS = Path("/proc/self/mountinfo")


def need_local(folder: Path) -> None:
    """Raise BadInput where a folder, existing or not, lies on a network file system."""
    if (kind := find_kind(folder)) in NETWORK:
        raise BadInput(
            f"{folder} lies on a network file system ({kind}), where the locks of a ledger do not"
            " hold; name a folder of a local disk with runs=FOLDER, and copy the run afterwards"
        )


def find_kind(folder: Path) -> str:
    """Return the kind of file system that holds a folder; empty where the kernel has no list."""
    whole, found = folder.resolve(), ("", "")
    lines = MOUNTS.read_text(errors="surrogateescape").splitlines() if MOUNTS.exists() else []
    for line in lines:
        left, _, right = line.partition(" - ")
        place = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), left.split()[4])
        # A later line hides an earlier one of the same place.
        if whole.is_relative_to(place) and len(place) >= len(found[0]):
            found = place, right.split()[0]
    return found[1]
