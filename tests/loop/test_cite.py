"""BibTeX of the software and of a study."""

import json
import re

import pytest
from click.testing import CliRunner
from studies import play

from configs.errors import VerificationFailed
from loop.command import main
from loop.export.cite import cite, tex, version
from sandbox.ledger import ENTRIES, Ledger


def fields(text):
    """Return kind and fields of each entry; every brace must close."""
    assert text.replace("\\{", "").replace("\\}", "").count("{") == text.replace("\\{", "").replace(
        "\\}", ""
    ).count("}")
    entries = re.findall(r"@(\w+)\{[^,]+,\n(.*?)^\}", text, re.M | re.S)
    return [
        (kind, dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.M))) for kind, body in entries
    ]


def test_a_finished_study_is_cited_by_its_root_its_signed_head_its_date_and_its_version(
    tmp_path,
    go,
):
    folder = play(tmp_path, go)
    result = CliRunner().invoke(main.cli, ["cite", str(folder)])
    (kind, software), (other, study) = fields(result.output)
    entries = Ledger.at(folder).entries()
    head = json.loads((folder / "checkpoints.jsonl").read_bytes().splitlines()[-1])
    assert (kind, other) == ("software", "misc") and software["version"] == version() == "0.1.0"
    assert software["author"] == "{The Heirloop authors}" and software["title"].startswith(
        "{Heirloop: "
    )
    assert (
        entries[0].hash in study["note"]
        and head["head"] in study["note"]
        and "ended" in study["note"]
    )
    assert (
        study["date"] == next(e.time for e in entries if e.kind == "end")[:10]
        and study["version"] == "1"
    )


def test_an_unfinished_study_says_so_and_a_broken_ledger_is_not_cited(tmp_path, go):
    folder = play(tmp_path, go, jobs=20)
    assert "unfinished" in cite(folder)
    with Ledger.at(folder).database.engine.begin() as connection:
        connection.execute(ENTRIES.update().where(ENTRIES.c.sequence == 3).values(bytes=b"{}"))
    with pytest.raises(VerificationFailed, match="entry 3 has wrong bytes"):
        cite(folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5%", r"a\_b \& 5\%"),
        ("{x}", r"\{x\}"),
        ("\\input", r"\textbackslash{}input"),
        ("$#~^", r"\$\#\textasciitilde{}\textasciicircum{}"),
        ("\u202ex", "<U+202E>x"),
    ],
)
def test_what_tex_would_read_is_printed(text, expected):
    assert tex(text) == expected
