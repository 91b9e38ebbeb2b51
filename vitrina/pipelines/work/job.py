"""The work of one machine: compute every n-th published order once, and end.

Results go to the staging folder; nothing is committed, so any number of workers can run while one
`vitrina embed --engine staged` adopts what they compute.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

from vitrina.errors import StoreError
from vitrina.page.summary import Summarised, Summary
from vitrina.page.words import duration
from vitrina.pipelines.common.order_worker import OrderWorker, WorkerSettings
from vitrina.pipelines.common.progress import Meter, timed_job
from vitrina.pipelines.work.options import WorkOptions
from vitrina.stage_timer import stage
from vitrina.store.orders import Order
from vitrina.store.staging import Staging
from vitrina.store.store import OpenStore

log = logging.getLogger(__name__)


@dataclass(repr=False)
class WorkReport(Summarised):
    """Result of a worker's run. orders: published ones of its part. computed: by this run. there:
    computed before. ignored: damaged, foreign or gone. contents: encoded texts or photos. failed:
    contents that can't be encoded. stages: seconds of each stage."""

    store: str
    part: str
    orders: int = 0
    computed: int = 0
    there: int = 0
    ignored: int = 0
    contents: int = 0
    failed: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def summary(self) -> Summary:
        """Counts of orders and contents."""
        counts = {name: getattr(self, name) for name in ("computed", "there", "ignored")}
        facts: list[tuple[str, Any]] = [
            ("orders", {name: count for name, count in counts.items() if count}),
            ("contents encoded", f"{self.contents:,}"),
            ("failed", self.failed or None),
            ("time", duration(self.seconds)),
        ]
        return Summary(f"Worked on part {self.part} of {self.store}", facts)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        return asdict(self)


def work(store: OpenStore, options: WorkOptions) -> WorkReport:
    """Compute the orders of a part that have no result yet.

    Raises FingerprintError for another model, EncoderError if it can't be had or runs in other
    numbers here, StoreError for orders of another version, ImageSourceError if the photos can't be
    opened.
    """
    number, count = options.share
    report = WorkReport(store.place, options.part)
    settings = WorkerSettings(options.text, options.image, options.images, options.max_pixels)
    with (
        timed_job("working", options.quiet) as run,
        closing(OrderWorker(store, settings)) as worker,
    ):
        staging = Staging(store.files)
        names = [name for name, one in staging.orders.items() if one.number % count == number - 1]
        report.orders = len(names)
        title = "computing orders"
        with Meter(title, len(names), unit="orders", quiet=options.quiet) as meter:
            for order in _read(store, staging, names, report, meter):
                result = worker.compute(order)
                with stage("writing"):
                    staging.put(result)
                report.computed += 1
                report.contents += int(result.ok.sum())
                report.failed += len(result.failures)
                meter.advance(1)
        report.stages, report.seconds = run.seconds(), round(run.total, 2)
    return report


def _read(
    store: OpenStore, staging: Staging, names: list[str], report: WorkReport, meter: Meter
) -> Iterator[Order]:
    """Yield the orders that have no result, and count the others."""
    for name in names:
        try:
            order = staging.read(name)
        except FileNotFoundError:
            # Another worker was faster, and the result is committed.
            report.ignored += 1
        except StoreError as err:
            log.warning("%s", err)
            report.ignored += 1
        else:
            if order.terms.space not in store.manifest.spaces:
                log.warning("%s is of the space %s, which is gone", name, order.terms.space)
                report.ignored += 1
            elif staging.result(order.key, len(order.encoded), order.terms) is None:
                yield order
                continue
            else:
                report.there += 1
        meter.advance(1)
