"""The process inside a namespace box that has imported torch and forks each job into namespaces of
its own.

Standard library only; runs as `python -I -S zygote.py CONTROL_FD SITE`, or in a container, for one
job that the container itself isolates, as `zygote.py once SITE`. It holds no secret, serves one
study and one role, and never loads a byte of a bundle: that happens in the fork, after the
namespaces, limits and capabilities are set.

A line that ends in `# defence: NAME` is a defence that a test takes away by its name.

Three processes: this one; C1, the job's collector, in the job's mount, net and ipc namespaces but
outside its pid namespace; C2, pid 1 of the job, which runs models.<role>.main(IN, OUT). When C2
ends the kernel kills whatever it started, and only then does C1 read the outputs.
"""

import array
import contextlib
import ctypes
import importlib
import json
import os
import re
import resource
import signal
import socket
import stat
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x20000,
    0x2000000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
PRELOAD = (
    "numpy",
    "torch",
    "safetensors",
    "safetensors.numpy",
    "safetensors.torch",
    "torch.nn.functional",
    "torch.optim",
)
SHARED = ("opt", "usr", "lib", "lib64", "etc", "dev")  # defence: host folders
ROOT = "/tmp/root"
libc = ctypes.CDLL(None, use_errno=True)


def call(code: int, what: str) -> None:
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    call(
        libc.mount(
            source.encode(), target.encode(), kind and kind.encode(), flags, data and data.encode()
        ),
        f"mount {target}",
    )


def receive(read: Callable[[int], bytes], size: int) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        part = read(min(1 << 20, size - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def request(read: Callable[[int], bytes]) -> dict[str, Any]:
    """Return the trusted side's header: limits, role, outputs, files."""
    return dict(json.loads(receive(read, struct.unpack(">I", receive(read, 4))[0])))


def isolate(uid: int, gid: int) -> None:
    """Enter new namespaces; the ids stay what they were."""
    spaces = NEWUSER | NEWNS | NEWIPC | NEWUTS | NEWCGROUP
    spaces |= NEWPID  # defence: process namespace
    spaces |= NEWNET  # defence: network namespace
    call(libc.unshare(spaces), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def build_root(told: dict[str, Any], link: socket.socket) -> None:
    """Make the job's own root: shared read-only parts, its own bundle, sized tmpfs to write to."""
    size = "mode=755"
    size += f",size={told['disk_bytes']},nr_inodes={told['files_most']}"  # defence: sized tmpfs
    mount("none", "/", None, REC | PRIVATE)
    os.makedirs(ROOT, exist_ok=True)
    mount("tmpfs", ROOT, "tmpfs", NOSUID | NODEV, "size=1m,mode=755")
    for name in SHARED:
        source, target = f"/{name}", f"{ROOT}/{name}"
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
        elif os.path.isdir(source):
            os.mkdir(target)
            mount(source, target, None, BIND | REC)
    for name in ("in", "out", "tmp", "proc", "dev/shm"):
        os.makedirs(f"{ROOT}/{name}", exist_ok=True)
        if name != "proc":
            mount("tmpfs", f"{ROOT}/{name}", "tmpfs", NOSUID | NODEV, size)  # defence: own tmpfs
    for name, length in told["files"]:
        path = Path(f"{ROOT}/in") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(receive(link.recv, length))
    fixed = REMOUNT | RDONLY | NOSUID | NODEV | BIND
    mount("none", f"{ROOT}/in", None, fixed)  # defence: read-only inputs


def enter_root() -> None:
    """As pid 1 of the job: mount /proc while the outer one is still there, then leave the outer
    root for good.
    """
    mount("proc", f"{ROOT}/proc", "proc", NOSUID | NODEV)  # defence: own proc
    os.chdir(ROOT)
    call(libc.syscall(155 if os.uname().machine == "x86_64" else 41, b".", b"."), "pivot_root")
    call(libc.umount2(b".", 2), "umount")
    os.chdir("/")
    fixed = REMOUNT | RDONLY | NOSUID | NODEV | BIND
    mount("none", "/", None, fixed)  # defence: read-only root


def confine(told: dict[str, Any]) -> None:
    """First to go when memory ends; limits per process as a backstop, no capability left, no new
    privileges.
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    held = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
    data = told["data_bytes"] + (int(held[1]) * 1024 if held else 0)
    for what, most in (
        (resource.RLIMIT_CORE, 0),  # defence: core dumps
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, told["disk_bytes"]),  # defence: file size
        (resource.RLIMIT_DATA, data),  # defence: data size
        (resource.RLIMIT_CPU, told["cpu_us"] // 1_000_000 + 2),
    ):
        resource.setrlimit(what, (most, most))
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # defence: capability bounds
    call(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    header, nothing = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    call(libc.capset(header, nothing), "capset")  # defence: capabilities
    landlock()  # defence: landlock
    filter_calls(bytes.fromhex(told["seccomp"]))  # defence: system call list


def landlock() -> None:
    """Where the kernel has Landlock: read everywhere, write to the three tmpfs and /dev/null, no
    signal or socket outside.
    """
    abi = libc.syscall(444, None, 0, 1)
    if abi < 1:
        return
    files = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    attributes = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    rules = libc.syscall(444, attributes, len(attributes), 0)
    call(min(rules, 0), "landlock")
    devices = 1 << 6 | 1 << 11
    for path, rights in (
        ("/", 1 | 4 | 8),
        ("/dev/null", 2 | 4),
        ("/tmp", files & ~devices),
        ("/out", files & ~devices),
        ("/dev/shm", files & ~devices),
    ):
        beneath = os.open(path, os.O_PATH)
        call(
            libc.syscall(445, rules, 1, struct.pack("=Qi", rights, beneath), 0), f"landlock {path}"
        )
        os.close(beneath)
    call(libc.syscall(446, rules, 0), "landlock")
    os.close(rules)


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("count", ctypes.c_ushort), ("code", ctypes.c_char_p))


def filter_calls(code: bytes) -> None:
    """Install the system call filter (seccomp.py), the last step before the bundle's code."""
    call(libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, code)), 0, 0), "seccomp")


def job(told: dict[str, Any], site: str, log: int) -> int:
    """Run the bundle's code; return the exit code."""
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)  # defence: no terminal
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 4096)  # defence: descriptors
    sys.stdout, sys.stderr = (
        open(1, "w", buffering=1, closefd=False),  # noqa: SIM115
        open(2, "w", buffering=1, closefd=False),  # noqa: SIM115
    )
    os.environ.clear()  # defence: environment
    os.environ.update(
        HOME="/tmp", PATH="", LC_ALL="C.UTF-8", OMP_NUM_THREADS="1", MKL_NUM_THREADS="1"
    )
    sys.path.insert(0, "/in")
    sys.argv = ["heirloop"]  # defence: no answers
    try:
        importlib.import_module(f"models.{told['role']}").main(Path("/in"), Path("/out"))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def collect(told: dict[str, Any], status: int) -> bytes:
    """Return the stream of allow-listed outputs: regular files with one link, none larger than
    allowed.
    """
    refused, files = "", []
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    flags |= os.O_NOFOLLOW  # defence: no links
    for name, most in told["outputs"].items():  # defence: named outputs
        try:
            fd = os.open(f"/out/{name}", flags)
        except FileNotFoundError:
            continue
        except OSError:
            refused = refused or f"{name} is a link or cannot be opened"  # defence: unopened files
            continue
        facts, plain = os.fstat(fd), True
        plain &= stat.S_ISREG(facts.st_mode)  # defence: regular files
        plain &= facts.st_nlink == 1  # defence: one link
        if not plain:
            refused = refused or f"{name} is not a regular file with one link"
        elif facts.st_size > most:
            refused = refused or f"{name} has {facts.st_size} bytes; at most {most} are taken"
        else:
            with open(fd, "rb", closefd=False) as file:
                files.append((name, file.read(most)))
        os.close(fd)
    header = json.dumps(
        {"exit": status, "refused": refused, "files": [[n, len(d)] for n, d in files]}
    ).encode()
    return struct.pack(">I", len(header)) + header + b"".join(d for _, d in files)


def serve(link: socket.socket, log: int, site: str) -> None:
    """C1: one job from its bytes to its outputs."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    uid, gid = os.getuid(), os.getgid()
    link.sendall(b"C")
    told = request(link.recv)
    isolate(uid, gid)
    build_root(told, link)
    ready, done = os.pipe()
    child = os.fork()
    if child == 0:
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
        code = 1
        try:
            enter_root()
            limit = told["processes"] + 8
            resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))  # defence: process limit
            confine(told)
            os.write(done, b"!")
            code = job(told, site, log)
        except BaseException:
            os.write(log, traceback.format_exc().encode())
        finally:
            os._exit(code & 0xFF)
    os.close(done)
    os.close(log)
    if not os.read(ready, 1):
        os._exit(3)
    os.chdir("/")
    _, status = os.waitpid(child, 0)
    link.sendall(collect(told, os.waitstatus_to_exitcode(status)))


def once(site: str) -> None:
    """In a container of its own, as pid 1: run one job from stdin, kill what it left, write its
    outputs to stdout.
    """
    preload(site)
    call(
        libc.prctl(4, 0, 0, 0, 0), "undumpable"
    )  # the job, of the same user, can neither trace this process nor open its files
    os.write(1, b"Z")
    told = request(lambda size: os.read(0, size))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            libc.prctl(4, 1, 0, 0, 0)
            confine(told)
            code = job(told, site, 2)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code & 0xFF)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while True:
            os.kill(-1, signal.SIGKILL)  # defence: nothing left
            os.waitpid(-1, 0)
    with open(1, "wb", closefd=False) as stream:
        stream.write(collect(told, os.waitstatus_to_exitcode(status)))  # defence: end


def preload(site: str) -> None:
    """Import the libraries that every job needs; nothing of any bundle."""
    sys.path.append(site)
    for name in PRELOAD:
        importlib.import_module(name)
    sys.modules["torch"].set_num_threads(1)


def main() -> None:
    """Import by name, say so, then fork once per request until the control socket closes."""
    control = socket.socket(fileno=int(sys.argv[1]))
    site = sys.argv[2]
    preload(site)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.sendall(b"Z")
    while True:
        message, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(8))
        if not message:
            return
        fds = array.array("i")
        for _, _, data in ancillary:
            fds.frombytes(data)
        if os.fork() == 0:
            code = 3
            try:
                control.close()
                serve(socket.socket(fileno=fds[0]), fds[1], site)
                code = 0
            except BaseException:
                os.write(fds[1], traceback.format_exc().encode())
            finally:
                os._exit(code)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    once(sys.argv[2]) if sys.argv[1] == "once" else main()
