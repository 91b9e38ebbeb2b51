"""Where a table goes: a file, whose name gives the format, or a table of a database."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from vitrina.atomic_files import check_file
from vitrina.database.url import DatabaseURL, is_database_url, without_secrets
from vitrina.errors import CatalogueError, OptionError
from vitrina.options import listed
from vitrina.tables.options import CsvOptions, OutputOptions
from vitrina.types import IfExists


class TableFormat(StrEnum):
    """Format of a table, by the end of its file's name."""

    PARQUET = ".parquet"
    CSV = ".csv"
    XLSX = ".xlsx"
    JSONL = ".jsonl"
    DATABASE = "database"

    @property
    def is_flat(self) -> bool:
        """True if the format has no lists and no records."""
        return self not in (TableFormat.PARQUET, TableFormat.JSONL)


GZIP = ".gz"
_ZIPPED = (TableFormat.CSV, TableFormat.JSONL)
SUFFIXES = {
    **{kind.value: kind for kind in TableFormat if kind is not TableFormat.DATABASE},
    **{f"{kind}{GZIP}": kind for kind in _ZIPPED},
}
"""The format of each end of a file's name."""

_DEFAULT_OPTIONS = CsvOptions()


@dataclass(frozen=True)
class Destination:
    """Where a table goes.

    Attributes:
        place: a file, or a database.
        format: of the table.
        separator: of CSV.
        table: in a database.
        if_exists: what to do if that exists.
    """

    place: Path | DatabaseURL
    format: TableFormat
    separator: str = ","
    table: str = ""
    if_exists: IfExists = IfExists.FAIL

    @classmethod
    def of(
        cls,
        out: str | Path,
        options: CsvOptions = _DEFAULT_OPTIONS,
        *,
        name: str = "out",
        formats: dict[str, TableFormat] = SUFFIXES,
    ) -> Destination:
        """Parse a file's name or a database's URL; nothing is opened.

        name: of the option that `out` comes from. formats: those that are possible. Raises
        OptionError for a name with another end, and for options that contradict it.
        """
        table, if_exists = None, IfExists.FAIL
        if isinstance(options, OutputOptions):
            table, if_exists = options.table, options.if_exists
        if is_database_url(out):
            url = DatabaseURL.parse(str(out))
            if not isinstance(options, OutputOptions):
                raise OptionError(name, "must be a file; a table of a database can't be written")
            if table is None:
                raise OptionError("table", f"must name the table to write in {url}")
            return cls(url, TableFormat.DATABASE, table=table, if_exists=if_exists)
        path = Path(out)
        suffix = _suffix(path)
        if suffix not in formats:
            given = without_secrets(str(out))
            raise OptionError(name, f"must end in {listed(formats)}, not {given!r}")
        if table is not None or if_exists is not IfExists.FAIL:
            one = "if_exists" if table is None else "table"
            raise OptionError(one, f"applies to a database's URL as --{name}, not to {path}")
        return cls(path, formats[suffix], options.csv_separator)

    @property
    def path(self) -> Path:
        """The file. Raises TypeError for a database."""
        if isinstance(self.place, Path):
            return self.place
        raise TypeError(f"{self} is no file")

    @property
    def is_flat(self) -> bool:
        """True if the format has no lists and no records."""
        return self.format.is_flat

    def check(self) -> None:
        """Check that a file can be written, before any work. Raises CatalogueError."""
        if isinstance(self.place, Path):
            if not self.place.parent.is_dir():
                raise CatalogueError(f"{self.place}: there is no directory {self.place.parent}")
            check_file(self.place)

    def beside(self, name: str) -> Destination:
        """Return the place of another table that belongs to this one: `x.errors.csv` for `x.csv`.

        Beside a table of a database it is a Parquet file in the working directory.
        """
        if not isinstance(self.place, Path):
            return Destination(Path(f"{self.table}.{name}.parquet"), TableFormat.PARQUET)
        suffix = _suffix(self.place)
        stem = self.place.name[: len(self.place.name) - len(suffix)]
        path = self.place.with_name(f"{stem}.{name}{suffix}")
        return Destination(path, self.format, self.separator)

    def __str__(self) -> str:
        return f"the table {self.table} of {self.place}" if self.table else str(self.place)


def _suffix(path: Path) -> str:
    """The end of a file's name that says its format, in lower case."""
    suffix = path.suffix.lower()
    return f"{path.with_suffix('').suffix.lower()}{suffix}" if suffix == GZIP else suffix
