"""A PostgreSQL cluster of a test run's own, on loopback, and ledgers in files and on it."""

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
import uuid
from contextlib import closing
from pathlib import Path

from sandbox import postgres
from sandbox.address import Address
from sandbox.heads import open_server
from sandbox.ledger import Ledger

PASSWORD = "hunter2-of-a-test"
SCHEMA = "heirloop_t"


def find_programs():
    """Return the folder of PostgreSQL's programs, None where it or its driver is missing."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return None
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    initdb = shutil.which("initdb")
    return folders[-1] if folders else Path(initdb).parent if initdb else None


class Cluster:
    """A cluster under a user of its own; its files lie in memory, so fsync costs nothing."""

    def __init__(self, programs):
        self._programs, self._root = programs, os.geteuid() == 0
        where = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="heirloop-pg-", dir=where))
        (self.folder / "password").write_text(PASSWORD)
        if self._root:
            for path in (self.folder, self.folder / "password"):
                shutil.chown(path, "postgres", "postgres")
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._call(
            *("initdb", "-D", "data", "-U", "heirloop", "-A", "scram-sha-256", "--no-sync"),
            *("--pwfile=password", "-E", "UTF8", "--no-locale"),
        )
        self._process = None
        self.start()

    def _command(self, name, *arguments):
        # as root the server refuses to run; it dies with this process
        drop = ("--reuid=postgres", "--regid=postgres", "--clear-groups") if self._root else ()
        return ["setpriv", *drop, "--pdeathsig=INT", str(self._programs / name), *arguments]

    def _call(self, name, *arguments):
        command = self._command(name, *arguments)
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=60)
        assert not done.returncode, done.stderr

    def start(self, *options):
        """Start the server, and wait until it answers."""
        options = ("-c", "listen_addresses=127.0.0.1", *options)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command(
                    "postgres",
                    *("-D", "data", "-p", str(self.port), "-k", str(self.folder), *options),
                ),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        for _ in range(200):
            if self.ask("SELECT 1", quiet=True):
                return
            time.sleep(0.05)
        raise AssertionError((self.folder / "log").read_text())

    def stop(self):
        """Stop the server at once: every connection breaks off."""
        self._process.send_signal(3)  # SIGQUIT: no checkpoint, as in a crash
        self._process.wait(30)

    def close(self):
        self.stop()
        shutil.rmtree(self.folder)

    def url(self, database, host="127.0.0.1"):
        return f"postgresql://heirloop@{host}:{self.port}/{database}"

    def ask(self, text, database="postgres", values=None, quiet=False):
        """Run a statement; return its rows, or how many it changed."""
        import psycopg

        url = self.url(database).replace("heirloop@", f"heirloop:{PASSWORD}@")
        try:
            with closing(psycopg.connect(url, autocommit=True)) as connection:
                done = connection.execute(text, values)
                return done.fetchall() if done.description else done.rowcount
        except psycopg.OperationalError:
            if quiet:
                return None
            raise

    def new_database(self):
        """Make an empty database; return its URL."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        self.ask(f"CREATE DATABASE {name}")
        return self.url(name)


class FilePlace:
    """A ledger in a file."""

    kind, broken = "sqlite", sqlite3.IntegrityError

    def __init__(self, path):
        self.path = path

    def create(self):
        """Make the ledger of a new study."""
        return Ledger.file(self.path, create=True)

    def open(self, timeout=60):
        """Open it as another process would."""
        return Ledger.file(self.path, timeout=timeout)

    def change(self, text, values=()):
        """Run a statement past Heirloop; return how many rows it changed."""
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(text, values).rowcount


class ServerPlace:
    """A ledger on a server."""

    kind = "postgres"

    def __init__(self, cluster, url):
        import psycopg

        self.broken = psycopg.errors.IntegrityError
        self.cluster, self.address = cluster, Address(url=url, schema=SCHEMA)

    def __getstate__(self):  # for another process, which finds a server and no cluster
        return {"address": self.address}

    def __setstate__(self, state):
        self.__dict__ |= state
        os.environ["PGPASSWORD"] = PASSWORD

    def create(self):
        postgres.create(self.address)
        return self.open()

    def open(self, timeout=60, durable=True, loop=False):
        return Ledger(open_server(self.address, timeout, durable, loop))

    def change(self, text, values=()):
        text = text.replace("?", "%s").replace("entries", f"{SCHEMA}.entries")
        text = text.replace("accounts", f"{SCHEMA}.accounts")
        database = self.address.url.rpartition("/")[2]
        return self.cluster.ask(text, database, values or None)
