"""Options of an embedding."""

from __future__ import annotations

from dataclasses import dataclass

from vitrina.pipelines.embed.change_guard import FailureLimit
from vitrina.store.plan import SHARD_ROWS
from vitrina.types import Compute

DTYPE = "float16"
"""Default dtype of stored vectors: as good as float32 for heads, in half the space."""


@dataclass(frozen=True)
class EmbedOptions:
    """Options of an embedding.

    text, image: model names, "none" to leave a modality out, None for what the store remembers
    and else the defaults. dtype: "float16" or "float32", how vectors are kept; None for what
    the space has, float16 for a new one. compute: the numbers that encoders are run in; None for
    what the space has, the fastest here that keep the vectors for a new one. shard_rows: rows of a
    shard at most. source: the name of the catalogue's source, "" for the unnamed one; None for what
    the catalogue itself says, or the store's only one. max_failures: the share of the catalogue's
    rows, and of its products of a modality, that may fail in this run; None for the usual one.
    accept_changes: however much
    of the catalogue vanished or changed since it was last read. prune: drop the source's products
    that the catalogue does not mention. retry_failed: try again what
    failed. rehash: read photos again whose files look unchanged. refit: fit `lexical` and
    `thumbnail` anew. seed: for fitting. quiet: print no progress.
    """

    text: str | None = None
    image: str | None = None
    dtype: str | None = None
    compute: Compute | None = None
    shard_rows: int = SHARD_ROWS
    source: str | None = None
    max_failures: float | None = None
    accept_changes: bool = False
    prune: bool = False
    retry_failed: bool = False
    rehash: bool = False
    refit: bool = False
    seed: int = 0
    quiet: bool = True

    @property
    def failures(self) -> FailureLimit:
        """Limit on failed rows, and on failed products of a modality."""
        return FailureLimit.of(self.max_failures)
