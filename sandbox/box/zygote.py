"""The process inside a box. It imports torch, and then forks a child for each job.

`zygote.py CONTROL_FD SITE` serves a namespace box, whose children enter namespaces of their own;
`zygote.py once SITE` a container, which isolates its single job itself. The process holds no secret
and loads no byte of a bundle, or of people's own environment (`zygote.py CONTROL_FD "" SITE`): its
child does, after namespaces, limits and capabilities. This is one file and needs the standard
library alone. Tests remove lines by `# defence: NAME`.

A namespace box has three processes. This one forks C1, the collector, which is in the job's mount,
net and ipc namespaces, not in its pid namespace. C1 forks C2, pid 1 of the job, which runs
models.<role>.main(IN, OUT). When C2 ends, the kernel kills its children; then C1 reads the outputs.
"""

import contextlib
import ctypes
import importlib.machinery
import json
import os
import re
import resource
import runpy
import signal
import socket
import stat
import struct
import sys
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
RDONLY, NOSUID, NODEV, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
FIXED = REMOUNT | RDONLY | NOSUID | NODEV | BIND
PRELOAD = ("numpy", "safetensors.numpy", "safetensors.torch", "torch.nn.functional", "torch.optim")
SHARED = ("opt", "usr", "lib", "lib64", "etc", "dev", "doors")  # defence: host folders
ROOT = "/tmp/root"
libc = ctypes.CDLL(None, use_errno=True)


def call(code: int, title: str) -> None:
    """Raise OSError for a failed system call."""
    if code != 0:
        raise OSError(ctypes.get_errno(), f"{title}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    """Mount a file system."""
    texts = [text and text.encode() for text in (source, target, kind, data)]
    call(libc.mount(*texts[:3], flags, texts[3]), f"mount {target}")


def receive(read: Callable[[int], bytes], size: int) -> bytes:
    """Read exactly `size` bytes; raise EOFError at an early end."""
    parts = bytearray()
    while len(parts) < size:
        if not (part := read(min(1 << 20, size - len(parts)))):
            raise EOFError
        parts += part
    return bytes(parts)


def read_order(read: Callable[[int], bytes]) -> dict[str, Any]:
    """Return the trusted side's order: limits, role, outputs, files."""
    return dict(json.loads(receive(read, struct.unpack(">I", receive(read, 4))[0])))


def isolate() -> None:
    """Enter new namespaces, with the same user and group."""
    uid, gid = os.getuid(), os.getgid()
    spaces = NEWUSER | NEWNS | NEWIPC | NEWUTS | NEWCGROUP
    spaces |= NEWPID  # defence: process namespace
    spaces |= NEWNET  # defence: network namespace
    call(libc.unshare(spaces), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def build_root(order: dict[str, Any], link: socket.socket) -> None:
    """Make the root of the job: shared read-only parts, its bundle, and sized tmpfs to write to."""
    size = "mode=755"
    size += f",size={order['disk_bytes']},nr_inodes={order['files_most']}"  # defence: sized tmpfs
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
    for name, length in order["files"]:
        path = Path(f"{ROOT}/in") / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(receive(link.recv, length))
    mount("none", f"{ROOT}/in", None, FIXED)  # defence: read-only inputs


def enter_root() -> None:
    """As pid 1 of the job, leave the outer root for good; its /proc is needed to mount ours."""
    mount("proc", f"{ROOT}/proc", "proc", NOSUID | NODEV)  # defence: own proc
    os.chdir(ROOT)
    call(libc.syscall(155 if os.uname().machine == "x86_64" else 41, b".", b"."), "pivot_root")
    call(libc.umount2(b".", 2), "umount")
    os.chdir("/")
    mount("none", "/", None, FIXED)  # defence: read-only root


def confine(order: dict[str, Any]) -> None:
    """Fork a port's forwarder; then limit this process, drop capabilities and new privileges."""
    if order["ports"]:
        runpy.run_path("/opt/forward.py")["start"](order, confine)
    with contextlib.suppress(OSError):  # the first process to be killed when memory ends
        Path("/proc/self/oom_score_adj").write_text("1000")
    used = re.search(r"VmData:\s+(\d+)", Path("/proc/self/status").read_text())
    data = order["data_bytes"] + (int(used[1]) * 1024 if used else 0)
    for name, limit in (
        (resource.RLIMIT_CORE, 0),  # defence: core dumps
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, order["disk_bytes"]),  # defence: file size
        (resource.RLIMIT_DATA, data),  # defence: data size
        (resource.RLIMIT_CPU, order["cpu_us"] // 1_000_000 + 2),
    ):
        resource.setrlimit(name, (limit, limit))
    for capability in range(64):
        libc.prctl(24, capability, 0, 0, 0)  # defence: capability bounds
    call(libc.prctl(38, 1, 0, 0, 0), "no_new_privs")
    header = struct.pack("=Ii", 0x20080522, 0)
    call(libc.capset(header, bytes(24)), "capset")  # defence: capabilities
    landlock(order["ports"], order["devices"])  # defence: landlock
    filter_calls(bytes.fromhex(order["seccomp"]))  # defence: system call list


def landlock(ports: list[int], devices: list[str]) -> None:
    """Restrict writes to tmpfs, /dev/null and `devices`, TCP to `ports`, signals and sockets."""
    if (abi := libc.syscall(444, None, 0, 1)) < 1 and not ports:
        return  # a kernel without Landlock
    files = (1 << (13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16)) - 1
    attributes = struct.pack("QQQ", files, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    rules = libc.syscall(444, attributes, len(attributes), 0)
    call(min(rules, 0), "landlock")
    own = dict.fromkeys(devices, 2 | 4 | files & 1 << 15)  # read, write, ioctl
    allowed = {"/": 1 | 4 | 8, "/dev/null": 2 | 4, **own}
    for folder in ("/tmp", "/out", "/dev/shm"):
        allowed[folder] = files & ~(1 << 6 | 1 << 11)  # no devices
    for path, rights in allowed.items():
        beneath = os.open(path, os.O_PATH)
        rule = struct.pack("=Qi", rights, beneath)
        call(libc.syscall(445, rules, 1, rule, 0), f"landlock {path}")
        os.close(beneath)
    for port in ports:  # to connect to; an older kernel refuses the rule, and so the job
        call(libc.syscall(445, rules, 2, struct.pack("QQ", 2, port), 0), "landlock port")
    call(libc.syscall(446, rules, 0), "landlock")
    os.close(rules)


def filter_calls(code: bytes) -> None:
    """Install the system call filter (seccomp.py), the last step before the bundle's code."""
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HP", len(code) // 8, ctypes.addressof(held))  # struct sock_fprog
    call(libc.prctl(22, 2, program, 0, 0), "seccomp")


def run_job(order: dict[str, Any], log: int) -> int:
    """Run the bundle's code; return the exit code."""
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)  # defence: no terminal
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.closerange(3, 4096)  # defence: descriptors
    sys.stdout = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    os.environ.clear()  # defence: environment
    os.environ.update(order["environment"])
    sys.path[:] = ["/in", *sys.path, *sys.argv[3:]]
    sys.argv = ["heirloop"]  # defence: no answers
    try:
        importlib.import_module(f"models.{order['role']}").main(Path("/in"), Path("/out"))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
    return 0


def collect(order: dict[str, Any], status: int) -> bytes:
    """Return the stream of outputs: allow-listed regular files with one link, within their size."""
    refused, files = "", list[tuple[str, bytes]]()
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    flags |= os.O_NOFOLLOW  # defence: no links
    for name, most in order["outputs"].items():  # defence: named outputs
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
    sizes = [(name, len(data)) for name, data in files]
    header = json.dumps({"exit": status, "refused": refused, "files": sizes}).encode()
    return struct.pack(">I", len(header)) + header + b"".join(data for _, data in files)


def leave(act: Callable[[], int], log: int, failure: int) -> NoReturn:
    """End this forked process with the code of `act`, or with `failure` and a traceback."""
    code = failure
    try:
        code = act()
    except BaseException:
        os.write(log, traceback.format_exc().encode())
    finally:
        os._exit(code & 0xFF)


def serve(control: socket.socket, fd: int, log: int) -> int:
    """As C1, run one job from its bytes to its outputs; return 0."""
    control.close()
    link = socket.socket(fileno=fd)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    libc.prctl(1, signal.SIGKILL, 0, 0, 0)
    link.sendall(b"C")
    order = read_order(link.recv)
    isolate()
    build_root(order, link)

    def start() -> int:
        os.setsid()  # defence: own process group
        libc.prctl(1, signal.SIGKILL, 0, 0, 0)
        enter_root()
        most = (order["processes"] + 8,) * 2
        resource.setrlimit(resource.RLIMIT_NPROC, most)  # defence: process limit
        confine(order)
        return run_job(order, log)

    if (child := os.fork()) == 0:
        leave(start, log, 1)
    os.close(log)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    signal.sigtimedwait((), 0.2 * (code == -signal.SIGKILL))  # a kill of the group takes it, too
    os.chdir("/")
    link.sendall(collect(order, code))
    return 0


def once(site: str) -> None:
    """As pid 1 of a container, run one job from stdin and write its outputs to stdout."""
    preload(site)
    # The job has the same user; it can neither trace this process nor open its files.
    call(libc.prctl(4, 0, 0, 0, 0), "undumpable")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # defence: deaf collector
    os.write(1, b"Z")
    order = read_order(lambda size: os.read(0, size))

    def start() -> int:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        libc.prctl(4, 1, 0, 0, 0)
        confine(order)
        return run_job(order, 2)

    if (child := os.fork()) == 0:
        leave(start, 2, 1)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        while True:
            os.kill(-1, signal.SIGKILL)  # defence: nothing left
            os.waitpid(-1, 0)
    with open(1, "wb", closefd=False) as stream:
        stream.write(collect(order, os.waitstatus_to_exitcode(status)))  # defence: end


def preload(site: str) -> None:
    """Import the libraries of every job, and nothing of any bundle."""
    if site:
        sys.path.append(site)
        for name in PRELOAD:
            importlib.import_module(name)
        sys.modules["torch"].set_num_threads(1)


def main() -> None:
    """Import, compile what every bundle may hold, report ready, and fork for each request."""
    control = socket.socket(fileno=int(sys.argv[1]))
    preload(sys.argv[2])
    shipped = [(text.encode(), f"/in/{name}") for name, text in read_order(control.recv).items()]
    known = {key: compile(*key, "exec", dont_inherit=True) for key in shipped}
    anew = (loader := vars(importlib.machinery)["SourceFileLoader"]).source_to_code
    loader.source_to_code = lambda own, *key, **more: known.get(key) or anew(own, *key, **more)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.sendall(b"Z")
    while (received := socket.recv_fds(control, 1, 2))[0]:
        if os.fork() == 0:
            leave(partial(serve, control, *received[1]), received[1][1], 3)
        for fd in received[1]:
            os.close(fd)


if __name__ == "__main__":
    once(sys.argv[2]) if sys.argv[1] == "once" else main()
