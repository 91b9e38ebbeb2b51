"""The audit job: predict out of fold, rank, explain, record, report."""

from __future__ import annotations

import logging
import platform
import time
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from vitrina.audit.report.write import write_report
from vitrina.audit.results import Audit
from vitrina.data.sources import ImageSource
from vitrina.errors import StoreError
from vitrina.limits import available_cpus
from vitrina.pipelines.audit.card import card_of
from vitrina.pipelines.audit.explain import explain
from vitrina.pipelines.audit.neighbour_cache import current_index
from vitrina.pipelines.audit.options import AuditOptions
from vitrina.pipelines.audit.product_view import Shown
from vitrina.pipelines.audit.search import find
from vitrina.pipelines.audit.table import write_table
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.common.vectors import default_features
from vitrina.stage_timer import so_far, stage
from vitrina.store.files import check_file
from vitrina.store.store import OpenStore

log = logging.getLogger(__name__)


def audit(
    store: OpenStore,
    options: AuditOptions,
    images: ImageSource | None = None,
) -> Audit:
    """Find suspect labels, explain them, record them in the store, and write a report.

    images: source of the photos, to compare and to show; None for none. A read-only store is
    audited only for the report or the table: then `recorded` of the card is false. Raises
    CatalogueError if these can't be written, and what `find` raises.
    """
    with timed_job("audit", options.quiet) as run:
        kept = _audit(store, options, images)
    # The recorded card holds the time until it was written.
    return replace(kept, card={**kept.card, "stages": run.seconds(), "took": round(run.total, 1)})


def _audit(store: OpenStore, options: AuditOptions, images: ImageSource | None) -> Audit:
    started = time.perf_counter()
    out, table, page = options.out, options.destination, options.report
    if page is not None:
        check_file(page)
    if table is not None:
        table.check()
    recorded = _may_record(store, options, out)
    found = find(store, options)
    shown = found.suspects[: options.max_suspects]
    with stage("explaining"):
        suspects = explain(store, found, shown, images, options.quiet)
    labels = found.labels
    card = {
        "key": uuid.uuid4().hex[:12],
        "store": store.place,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **card_of(store, found),
        "reasons": dict(Counter(reason.value for one in suspects for reason in one.reasons)),
        "folds": options.folds,
        "seed": options.seed,
        "machine": f"{platform.machine()}, {available_cpus()} cores",
        "took": round(time.perf_counter() - started, 1),
        "recorded": recorded,
        "stages": so_far(),
    }
    names = dict(zip(labels.ids, labels.names, strict=True))
    kept = Audit(card, names, suspects)
    # The report comes first: it remains if the store cannot be written.
    if table is not None:
        with stage("writing the report"):
            write_table(table, store, found, kept)
            if page is not None:
                report(store, kept, page, images, options)
    if recorded:
        try:
            with stage("recording"), store.writer("audit") as writer:
                kept.keep(store, writer)
        except StoreError as err:
            if out is None:
                raise
            raise type(err)(f"{err}; the report is in {out}, but not in the store") from err
    return kept


def _may_record(store: OpenStore, options: AuditOptions, out: Path | None) -> bool:
    """Check that the audit can be recorded in the store. False: only the report is written.

    Raises StoreError if a read-only store is audited without a report, or lacks the index that an
    audit needs.
    """
    try:
        store.check_rights()
    except StoreError:
        if out is None:
            raise
        features = options.features or default_features(store)
        if current_index(store, features) is None:
            raise StoreError(
                f"{store.place} may only be read, and it has no {features} index that is up to "
                "date: have `vitrina index` run by who may write to it, or audit a copy"
            ) from None
        log.warning(
            "%s may only be read: the audit goes to %s, and is not recorded there", store.place, out
        )
        return False
    return True


def report(
    store: OpenStore, kept: Audit, out: Path, images: ImageSource | None, options: AuditOptions
) -> None:
    """Write an audit's HTML report."""
    products = Shown(store, images)
    count = len({one.product_id for one in kept.suspects})
    with Meter("making thumbnails", None if count else 0, "photos", options.quiet) as meter:
        write_report(
            out,
            kept,
            titles=products.titles,
            photos=products.photos,
            decided=store.decisions().settled,
            most=options.max_suspects,
            progress=meter.advance,
        )
