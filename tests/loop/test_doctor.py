"""The doctor proves what holds, finds what does not, and says it in one sentence."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from conftest import ROOT, need_box, on
from defences import MARKED, instead
from fakes import FakeBox, outcome

from configs.errors import NoBox
from configs.settings.box import Box
from evals.attacks.table import ATTACKS
from loop.attack import doctor, probes
from loop.command import main, prove
from loop.plan import source
from loop.study import box as study_box
from sandbox.box import cgroup, namespace
from sandbox.box.docker import DockerBox
from sandbox.box.namespace import NamespaceBox

MAKE = {
    "namespace": lambda: NamespaceBox(ROOT / ".box"),
    "docker": lambda: DockerBox("heirloop-box", warm=True),
}


@pytest.mark.parametrize("kind", [on("namespace"), on("docker")])
def test_every_promise_is_proved_with_a_figure(kind):
    need_box(MAKE[kind], kind).close()
    rows, tiers = doctor.doctor({kind: MAKE[kind]}, ROOT)
    assert [(row["probe"], row["figure"]) for row in rows if not row["proved"]] == []
    assert tiers[kind] in ("A", "B", "C") and all(row["figure"] for row in rows)
    assert len(rows) == 1 + len(probes.DENIALS) + len(probes.list_probes(tiers[kind]))
    packages = next(row["figure"] for row in rows if row["probe"] == "D01")
    assert "torch" in packages and "sqlalchemy" not in packages.lower()


def test_probes_are_attacks_of_the_catalogue():
    catalogue = {attack.id for attack in ATTACKS} | {"D01", "D02"}
    limits = {probe.id for tier in "ABC" for probe in probes.list_probes(tier)}
    assert {*probes.DENIALS, *limits} <= catalogue


def test_a_missing_defence_is_found_and_opens_no_tier(monkeypatch, tmp_path):
    need_box(MAKE["namespace"]).close()
    for name in MARKED:
        (tmp_path / name).write_text((namespace.HERE / name).read_text())
    source = (namespace.HERE / "zygote.py").read_text()
    (tmp_path / "zygote.py").write_text(instead(source, "system call list"))
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    monkeypatch.setattr(namespace, "HERE", tmp_path)
    real = cgroup.create
    monkeypatch.setattr(
        cgroup,
        "create",
        lambda name, limits, *a: real(name, replace(limits, memory_bytes=8_000_000_000), *a),
    )
    rows, tiers = doctor.doctor({"namespace": MAKE["namespace"]}, ROOT)
    wrong = {row["probe"] for row in rows if not row["proved"]}
    assert {"S12", "S13"} <= wrong and tiers == {}
    assert ("S02" in wrong) is cgroup.available()  # without control groups nobody promises it


def test_tier_c_promises_less_and_says_so(monkeypatch):
    need_box(MAKE["namespace"]).close()
    monkeypatch.setattr(cgroup, "create", lambda *_: None)
    rows, tiers = doctor.doctor({"namespace": MAKE["namespace"]}, ROOT)
    assert [(row["probe"], row["figure"]) for row in rows if not row["proved"]] == [] and tiers == {
        "namespace": "C"
    }
    assert any("no limit over several" in row["promised"] for row in rows)
    assert next(row["figure"] for row in rows if row["probe"] == "B06").endswith(
        "charged (bound), 1.2 s burnt"
    )


class TestCommand:
    def run(self, monkeypatch, box, *arguments):
        def make(*_, **__):
            if isinstance(box, Exception):
                raise box
            return box

        monkeypatch.setattr(prove, "NamespaceBox", make)
        with pytest.raises(SystemExit) as left:
            monkeypatch.setattr(
                "sys.argv", ["heirloop", "doctor", "--box", "namespace", *arguments]
            )
            main.main()
        return left.value.code

    def test_no_box_is_exit_7_with_the_remedy(self, monkeypatch, capsys):
        assert self.run(monkeypatch, NoBox("user namespaces are closed; do this"), "--json") == 7
        report = json.loads(capsys.readouterr().out)
        assert report["tier"] == "" and report["rows"][0] | {"figure": ""} == {
            "box": "namespace",
            "probe": "start",
            "promised": "a job runs",
            "proved": False,
            "figure": "",
        }
        assert report["rows"][0]["figure"] == "user namespaces are closed; do this"

    def test_a_box_that_holds_nothing_is_exit_6_and_proves_no_study(self, monkeypatch, capsys):
        box = FakeBox(lambda order: 1.0, lambda execution: outcome())
        assert self.run(monkeypatch, box) == 6
        assert "promises that do not hold here: fake E07" in capsys.readouterr().err
        assert study_box.day_proved(box) == ""

    def test_a_broken_box_is_one_row(self, monkeypatch, capsys):
        box = FakeBox(lambda order: 1.0, lambda execution: outcome("box", "the engine failed"))
        assert self.run(monkeypatch, box, "--json") == 7
        assert [row["figure"] for row in json.loads(capsys.readouterr().out)["rows"]] == [
            "the engine failed"
        ]


def test_what_was_proved_stands_in_the_next_study_root_of_this_machine_alone(monkeypatch):
    box = FakeBox(lambda order: 1.0)
    study_box.remember_tiers({"fake": "C", "docker": "B"})
    assert study_box.day_proved(box) == time.strftime("%Y-%m-%d", time.gmtime())
    box.tier = "B"
    assert study_box.day_proved(box) == ""
    box.tier = "C"
    monkeypatch.setattr(study_box, "_machine", lambda: "another")
    assert study_box.day_proved(box) == ""


def test_help_names_the_command():
    assert (
        "Try every promise of each box" in CliRunner().invoke(main.cli, ["doctor", "--help"]).output
    )


ORDINARY = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
from loop.attack.doctor import doctor
from sandbox.box.namespace import NamespaceBox
print(json.dumps(doctor({"namespace": lambda: NamespaceBox(Path(sys.argv[1]))}, Path(sys.argv[2]))))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="whoever runs this is an ordinary user already")
def test_an_ordinary_user_has_tier_c_and_every_promise_of_it(tmp_path_factory):
    """The same box, started by uid 65534 with the system's Python, without any writable control
    group.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    python, packages = Path(f"/usr/bin/{version}"), ROOT / ".venv/lib" / version / "site-packages"
    ordinary = {"user": 65534, "group": 65534, "extra_groups": []}
    seen = subprocess.run(
        ["/bin/ls", packages / "click", ROOT / ".box/lib" / version / "site-packages"],
        capture_output=True,
        **ordinary,
    )
    if not python.exists() or seen.returncode != 0:
        pytest.skip(f"needs {python} and a checkout that an ordinary user can read")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "box/bin").mkdir(parents=True)
        (folder / "box/lib").symlink_to(ROOT / ".box/lib")
        (folder / "box/bin/python").symlink_to(python)
        os.chown(folder, 65534, 65534)
        environment = {
            "PYTHONPATH": f"{ROOT}:{packages}",
            "HEIRLOOP_HOME": f"{folder}/home",
            "TMPDIR": str(folder),
        }
        done = subprocess.run(
            [python, "-c", ORDINARY, folder / "box", ROOT],
            capture_output=True,
            text=True,
            env=environment,
            cwd="/",
            **ordinary,
        )
    try:
        rows, tiers = json.loads(done.stdout)
    except ValueError:
        raise AssertionError(done.stderr[-2000:]) from None
    if tiers == {} and "user namespaces are closed" in rows[0]["figure"]:
        pytest.skip(rows[0]["figure"])
    assert [(row["probe"], row["figure"]) for row in rows if not row["proved"]] == [] and tiers == {
        "namespace": "C"
    }


def test_the_warm_box_of_a_study_compiles_the_files_that_its_bundles_begin_with(monkeypatch):
    given, made = {}, SimpleNamespace(prove=lambda: None, tier="B")
    monkeypatch.setattr(namespace, "NamespaceBox", lambda *_, **more: given.update(more) or made)
    assert study_box.make_real_box(Box(kind="namespace")) is made
    assert given["shipped"] == source() and b"def main" in given["shipped"]["models/train.py"]
