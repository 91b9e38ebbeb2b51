"""The command of a machine that computes orders for another process to commit: work."""

from __future__ import annotations

from vitrina.cli.common import AsJson, StoreArgument, StoreOption, open_store, show
from vitrina.cli.options import with_options
from vitrina.pipelines.work.options import WorkOptions
from vitrina.stage_timer import stages_line


@with_options
def work(
    store: StoreArgument = None,
    store_option: StoreOption = None,
    *,
    options: WorkOptions,
    as_json: AsJson = False,
) -> None:
    """Compute orders of `vitrina embed --engine staged`, and end."""
    from vitrina import api

    report = api.work(open_store(store, store_option), options)
    lines = []
    if report.there or report.ignored:
        lines.append(f"{report.there} orders were computed before, {report.ignored} are ignored")
    if report.failed:
        lines.append(f"{report.failed} contents can't be encoded; embed records them")
    if report.stages:
        lines.append(f"time: {stages_line(report.stages)}")
    if not report.orders:
        lines.append("no orders are published; `vitrina embed --engine staged` publishes them")
    lines.append(
        f"done: {report.computed} of {report.orders} orders computed, {report.contents} vectors, "
        f"in {report.store}, {report.seconds:.1f} s"
    )
    show(as_json, report.to_json(), *lines)
