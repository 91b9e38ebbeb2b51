"""Summary of a store, made from its manifest alone, so that it is quick for stores of any size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vitrina.page.summary import Summarised, Summary, counted, size
from vitrina.store.files import Files
from vitrina.store.local import LocalFiles
from vitrina.store.manifest import Manifest
from vitrina.store.products import Products

_SMALL = 1 << 26
"""Bytes of the product table up to which its categories are counted."""


class StoreSummary(Summarised):
    """Mixin of a store: `repr`, `_repr_html_`, and its number of products as its length."""

    files: Files
    manifest: Manifest

    def __len__(self) -> int:
        return sum(part.rows for part in self.manifest.products)

    def __bool__(self) -> bool:
        # An empty store is a store.
        return True

    def summary(self) -> Summary:
        """Products, spaces, indexes, heads and the audit of the commit."""
        manifest = self.manifest
        title = f"Store {self.files.place}"
        if not manifest.sequence:
            return Summary(f"{title}: nothing in it yet")
        facts = [("products", self._products_line()), *self._spaces(), *self._folders()]
        taken = sum(file.bytes for file in manifest.files())
        return Summary(f"{title}, commit {manifest.sequence}, {size(taken)}", facts)

    def _products_line(self) -> str:
        line = f"{len(self):,}"
        parts = self.manifest.products
        small = sum(part.bytes for part in parts) <= _SMALL
        if parts and small and isinstance(self.files, LocalFiles):
            try:
                found = Products(self.files, self.manifest).counts()
            except Exception as err:
                return f"{line}; they can't be read: {err}"
            line += f", {found['text']:,} with text, {found['image']:,} with a photo, "
            line += (
                f"{found['category']:,} in {counted(found['categories'], 'category', 'categories')}"
            )
        rejected = self.manifest.rejected.rows if self.manifest.rejected else 0
        return line + (f"; {counted(rejected, 'row')} rejected" if rejected else "")

    def _spaces(self) -> Iterator[tuple[str, Any]]:
        active = {name: modality for modality, name in self.manifest.active.items()}
        for name, entry in self.manifest.spaces.items():
            card = entry.card
            failed = f", {entry.errors.rows:,} failed" if entry.errors and entry.errors.rows else ""
            idle = "" if name in active else ", not in use"
            yield (
                f"space {name}",
                f"{card.get('model')}, {entry.rows:,} x {card.get('dim')} {card.get('dtype')}"
                f"{failed}{idle}",
            )

    def _folders(self) -> Iterator[tuple[str, Any]]:
        manifest = self.manifest
        yield "indexes", list(manifest.indexes)
        latest = manifest.model
        heads = [f"{name} (in use)" if name == latest else name for name in manifest.models]
        yield "heads", heads if len(heads) > 1 else list(manifest.models)
        yield "encoders", list(manifest.encoders)
        yield "audit", True if manifest.audit else None
