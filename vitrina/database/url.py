"""Locations of databases: `postgresql://user@host/name` and `sqlite:///file`.

A URL is taken apart here, and libpq receives its parts: so its messages can't echo a piece of a
password that was not quoted right, only known parameters reach it, and no part of a URL names a
driver to load.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote

from vitrina.errors import CatalogueError, printable

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# The last @ ends the password, which may hold any character.
_POSTGRESQL = re.compile(
    r"(?:(?P<user>[^:/@?#]*)(?::(?P<password>.*))?@)?"
    r"(?P<hosts>(?:\[[0-9A-Fa-f:.%]*\]|[^/?#@\[\]])*)"
    r"(?:/(?P<dbname>[^/?#@]*))?"
    r"(?:\?(?P<parameters>[^#@]*))?",
    re.DOTALL,
)
_HOST = re.compile(r"(\[[^\]]*\]|[^:]*)(?::([0-9]*))?")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")

SECRETS = frozenset({"password", "sslpassword"})
"""Parameters that are never shown."""

PARAMETERS = SECRETS | {
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "options",
    "passfile",
    "port",
    "require_auth",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
    "user",
}
"""Parameters of libpq that a URL may have."""

DEFAULTS = {"connect_timeout": "15", "application_name": "vitrina"}


class DatabaseKind(StrEnum):
    """Kind of database."""

    POSTGRESQL = "postgresql"
    SQLITE = "sqlite"


@dataclass(frozen=True)
class DatabaseURL:
    """The location of a database.

    Attributes:
        kind: of database.
        shown: the location for messages and reports, without password and parameters.
        parameters: of libpq, for PostgreSQL.
        path: the file of SQLite.
    """

    kind: DatabaseKind
    shown: str
    parameters: dict[str, str] = field(default_factory=dict, repr=False)
    path: Path = Path()

    @classmethod
    def parse(cls, text: str) -> DatabaseURL:
        """Parse a URL. Raises CatalogueError, without the URL's secrets, for one that is no URL of
        a database that can be used."""
        found = _SCHEME.match(text)
        scheme = found[1].lower() if found else ""
        rest = text[found.end() :] if found else text
        if scheme in ("postgresql", "postgres"):
            return _postgresql(rest)
        if scheme == "sqlite":
            return _sqlite(rest)
        raise CatalogueError(
            f"{printable(scheme)}:// can't be read or written; give a file, or a database: "
            "PostgreSQL (postgresql://USER@HOST/NAME) or SQLite (sqlite:///FILE)"
        )

    def __str__(self) -> str:
        return self.shown

    @property
    def conninfo(self) -> str:
        """Connection string of libpq; secret."""
        pairs = {**DEFAULTS, **self.parameters}
        return " ".join(f"{name}={_quoted(value)}" for name, value in pairs.items())

    def redact(self, message: str) -> str:
        """Remove the secrets of this URL from a driver's message."""
        for name in SECRETS:
            secret = self.parameters.get(name, "")
            if len(secret) > 2:
                message = message.replace(secret, "***")
        return message


def is_database_url(text: object) -> bool:
    """Return True for a URL, of a database that can be used or not: no file is named so."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


def without_secrets(text: str) -> str:
    """Remove the user and the password from a text that may be a URL, for a message."""
    return re.sub(r"(:/+)[^/]*@", r"\1***@", text)


def _postgresql(rest: str) -> DatabaseURL:
    found = _POSTGRESQL.fullmatch(rest)
    if found is None:
        raise CatalogueError(
            "the postgresql:// URL can't be understood: write postgresql://USER@HOST:PORT/NAME, "
            "with the characters /?#@:% of a name or a password percent-encoded (%2F for /)"
        )
    parameters: dict[str, str] = {}
    for name in ("user", "password", "dbname"):
        if found[name]:
            parameters[name] = _value(name, found[name])
    if found["hosts"]:
        hosts = [_HOST.fullmatch(one) for one in found["hosts"].split(",")]
        if not all(hosts):
            raise CatalogueError("the postgresql:// URL has a port that is no number")
        parameters["host"] = ",".join(_value("host", one[1].strip("[]")) for one in hosts if one)
        if any(one[2] for one in hosts if one):
            parameters["port"] = ",".join(one[2] or "" for one in hosts if one)
    for pair in filter(None, (found["parameters"] or "").split("&")):
        name, _, value = pair.partition("=")
        name = unquote(name)
        if name not in PARAMETERS:
            raise CatalogueError(
                f"the postgresql:// URL has an unknown parameter{_shown(name)}; there are "
                f"{', '.join(sorted(PARAMETERS))}"
            )
        parameters[name] = _value(name, value)
    if ":" in parameters.get("sslkey", ""):
        # libpq would load a library of OpenSSL's that the value names.
        raise CatalogueError("sslkey in the postgresql:// URL must be a file")
    user = f"{found['user']}@" if found["user"] else ""
    name = f"/{found['dbname']}" if found["dbname"] else ""
    shown = printable(f"postgresql://{user}{found['hosts']}{name}")
    return DatabaseURL(DatabaseKind.POSTGRESQL, shown, parameters)


def _shown(name: str) -> str:
    """A parameter's name for a message, unless it may be something else."""
    return f" {name!r}" if name.isidentifier() and len(name) < 30 else ""


def _value(name: str, text: str) -> str:
    """Decode a part of a URL; `$NAME` and `${NAME}` are variables of the environment."""
    variable = _VARIABLE.fullmatch(text)
    if variable is None:
        value = unquote(text)
        if "\0" in value:
            raise CatalogueError(f"{name} in the postgresql:// URL has a zero byte")
        return value
    key = variable[1] or variable[2]
    try:
        return os.environ[key]
    except KeyError:
        raise CatalogueError(
            f"{name} in the postgresql:// URL is ${key}, which the environment lacks; set it, or "
            "write %24 for a dollar sign"
        ) from None


def _quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _sqlite(rest: str) -> DatabaseURL:
    """The file of `sqlite:///relative.db` or `sqlite:////absolute.db`."""
    if not rest.startswith("/") or len(rest) < 2 or "?" in rest or "#" in rest:
        raise CatalogueError(
            "an SQLite database is sqlite:///FILE, or sqlite:////FOLDER/FILE from the root, "
            "without parameters"
        )
    path = Path(unquote(rest[1:])).expanduser()
    return DatabaseURL(DatabaseKind.SQLITE, printable(f"sqlite:///{path}"), path=path)
