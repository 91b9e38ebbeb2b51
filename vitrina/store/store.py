"""A store: products, spaces, indexes and models, committed atomically."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
from safetensors import SafetensorError

from vitrina.disk import FULL, full_disk
from vitrina.errors import StoreError, did_you_mean
from vitrina.parallel import map_ahead
from vitrina.store import layout
from vitrina.store.corrected_labels import corrected
from vitrina.store.decisions import Decisions, in_types, read_decisions
from vitrina.store.entries import FileEntry, FolderEntry
from vitrina.store.files import Files
from vitrina.store.format import read_card
from vitrina.store.history import newest, newest_number
from vitrina.store.integrity import checked_file
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import Manifest
from vitrina.store.near_stores import no_store
from vitrina.store.products import Categories, Products
from vitrina.store.sources import Sources
from vitrina.store.space import Space
from vitrina.store.summary import StoreSummary
from vitrina.store.writer import Writer
from vitrina.types import Features, IdType, Modality

_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class OpenStore(StoreSummary):
    """A store at one commit; `refresh` switches to the newest.

    Attributes:
        files: access to the store's files.
        manifest: the commit: products, spaces, indexes and heads.
        kept: what jobs keep open for the next call at this commit, such as an index.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self.files = files
        self.manifest = manifest
        self.kept: dict[Any, Any] = {}
        self._products: Products | None = None

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        create: bool = False,
        damaged_too: bool = False,
        options: dict[str, Any] | None = None,
    ) -> Self:
        """Open a store.

        Parameters
        ----------
        path : str or Path
            Directory, or a URL that fsspec opens, such as `s3://bucket/prefix`.
        create : bool, default False
            Accept a place without a store: the first job that writes creates it, so that one that
            fails leaves nothing. `create` creates it at once.
        damaged_too : bool, default False
            If the newest manifest is damaged, open the store at the newest whole one.
        options : dict, optional
            Options of fsspec, for a URL; default: the environment's settings.

        Raises
        ------
        StoreError
            If there is no store, it can't be reached, or is of another format version.
        """
        files = open_files(path, options)
        try:
            read_card(files)
        except (FileNotFoundError, NotADirectoryError):
            if files.names(layout.MANIFESTS):
                if damaged_too:
                    return cls(files, newest(files, damaged_too=True))
                raise StoreError(
                    f"{files.where(layout.CARD)} is missing; "
                    "`vitrina verify STORE --repair` writes it again"
                ) from None
            if not create:
                raise StoreError(no_store(path, options)) from None
            _refuse_others(files)
            # The first writer creates it, so an unreadable catalogue leaves no empty store.
            return cls(files, Manifest())
        return cls(files, newest(files, damaged_too=damaged_too))

    @classmethod
    def create(
        cls, path: str | Path, *, exist_ok: bool = False, options: dict[str, Any] | None = None
    ) -> Self:
        """Create an empty store.

        Parameters
        ----------
        path : str or Path
            Directory that does not exist or is empty, or a URL.
        exist_ok : bool, default False
            Open the store if there is one already.
        options : dict, optional
            Options of fsspec, for a URL; default: the environment's settings.

        Raises
        ------
        StoreError
            If there is a store already, or other files.
        """
        store = cls.open(path, create=True, options=options)
        if not store.files.exists(layout.CARD):
            # The writer creates it, and commits nothing.
            with store.writer("create"):
                pass
        elif not exist_ok:
            raise StoreError(
                f"{path} is a store already; open it with Store.open({str(path)!r}), or give "
                "exist_ok=True"
            )
        return store

    def refresh(self) -> None:
        """Switch to the newest commit."""
        self.show(newest(self.files))

    def show(self, manifest: Manifest) -> None:
        """Switch to another commit."""
        if manifest.sequence != self.manifest.sequence:
            self.kept.clear()
        if manifest.products != self.manifest.products:
            self._products = None
            self.__dict__.pop("id_types", None)
        self.manifest = manifest

    @property
    def place(self) -> str:
        """The directory or the URL."""
        return self.files.place

    @property
    def products(self) -> Products:
        """The product table."""
        if self._products is None:
            self._products = Products(self.files, self.manifest)
        return self._products

    @property
    def sources(self) -> Sources:
        """The sources of its products."""
        return Sources.of(self.manifest.reading, products=bool(self.manifest.products))

    @cached_property
    def id_types(self) -> tuple[IdType, IdType]:
        """The types of product ids and of category ids, `int` or `str`; of a store without
        products, integers."""
        if not self.manifest.products:
            return int, int
        schema = self.products.schema
        product, category = (schema.field(name).type for name in ("product_id", "category_id"))
        return (int if product == pa.int64() else str), (int if category == pa.int64() else str)

    def decisions(self) -> Decisions:
        """All reviewers' decisions so far, whatever the current commit."""
        return Decisions(in_types(read_decisions(self.files), *self.id_types))

    def categories(self) -> Categories:
        """The label of every product in the catalogues. A product has none if its category id was
        reused for another category since it was last read."""
        return self.products.categories(self.sources.retired)

    def labels(self) -> Categories:
        """The labels with reviewers' corrections applied, for training and votes."""
        labels, decisions = self.categories(), self.decisions()
        return corrected(labels, self.products, decisions) if decisions.standing else labels

    def space(self, modality: Modality) -> Space:
        """The active space of a modality.

        Raises StoreError if there is none.
        """
        name = self.manifest.active.get(modality)
        if name is None:
            raise StoreError(
                f"{self.place} has no {modality} space{self._newer()}; "
                f"run `vitrina embed` with --{modality}-model other than none"
            )
        return self.open_space(name)

    def open_space(self, name: str) -> Space:
        """A space by its name."""
        entry = self.manifest.spaces.get(name)
        if entry is None:
            raise StoreError(f"{self.place} has no space named {name}")
        return Space.open(self.files, name, entry)

    def spaces(self, features: Features) -> tuple[Space, ...]:
        """The spaces of some features, text first."""
        return tuple(self.space(modality) for modality in features.modalities)

    def index_files(self, name: str) -> dict[str, Path]:
        """Local paths of a live index's files, by file name. They may be in several folders: an
        updated index shares files with the one before.

        Raises StoreError if it was not built, or a file of it is gone.
        """
        folder = self.manifest.indexes.get(name)
        if folder is None:
            if name == Features.FUSED and len(self.manifest.active) < 2:
                # It is only the default; there can be none.
                raise StoreError(f"{self.place} has no index; run `vitrina index {self.place}`")
            raise StoreError(
                f"{self.place} has no {name} index{self._newer()}; run `vitrina index` with "
                f"--features {name}"
            )
        paths = self._local(folder, "run `vitrina index --rebuild` to build it again")
        return {path.name: path for path in paths}

    def model_folder(self, name: str | None = None) -> Path:
        """Local folder of a live head: the named one, or the one trained last.

        Raises StoreError if there is none, or a file of it is gone.
        """
        name = name or self.manifest.model
        if name is None:
            raise StoreError(
                f"{self.place} has no head{self._newer()}; run `vitrina train {self.place}` first"
            )
        folder = self.manifest.models.get(name)
        if folder is None:
            have = ", ".join(sorted(self.manifest.models)) or "none"
            hint = did_you_mean(name, self.manifest.models) or "; `vitrina train` makes one"
            raise StoreError(f"{self.place} has no head named {name} (it has: {have}){hint}")
        return self.folder(folder, "run `vitrina train` again")

    def _newer(self) -> str:
        """Note for the message on what this commit lacks, if there is a newer commit; else ""."""
        newest = newest_number(self.files)
        if newest <= self.manifest.sequence:
            return ""
        return f" at commit {self.manifest.sequence} (refresh() switches to commit {newest})"

    def folder(self, entry: FolderEntry, way_out: str) -> Path:
        """Local path of a live folder, fetched if the store is remote.

        Raises StoreError if a file of it is gone.
        """
        first = self._local(entry, way_out)[0]
        inside = entry.files[0].path.removeprefix(f"{entry.path}/")
        return first.parents[inside.count("/")]

    def encoder_folder(self, name: str) -> Path:
        """Local folder of a live encoder that was trained on this catalogue.

        Raises StoreError if there is none, or a file of it is gone.
        """
        entry = self.manifest.encoders.get(name)
        if entry is None:
            have = ", ".join(sorted(self.manifest.encoders)) or "none"
            raise StoreError(f"{self.place} has no encoder named {name} (it has: {have})")
        return self.folder(entry, "run `vitrina finetune` or `vitrina pretrain` again")

    def _local(self, entry: FolderEntry, way_out: str) -> list[Path]:
        def local(file: FileEntry) -> Path:
            where = self.files.where(file.path)
            try:
                return checked_file(self.files, file.path, file, way_out)
            except FileNotFoundError as err:
                raise StoreError(f"{where} is missing from the store; {way_out}") from err
            except OSError as err:
                raise StoreError(f"{where} can't be read ({err.strerror}); {way_out}") from err

        return list(map_ahead(local, entry.files, self.files.workers))

    def check_rights(self) -> None:
        """Raise StoreError if this process may not write to the store: an early check for a job
        that writes only after hours of work."""
        try:
            self.files.check_rights()
        except OSError as err:
            raise StoreError(self._unwritten(err)) from err

    def _unwritten(self, err: OSError) -> str:
        """Message about a failure to write to the store."""
        reason = err.strerror or str(err) or type(err).__name__
        if err.errno in _FORBIDDEN:
            return (
                f"{self.place}: this process may not write to the store ({reason}); get the right "
                "to, or work on a copy of it"
            )
        way = "free some space" if err.errno in FULL else "see to the disk"
        return (
            f"{self.place}: {reason}; all commits are kept: {way} and run it again; "
            "it resumes from there"
        )

    @contextmanager
    def writer(self, job: str, *, damaged_too: bool = False) -> Iterator[Writer]:
        """Become the store's one writer in a `with` block.

        damaged_too: delete damaged manifests and go back to the newest whole one.

        Raises StoreLockedError at once if another process is writing, StoreError if the disk
        fails; commits made before that stand.
        """
        try:
            with self.files.claim(job) as claim:
                writer = Writer(self.files, self.manifest, claim, self.show)
                if damaged_too:
                    writer.go_back()
                writer.begin()
                try:
                    yield writer
                except BaseException:
                    writer.abandon()
                    raise
        except OSError as err:
            raise StoreError(self._unwritten(err)) from err
        except (RuntimeError, SafetensorError) as err:
            if (full := full_disk(err)) is None:
                raise
            raise StoreError(self._unwritten(full)) from err


def open_files(path: str | Path, options: dict[str, Any] | None = None) -> Files:
    """File access to a store in a directory, or at a URL: any path with `://` in it.

    Raises StoreError for a URL that can't be opened.
    """
    text = str(path)
    if not text:
        raise StoreError("the name of the store is empty; give its directory or URL")
    if "://" not in text:
        return LocalFiles(Path(path).expanduser() if text.startswith("~/") else Path(path))
    if text.startswith(("file://", "local://")):
        return LocalFiles(Path(text.partition("://")[2]))
    from vitrina.store.remote import RemoteFiles

    return RemoteFiles(text, options)


def _refuse_others(files: Files) -> None:
    if isinstance(files, LocalFiles) and files.root.exists() and not files.root.is_dir():
        raise StoreError(f"{files.place} is a file; give a directory")
    # A writer killed before it wrote `store.json` leaves only its lock and temporary files.
    ours = (layout.LOCK, layout.OWNER)
    others = [
        name
        for name in files.entries("")
        if name not in ours and not name.startswith(layout.TEMPORARY)
    ]
    if others:
        raise StoreError(f"{files.place} holds other files already; give an empty directory")
