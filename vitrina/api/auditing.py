"""Audit, review and correction of a catalogue's labels."""

from __future__ import annotations

from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from vitrina.api.enums import member
from vitrina.errors import ImageSourceError, StoreError
from vitrina.store.store import Store
from vitrina.types import Features

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from vitrina.audit.results import Audit
    from vitrina.data.sources import ImageSource


def audit(
    store: Store,
    out: str | Path | None = None,
    *,
    features: str | None = None,
    images: str | Path | None = None,
    most: int = 10_000,
    folds: int = 5,
    cleanlab: bool = False,
    seed: int = 0,
    quiet: bool = True,
) -> Audit:
    """Rank the labels that are probably wrong, explain them, and save the list in the store, unless
    the store is read-only.

    Decisions are applied first; products that a reviewer has decided are not suspects again.

    Args:
        store: with vectors and categories. Its index is built or updated first.
        out: an HTML file to write the report to, with a Parquet of every product beside it; None
            for neither.
        features: "text", "image" or "fused"; None for all that the store has.
        images: the folder or archive of photos, if the store does not remember one; "none" for no
            photos.
        most: upper limit of suspects to explain and show.
        folds: number of folds; each is scored by models trained on the others.
        cleanlab: also run cleanlab on the same probabilities.
        seed: random seed.
        quiet: print no progress.

    Raises CatalogueError if `out` can't be written, ImageSourceError, StoreError, StoreLockedError
    if another process writes, TrainingError.
    """
    from vitrina.pipelines.audit.job import audit as run
    from vitrina.pipelines.audit.search import AuditOptions

    options = AuditOptions(
        features=member(Features, features),
        most=most,
        folds=folds,
        cleanlab=cleanlab,
        seed=seed,
        quiet=quiet,
    )
    with _photos(store, images) as source:
        return run(store, options, source, None if out is None else Path(out))


def review(
    store: Store,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str | None = None,
    reviewer: str = "",
    language: str | None = None,
    images: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve a page to review the latest audit's suspects, until it is interrupted.

    Every decision is saved in the store at once; `train`, `index` and `finetune` apply it.

    Args:
        store: with an audit.
        host, port: the address to bind to. A host that other machines reach needs a token in the
            address that the page is first opened by.
        token: that token; None to generate one where it is needed.
        reviewer: name recorded with decisions; "" to ask on the page.
        language: "ru" or "en"; None for the browser's.
        images: as of `audit`.
        say: called with a line that contains the address to open.

    Raises ImageSourceError, StoreError if the store was not audited, VitrinaError if the port is
    taken.
    """
    from vitrina.audit.results import Audit
    from vitrina.audit.review.app import create_app
    from vitrina.audit.review.options import ReviewOptions
    from vitrina.audit.review.serve import serve
    from vitrina.audit.review.words import Language
    from vitrina.pipelines.audit.product_view import Shown

    try:
        options = ReviewOptions(
            host=host,
            port=port,
            token=token,
            reviewer=reviewer,
            language=member(Language, language),
        )
    except ValueError as err:
        raise StoreError(str(err)) from err
    store.check_rights()
    with _photos(store, images) as source:
        app = create_app(store, Audit.of(store), Shown(store, source).photo, options)
        say(f"open {options.url} and judge; Ctrl+C ends it")
        serve(app, options)


def export_decisions(store: Store, out: str | Path, *, changed_only: bool = False) -> int:
    """Write the corrected labels for the catalogue's owner, or open suspects for Label Studio.

    Args:
        store: with decisions, or with an audit.
        out: `.parquet` or `.csv` for the current decisions, `.json` for the open suspects as Label
            Studio tasks, with a labelling configuration beside it as `.xml`.
        changed_only: leave out labels that were confirmed.

    Returns the number of rows or tasks. Raises CatalogueError for another file type, StoreError.
    """
    path = Path(out)
    if path.suffix == ".json":
        from vitrina.pipelines.audit.label_studio import export_tasks

        return export_tasks(store, path)
    from vitrina.pipelines.audit.corrections import export_decisions as run

    return run(store, path, changed_only=changed_only)


def import_decisions(store: Store, path: str | Path) -> int:
    """Import annotations from a JSON export of Label Studio into the store.

    Returns the number of new decisions. Raises CatalogueError naming the file and the invalid
    task; nothing is imported then.
    """
    from vitrina.pipelines.audit.label_studio import import_tasks

    return import_tasks(store, Path(path))


def _photos(store: Store, images: str | Path | None) -> AbstractContextManager[ImageSource | None]:
    from vitrina.pipelines.common.product_inputs import opened_images, remembered_images

    if str(images) == "none":
        return nullcontext()
    if images is not None:
        return closing(opened_images(store, str(images)))
    try:
        return closing(remembered_images(store))
    except ImageSourceError:
        # The photos are in the catalogue's file, or there are none: the report shows no photos.
        return nullcontext()
