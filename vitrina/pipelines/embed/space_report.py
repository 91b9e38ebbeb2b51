"""Report on the embedding of one space."""

from __future__ import annotations

from dataclasses import dataclass, field

from vitrina.page.summary import Summarised, Summary
from vitrina.page.words import duration


@dataclass(repr=False)
class SpaceReport(Summarised):
    """Counts of one space's embedding, in products.

    reused: share content that was embedded once. missing: have no content of this modality; of
    photos, none is named. not_found: name photos that do not exist. mended: were embedded from a
    faulty photo. sought: name a photo, or should have one by the template. found: of these, have
    one. compute: the encoder's numeric format, None if nothing was encoded. seconds: of encoding
    alone. stages: share of the threads' time for reading, decoding, encoding and writing.
    bottleneck: the stage that the others waited for.
    """

    space: str
    model: str
    dim: int
    unchanged: int = 0
    embedded: int = 0
    reused: int = 0
    failed: int = 0
    missing: int = 0
    not_found: int = 0
    mended: int = 0
    sought: int = 0
    found: int = 0
    waiting: int = 0
    seconds: float = 0.0
    compute: str | None = None
    stages: dict[str, float] = field(default_factory=dict)
    bottleneck: str | None = None

    def line(self) -> str:
        """The counts that are not 0, on one line."""
        names = ("embedded", "reused", "unchanged", "failed", "missing", "not_found", "mended")
        counts = [(name.replace("_", " "), getattr(self, name)) for name in (*names, "waiting")]
        told = ", ".join(f"{count:,} {name}" for name, count in counts if count)
        return f"{self.model}, {self.dim} numbers: {told or 'nothing to embed'}"

    def summary(self) -> Summary:
        """Counts of products, and times."""
        facts = [
            ("products", self.line()),
            ("computed in", self.compute),
            ("slowest stage", self.bottleneck),
            ("time", duration(self.seconds)),
        ]
        return Summary(f"Space {self.space}", facts)
