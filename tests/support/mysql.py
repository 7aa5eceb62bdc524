"""A real MySQL or MariaDB for tests: one that is started here, or the one whose address TIDEMARK_TEST_MYSQL names."""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb

from flows.extract.databases.clients import load_extension
from flows.land.field_sql import literal
from tests.support.served import free_port

SERVERS = ("mariadbd", "mysqld")
PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
SETTLED_SECONDS = 60


def server() -> str | None:
    """The program of a server, if there is one here."""
    return next(filter(None, (shutil.which(name, path=PLACES) for name in SERVERS)), None)


class MySql:
    """A server, with a database of its own for each test, which ``@`` stands for."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = f"t_{uuid.uuid4().hex[:12]}"
        parts = urlsplit(url)
        given = {"host": parts.hostname or "", "port": str(parts.port or 3306), "user": unquote(parts.username or "")}
        given |= {"password": unquote(parts.password)} if parts.password else {}
        self._engine = duckdb.connect()
        load_extension(self._engine, "mysql", "MySQL")
        options = ", ".join(f"{name} {literal(value)}" for name, value in given.items())
        self._engine.execute(f"create secret given (type mysql, {options})")
        self._engine.execute("attach '' as db (type mysql, secret given)")
        self.execute(f"create database {self.database}")

    def execute(self, sql: str) -> None:
        """Do something, and commit it."""
        self._engine.execute(f"call mysql_execute('db', {literal(sql.replace('@', self.database))})")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query gives."""
        return self._engine.execute(f"from mysql_query('db', {literal(sql.replace('@', self.database))})").fetchall()

    def close(self) -> None:
        """Drop the database."""
        self.execute(f"drop database {self.database}")
        self._engine.close()


@contextmanager
def served_mysql(folder: Path) -> Iterator[str]:
    """The address of a server, where there is one."""
    if given := os.environ.get("TIDEMARK_TEST_MYSQL"):
        yield given
        return
    program, port = str(server()), free_port()
    data = f"--datadir={folder / 'data'}"
    # Its first user has no password, and whoever starts it is that of the system.
    if program.endswith("mariadbd"):
        make = shutil.which("mariadb-install-db", path=PLACES) or "mysql_install_db"
        begin = [make, "--no-defaults", data, "--auth-root-authentication-method=normal", "--skip-test-db"]
    else:
        begin = [program, "--no-defaults", "--initialize-insecure", data]
    as_user = ["--user=root"] if os.getuid() == 0 else []
    made = subprocess.run([*begin, *as_user], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert made.returncode == 0, f"{made.stdout}\n{made.stderr}"
    options = [f"--port={port}", "--bind-address=127.0.0.1", f"--socket={folder / 's'}", f"--pid-file={folder / 'pid'}"]
    small = ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--skip-log-bin"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "--no-defaults", data, *as_user, *options, *small], stderr=log, stdout=log)
    try:
        url = f"mysql://root@127.0.0.1:{port}"
        _wait_for(process, url)
        yield url
    finally:
        process.terminate()
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    until = time.monotonic() + SETTLED_SECONDS
    while True:
        with suppress(duckdb.Error):
            MySql(url).close()
            return
        assert process.poll() is None and time.monotonic() < until, "the server did not start"
        time.sleep(0.1)
