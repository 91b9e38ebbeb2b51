"""A PostgreSQL server of its own, in a temporary folder, without TCP."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

PASSWORD = "p@ss/w?rd:1"
"""Of the role `app`, with all the characters that a URL must quote."""


@dataclass(frozen=True)
class Server:
    """A server that runs. folder: of its socket."""

    folder: Path

    def url(self, user: str = "vitrina", password: str = "") -> str:
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@/postgres?host={self.folder}"

    def execute(self, *statements: str) -> list[tuple]:
        """Run statements as the owner; returns the rows of the last one."""
        import adbc_driver_postgresql.dbapi as driver

        with (
            driver.connect(self.url(), autocommit=True) as connection,
            connection.cursor() as cursor,
        ):
            for statement in statements:
                cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def binaries() -> Path | None:
    """The folder of the newest server's programs; None if there is none."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return places[-1].parent if places else None


@contextmanager
def running_server() -> Iterator[Server]:
    """Start a server, and stop it at the end. Skips the test where none is installed."""
    pytest.importorskip("adbc_driver_postgresql")
    programs = binaries()
    if programs is None:
        pytest.skip("no PostgreSQL server: `apt-get install postgresql` installs one")
    # A server refuses to run as root. A socket's path must be short.
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None
    who = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
    folder = Path(tempfile.mkdtemp(prefix="vpg-", dir="/tmp"))
    if account is not None:
        os.chown(folder, account.pw_uid, account.pw_gid)

    def run(program: str, *arguments: str) -> None:
        subprocess.run(
            [programs / program, *arguments],
            check=True,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            **who,
        )

    try:
        folder.chmod(0o755)
        data = str(folder / "data")
        run(
            *("initdb", "-D", data, "-U", "vitrina", "-A", "trust", "-E", "UTF8", "--no-sync"),
            *("--locale", "C.UTF-8", "--no-instructions"),
        )
        # The role `app` needs its password.
        rules = folder / "data/pg_hba.conf"
        rules.write_text("local all vitrina trust\nlocal all app scram-sha-256\n")
        settings = f"-k {folder} -c listen_addresses= -c fsync=off -c max_connections=10"
        run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", settings, "start")
        try:
            server = Server(folder)
            server.execute(f"CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'")
            yield server
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
