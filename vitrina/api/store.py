"""The public store."""

from __future__ import annotations

from vitrina.store.store import OpenStore


class Store(OpenStore):
    """A store at one commit; `refresh` switches to the newest.

    Attributes:
        files: access to the store's files.
        manifest: the commit: products, spaces, indexes and heads.

    Examples
    --------
    >>> opened = vt.Store.open(store.place, create=False)
    >>> len(opened.products) == len(vt.vectors(opened, "text").ids)
    True
    """
