from loop.archive import Archive, Facts
from sandbox.ledger import Ledger


def test_each_entry_is_folded_once_and_the_ledger_is_never_read_whole_again(tmp_path, monkeypatch):
    ledger, folded = Ledger.file(tmp_path / "ledger.sqlite", create=True), []
    real = Facts.fold
    monkeypatch.setattr(Facts, "fold", lambda self, entry: (folded.append(entry.sequence), real(self, entry))[1])
    monkeypatch.setattr(Ledger, "entries", lambda self: 1 / 0)
    archive = Archive(ledger)
    for number in range(1, 6):
        ledger.append("campaign-end", {"arm": "local", "repeat": number})
        assert len(archive.facts().ended) == number and len(archive.facts().ended) == number
    assert folded == [1, 2, 3, 4, 5]
