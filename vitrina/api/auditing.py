"""Audit, review and correction of a catalogue's labels."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.inputs import StoreLike, as_store
from vitrina.api.keywords import with_keywords
from vitrina.audit.review.options import ReviewOptions
from vitrina.errors import ImageSourceError
from vitrina.optional import needed_for
from vitrina.pipelines.audit.options import AuditOptions, ExportOptions
from vitrina.store.store import OpenStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vitrina.audit.results import Audit
    from vitrina.data.sources import ImageSource


@with_keywords(AuditOptions)
def audit(store: StoreLike, options: AuditOptions) -> Audit:
    """Rank the labels that are probably wrong, explain them, and save the list in the store.

    Decisions of reviewers are applied first; products that a reviewer has decided are not suspects
    again. A read-only store is audited too, but the list is not saved there.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with vectors and categories. Its index is built or
        updated first.
    {options}

    Returns
    -------
    Audit
        Suspect labels with reasons, the most suspect first.

    Raises
    ------
    CatalogueError
        If `out` can't be written.
    ImageSourceError, OptionError, StoreError, TrainingError
    StoreLockedError
        If another process writes.

    Examples
    --------
    >>> found = vt.audit(store, folder / "report.html", features="text", folds=2)
    >>> found.suspects[0].score >= found.suspects[-1].score
    True
    """
    from vitrina.pipelines.audit.job import audit as run

    opened = as_store(store)
    with _photos(opened, options.images) as source:
        return run(opened, options, source)


@with_keywords(ReviewOptions)
def review(store: StoreLike, options: ReviewOptions) -> None:
    """Serve a page to review the latest audit's suspects, until it is interrupted.

    Every decision is saved in the store at once; `train`, `index` and `finetune` apply it. The
    address to open is printed.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with an audit.
    {options}

    Raises
    ------
    ImageSourceError, OptionError
    StoreError
        If the store was not audited.
    VitrinaError
        If the port is taken.

    Examples
    --------
    >>> vt.review(store, reviewer="Anna")  # doctest: +SKIP
    open http://127.0.0.1:8765/ and review; Ctrl+C ends it
    """
    serve_review(as_store(store), options, print)


def serve_review(store: OpenStore, options: ReviewOptions, say: Callable[[str], None]) -> None:
    """Serve the review page. say: called with a line that contains the address to open."""
    from vitrina.audit.results import Audit

    with needed_for("the review page"):
        from vitrina.audit.review.app import create_app
        from vitrina.audit.review.serve import serve
    from vitrina.pipelines.audit.product_view import Shown

    store.check_rights()
    with _photos(store, options.images) as source:
        app = create_app(store, Audit.of(store), Shown(store, source).photo, options)
        say(f"open {options.url} and review; Ctrl+C ends it")
        serve(app, options)


@with_keywords(ExportOptions)
def export_decisions(store: StoreLike, out: str | Path, options: ExportOptions) -> int:
    """Write the corrected labels for the catalogue's owner, or open suspects for Label Studio.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with decisions or with an audit.
    out : str or Path
        `.parquet`, `.csv`, `.xlsx`, `.jsonl` or a database's URL for the current decisions, `.json`
        for the open suspects as Label Studio tasks, with a labelling configuration beside it as
        `.xml`.
    {options}

    Returns
    -------
    int
        Number of rows or tasks.

    Raises
    ------
    CatalogueError
        If the file or the table can't be written.
    OptionError
        For another file type.
    StoreError
        If the store is damaged.

    Examples
    --------
    >>> vt.export_decisions(store, folder / "labels.csv")
    0
    """
    if str(out).endswith(".json"):
        from vitrina.pipelines.audit.label_studio import export_tasks

        return export_tasks(as_store(store), Path(out))
    from vitrina.pipelines.audit.corrections import export_decisions as run

    return run(as_store(store), out, options)


def import_decisions(store: StoreLike, path: str | Path) -> int:
    """Import decisions into the store: Label Studio's annotations, or a table edited by hand.

    A table needs the columns `product_id`, and `category_id` or `category_name`: the right category
    of each product. A row that names the product's own category confirms it; rows without a
    category, and rows that say what is in force already, add nothing.

    Parameters
    ----------
    store : Store, str or Path
        Store, or its directory or URL, with the products.
    path : str or Path
        A JSON export of Label Studio, or a table: .csv, .xlsx, .parquet, .jsonl.

    Returns
    -------
    int
        Number of new decisions.

    Raises
    ------
    CatalogueError
        If a task or a row is invalid, with its file and number; nothing is imported then.

    Examples
    --------
    >>> vt.import_decisions(store, "project-1.json")  # doctest: +SKIP
    12
    """
    path = Path(path)
    if path.suffix != ".json":
        from vitrina.pipelines.audit.corrected_table import import_table

        return import_table(as_store(store), path)
    from vitrina.pipelines.audit.label_studio import import_tasks

    return import_tasks(as_store(store), path)


def _photos(store: OpenStore, images: str | None) -> AbstractContextManager[ImageSource | None]:
    from vitrina.pipelines.common.product_inputs import opened_images, remembered_images

    if images == "none":
        return nullcontext()
    if images is not None:
        return closing(opened_images(store, images))
    try:
        return closing(remembered_images(store))
    except ImageSourceError:
        # The photos are in the catalogue's file, or there are none: the report shows no photos.
        return nullcontext()
