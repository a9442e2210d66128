"""Print the manual of the ledger's entries: `python -m configs.entries`."""

from configs.entries.manual import write_manual

if __name__ == "__main__":
    print(write_manual(), end="")
