"""Expected verdicts of the attacks. The programs lie in payloads/ID.txt; those without one are tried at the door (loop/attack.py).

A row passes only if nothing got through, the outcome is the expected one, and the host is as it was. For each row one defence
is named; `tests/sandbox/test_attacks.py` takes it away and the same program must then get through.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

By = Literal["gate", "budget", "box", "collector", "evaluator", "ledger"]
PAYLOADS = Path(__file__).parent / "payloads"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One row."""

    id: str
    "row of the catalogue, with a letter for a relative"
    what: str
    "what is tried"
    by: By
    "who must stop it"
    defence: str
    "the one mechanism that is taken away in the ablation"
    expect: str = "ok: exit 0"
    "pattern of `status: detail`, or of the refusal"
    after: str = ""
    "pattern of the evaluator's reason, for outputs that the box lets out"
    incident: bool = False
    "whether the ledger gets an incident"
    role: Literal["train", "predict"] = "train"
    "which job carries it"
    again: str = ""
    "a second program that runs afterwards in the same box and must find nothing"
    beside: str = ""
    "a second program that runs at the same time in the same box and must end well"

    def program(self) -> str:
        """Return the hostile program; empty for an attack at the door."""
        return text(self.id)


def text(name: str) -> str:
    """Return a hostile program with what every one begins with; empty where there is none of that name."""
    path = PAYLOADS / f"{name}.txt"
    return (PAYLOADS / "prelude.txt").read_text() + path.read_text() if path.exists() else ""


def _limit(what: str) -> str:
    return f"limit: {what}"


SIZED, READ_ONLY, CALLS = "sized tmpfs", "read-only mounts", "system call list"
ATTACKS: tuple[Attack, ...] = (
    Attack(id="S01", what="fork bomb", by="box", defence="process limit", expect=_limit("processes"), incident=True),
    Attack(id="S01b", what="thread bomb", by="box", defence="process limit", expect=_limit("processes"), incident=True),
    Attack(id="S02", what="memory in many children", by="box", defence="memory limit", expect=_limit("memory"), incident=True),
    Attack(id="S02b", what="shared memory mapping", by="box", defence="memory limit", expect=_limit("memory"), incident=True),
    Attack(id="S03", what="fill /dev/shm", by="box", defence=SIZED),
    Attack(id="S04", what="fill the disk", by="box", defence=SIZED),
    Attack(id="S04b", what="100,000 files", by="box", defence=SIZED),
    Attack(id="S04c", what="sparse terabyte", by="box", defence="file size limit"),
    Attack(id="S04d", what="write outside the three folders", by="box", defence=READ_ONLY),
    Attack(id="S05", what="endless line on stdout", by="box", defence="output limit", expect=_limit("output"), incident=True),
    Attack(id="S05b", what="binary flood on stderr", by="box", defence="output limit", expect=_limit("output"), incident=True),
    Attack(id="S06", what="output is a symlink", by="collector", defence="no links followed", expect="program: .* is a link", incident=True),
    Attack(id="S06b", what="output is a hard link", by="collector", defence="one link", expect="program: .* not a regular file", incident=True),
    Attack(id="S06c", what="output is a FIFO", by="collector", defence="regular files", expect="program: .* not a regular file", incident=True),
    Attack(id="S06d", what="output is a socket", by="collector", defence="regular files", incident=True,
           expect="program: .* (link or cannot be opened|not a regular)"),
    Attack(id="S06e", what="output is a folder or a device", by="collector", defence="regular files",
           expect="program: .* not a regular file", incident=True),
    Attack(id="S06f", what="other names, other folders", by="collector", defence="allow-listed names"),
    Attack(id="S07", what="swap the output while it is collected", by="collector", defence="no links followed",
           expect="(ok: exit 0|program: .* (is a link|not a regular file))"),
    Attack(id="S08", what="a zip bomb as weights", by="evaluator", defence="strict header", after="malformed"),
    Attack(id="S09", what="network and DNS", by="box", defence="no network"),
    Attack(id="S10", what="host sockets", by="box", defence="nothing of the host mounted"),
    Attack(id="S11", what="abstract sockets", by="box", defence="no network"),
    Attack(id="S12", what="vsock, netlink, io_uring, keys, bpf, perf", by="box", defence=CALLS),
    Attack(id="S13", what="memory and environment of other processes", by="box", defence=CALLS),
    Attack(id="S14", what="signals to the supervisor", by="box", defence="own process namespace"),
    Attack(id="S15", what="inherited descriptors", by="box", defence="descriptors closed"),
    Attack(id="S16", what="secrets in the environment", by="box", defence="empty environment"),
    Attack(id="S17", what="core dumps", by="box", defence="no core dumps", expect="program: signal (11|6)"),
    Attack(id="S18", what="capabilities, namespaces, mounts", by="box", defence=CALLS),
    Attack(id="S19", what="control groups and /proc/sys", by="box", defence=READ_ONLY),
    Attack(id="S20", what="privileged container, host mounts", by="box", defence="specification checked", expect="refused"),
    Attack(id="S21", what="leave something for the next job", by="box", defence="fresh tmpfs", again="S21"),
    Attack(id="S22", what="push keys into a terminal", by="box", defence="no terminal"),
    Attack(id="S24", what="no box: run anyway", by="box", defence="no unsandboxed retry", expect="there is no box environment"),
    Attack(id="W01", what="poison the zygote and the next job", by="box", defence="fresh tmpfs", again="W02"),
    Attack(id="W03", what="attack a job that runs beside", by="box", defence="fresh tmpfs", beside="W03b"),
    Attack(id="W04", what="attack the zygote", by="box", defence="own process namespace", again="W02"),
    Attack(id="B01", what="split the budget over sub-accounts", by="budget", defence="root account", expect="account root has"),
    Attack(id="B03", what="crash before settlement", by="budget", defence="the reservation stands", expect="charged in full"),
    Attack(id="B04", what="negative, NaN, huge, bool amounts", by="budget", defence="whole numbers", expect="whole number"),
    Attack(id="B05", what="turn the clock back", by="box", defence="clock outside", expect=_limit("cpu"), incident=True),
    Attack(id="B06", what="double fork to escape the charge", by="box", defence="charge from the kernel's counter"),
    Attack(id="B07", what="many children under a limit per process", by="box", defence="CPU limit", expect=_limit("cpu"), incident=True),
    Attack(id="B08", what="survive as a daemon", by="box", defence="kill of everything"),
    Attack(id="B08b", what="ignore signals and sleep", by="box", defence="wall limit", expect=_limit("wall"), incident=True),
    Attack(id="B09", what="stop oneself to dodge polling", by="box", defence="wall limit", expect=_limit("wall"), incident=True),
    Attack(id="B10", what="delete or cut the ledger", by="ledger", defence="signed heads outside", expect="entries .* are missing"),
    Attack(id="B11", what="a slow successor in evaluation", by="box", defence="CPU limit", expect=_limit("cpu"), incident=True, role="predict"),
    Attack(id="B13", what="raise one's own limits", by="box", defence=CALLS),
    Attack(id="B14", what="a checker that fails", by="box", defence="unknown stops the job", expect="box: "),
    Attack(id="B15", what="devices that nobody reserved", by="box", defence="no device nodes"),
    Attack(id="E01", what="pickle as weights", by="evaluator", defence="safetensors only", after="malformed"),
    Attack(id="E01b", what="torch.save as weights", by="evaluator", defence="safetensors only", after="malformed"),
    Attack(id="E02", what="_target_, ${oc.env:} in a proposal", by="gate", defence="typed schema", expect="unknown key|should be"),
    Attack(id="E03", what="YAML tags and includes in a proposal", by="gate", defence="strict JSON", expect="not strict JSON"),
    Attack(id="E04", what="sitecustomize, .pth, conftest", by="box", defence=READ_ONLY),
    Attack(id="E05", what="walk memory for answers", by="box", defence="trusted code stays outside"),
    Attack(id="E06", what="fake metrics", by="evaluator", defence="scores from predictions", after="malformed", role="predict"),
    Attack(id="E07", what="look for held-out data", by="box", defence="nothing of the host mounted"),
    Attack(id="E11", what="copy known weights, hard-coded seed", by="evaluator", defence="equal weights under other seeds", expect="equal"),
    Attack(id="E12", what="code in metadata", by="evaluator", defence="strict header", after="holds metadata"),
    Attack(id="E13", what="NaN weights", by="evaluator", defence="finite weights", after="NaN"),
    Attack(id="E13b", what="a shape of 16 exabytes", by="evaluator", defence="strict header", after="malformed"),
    Attack(id="E13c", what="duplicate keys in the header", by="evaluator", defence="strict header", after="malformed"),
    Attack(id="E13d", what="a file beyond its cap", by="collector", defence="size caps", incident=True,
           expect="program: .* bytes; at most|limit: output"),
    Attack(id="E16", what="change the training data", by="box", defence=READ_ONLY),
    Attack(id="A01", what="swap the bundle after approval", by="gate", defence="bytes checked at launch", expect="wrong bytes|does not match"),
    Attack(id="A02", what="use a grant twice", by="gate", defence="consumed once", expect="not valid or was used"),
    Attack(id="A03", what="a decision of another study", by="gate", defence="study in the signature", expect="refused (approval|mandate)"),
    Attack(id="A04", what="an expired decision", by="gate", defence="expiry", expect="refused mandate"),
    Attack(id="A19", what="duplicate keys, NaN, other Unicode forms", by="gate", defence="strict JSON", expect="strict JSON"),
    Attack(id="A20", what="crash between grant and run", by="gate", defence="one grant per slot", expect="not valid or was used"),
)  # fmt: skip
