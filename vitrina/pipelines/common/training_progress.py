"""What a person sees of a training: how far it is, and a line for every epoch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vitrina.pipelines.common.progress import Meter
from vitrina.training.loop import Epoch, Watch

KEPT_APART = "weighted F1 of rows kept to stop by"


@contextmanager
def watching(
    title: str, total: int, rows: int, score: str, unit: str = "products", *, quiet: bool
) -> Iterator[Watch]:
    """What `fit` tells, shown while it lasts. title: what is done. total: rows of all epochs.
    rows: of one. score: what an epoch's score is."""
    with Meter(title, total, unit, quiet, per_pass=rows, pass_name="epoch") as meter:

        def epoch_done(epoch: Epoch) -> None:
            meter.say(
                f"epoch {epoch.number + 1}: loss {epoch.loss:.4f}, {score} {epoch.score:.4f}, "
                f"{epoch.seconds:.0f} s"
            )

        yield Watch(meter.advance, meter.resume, epoch_done)
