"""Progress of a training: a bar, and a line for every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vitrina.pipelines.common.progress import Meter
from vitrina.training.loop import Epoch, Watch

KEPT_APART = "weighted F1 of rows kept to stop by"


@contextmanager
def watch_training(
    title: str, total: int, rows: int, score: str, unit: str = "products", *, quiet: bool
) -> Iterator[Watch]:
    """Show the progress of `fit`. title: of the bar. total: rows of all epochs. rows: of one epoch.
    score: name of an epoch's score."""
    with Meter(title, total, unit, quiet, per_pass=rows, pass_name="epoch") as meter:

        def epoch_done(epoch: Epoch) -> None:
            meter.say(
                f"epoch {epoch.number + 1}: loss {epoch.loss:.4f}, {score} {epoch.score:.4f}, "
                f"{epoch.seconds:.0f} s"
            )

        yield Watch(meter.advance, meter.resume, epoch_done)
