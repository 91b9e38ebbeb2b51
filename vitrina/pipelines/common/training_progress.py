"""Progress of a training: a bar with the last epoch's result, and a log line for every epoch."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from vitrina.logs import NOTICE
from vitrina.pipelines.common.progress import Meter
from vitrina.training.loop import Epoch, Watch

log = logging.getLogger(__name__)

KEPT_APART = "weighted F1 of held-out rows"


@contextmanager
def watch_training(
    title: str, total: int, rows: int, score: str, unit: str = "products", *, quiet: bool | None
) -> Iterator[Watch]:
    """Show the progress of `fit`. title: of the bar. total: rows of all epochs. rows: of one epoch.
    score: name of an epoch's score."""
    with Meter(title, total, unit, quiet, per_pass=rows, pass_name="epoch") as meter:

        def epoch_done(epoch: Epoch) -> None:
            result = f"loss {epoch.loss:.4f}, {score} {epoch.score:.4f}"
            meter.note = f"epoch {epoch.number + 1}: {result}"
            line = "%s: epoch %d: %s, %.0f s"
            log.log(NOTICE, line, title, epoch.number + 1, result, epoch.seconds)

        yield Watch(meter.advance, meter.resume, epoch_done)
