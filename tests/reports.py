"""Make the report of a small study, and read it as a browser or a program would."""

import json
import sqlite3
from html.parser import HTMLParser

from fakes import FakeBox
from studies import better, config, mandate

from configs.build import parse
from loop.report.shape import Report
from sandbox.ledger import Ledger


def play_two_arms(tmp_path, go, name="t", *more, quality=better):
    cfg = config(
        tmp_path, f"study.name={name}", "study.generations=2", "study.arms=[local, random]", *more
    )
    mandate(cfg)
    go(cfg, FakeBox(quality))
    return tmp_path / "runs" / name


def cut_from(folder, kind):
    """Take the first entry of a kind and all that follow it from a ledger."""
    book = Ledger.at(folder)
    at = next(e.sequence for e in book.entries() if e.kind == kind)
    book.close()
    with sqlite3.connect(folder / "ledger.sqlite") as db:
        db.execute("delete from entries where sequence >= ?", (at,))


def read_report(folder):
    """report.json, read back through its own records."""
    return parse(Report, json.loads((folder / "report.json").read_text()))


def rows_of(found, name, study=""):
    return [
        row
        for s in found.sections
        for t in s.tables
        if (t.name, t.study) == (name, study)
        for row in t.rows
    ]


def text_of(found, section):
    return " ".join(one.text for s in found.sections if s.name == section for one in s.lines)


class Tags(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self, source):
        super().__init__()
        self.seen, self.ids, self.links, self.loads = set(), [], [], []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href") and value.startswith("#"):
                self.links.append(value[1:])
            elif name in (
                "href",
                "xlink:href",
                "src",
                "srcset",
                "action",
                "data",
                "poster",
                "background",
            ):
                self.loads.append(value)
