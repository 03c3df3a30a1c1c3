"""A real PostgreSQL server for tests and benchmarks: its own data, on a loopback port.

The programs are those of the system, or they are installed. PostgreSQL refuses to run as root, so
root starts it as another user.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from tests.packages import install

PASSWORD = "a-password-that-nothing-may-show"
READY_WITHIN_S = 60.0
STOPPED_WITHIN_S = 30.0


def find_programs() -> Path | None:
    """The folder with `initdb` and `postgres`, of the newest version there is. None: no such."""
    on_path = shutil.which("postgres")
    folders = [Path(on_path).resolve().parent] if on_path else []
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda one: float(one.parent.name), reverse=True)
    folders += [Path("/opt/homebrew/bin"), Path("/usr/pgsql/bin")]
    return next((one for one in folders if (one / "initdb").is_file()), None)


def install_programs() -> Path:
    """Install the system's PostgreSQL; for machines that have none."""
    install("postgresql")
    found = find_programs()
    if found is None:
        raise RuntimeError("PostgreSQL was installed, but its programs were not found")
    return found


class PostgresServer:
    """One server with a database of its own, which can be stopped and started again.

    Args:
        options: settings of the server, as in `{"fsync": "off"}`.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        self._programs = find_programs() or install_programs()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._user, self._group = _account()
        self._folder = Path(tempfile.mkdtemp(prefix="cascade-postgres-"))
        self._data = self._folder / "data"
        self.port = _free_port()
        try:
            self._make_cluster()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, database: str = "postgres") -> str:
        """The address of a database, its password in it."""
        return f"postgresql://cascade:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of a new, empty database."""
        import psycopg

        name = f"ledger_{secrets.token_hex(4)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return self.url(name)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **self._options,
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=_ENVIRONMENT,
                user=self._user,
                group=self._group,
            )
        self._wait_until_ready(self._process)

    def stop(self) -> None:
        """Stop it at once: connections break, as they do when a server goes away."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGQUIT)  # an immediate shutdown
        try:
            process.wait(STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """Stop it for good, and delete all it had."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make_cluster(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD, encoding="utf-8")
        self._data.mkdir()
        if self._user is not None and self._group is not None:
            for path in (self._folder, password, self._data):
                os.chown(path, self._user, self._group)
        subprocess.run(
            [
                str(self._programs / "initdb"),
                *("--pgdata", str(self._data), "--username", "cascade", "--no-sync"),
                *("--auth", "scram-sha-256", "--pwfile", str(password)),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            cwd=self._folder,
            env=_ENVIRONMENT,
            check=True,
            capture_output=True,
            timeout=READY_WITHIN_S,
            user=self._user,
            group=self._group,
        )

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        import psycopg

        give_up_at = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if process.poll() is not None or time.monotonic() > give_up_at:
                    log = (self._folder / "log").read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {log[-1000:]}") from None
                time.sleep(0.02)


_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "")}


def _account() -> tuple[int | None, int | None]:
    """User and group that the server runs as: None for this one, which must not be root."""
    if os.geteuid() != 0:
        return None, None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise RuntimeError("there is no user to run PostgreSQL as, which refuses to run as root")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
