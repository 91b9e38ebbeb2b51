"""Options of a worker."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from vitrina.data.image_limits import MAX_PIXELS, MEGAPIXEL, MOST_MEGAPIXELS, in_pixels
from vitrina.errors import OptionError
from vitrina.options import JobOptions, Panel, option


@dataclass(frozen=True)
class WorkOptions(JobOptions):
    """Options of `work`; see there.

    Examples
    --------
    >>> vt.WorkOptions(part="3/16").share
    (3, 16)
    """

    PANEL = Panel.UPDATE

    part: str = option(
        "Share of the orders to compute: 3/16 is the third of every sixteen.",
        default="1/1",
        metavar="N/M",
    )
    _: KW_ONLY
    text: str | None = option(
        "Where this machine has the text model: a directory, or another name of the same model; "
        "default: the name that the store remembers.",
        flag="text-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    image: str | None = option(
        "Where this machine has the image model; default: the name that the store remembers.",
        flag="image-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    images: str | None = option(
        "Where this machine has the photos: the same folder or archive, under its path here; "
        "default: where the catalogue's were.",
        panel=Panel.PHOTOS,
        metavar="PATH",
    )
    max_megapixels: int | None = option(
        f"Refuse larger photos, in million pixels; default: {MAX_PIXELS // MEGAPIXEL}. It must be "
        "that of `embed`.",
        least=1,
        most=MOST_MEGAPIXELS,
        panel=Panel.PHOTOS,
        right=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        number, count = self.share
        if not 1 <= number <= count:
            raise OptionError("part", f"must be 1/{count} to {count}/{count}, not {self.part}")

    @property
    def share(self) -> tuple[int, int]:
        """The number of the part, from 1, and the number of parts."""
        number, slash, count = self.part.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal() and int(count) > 0):
            raise OptionError("part", f"must be like 3/16, not {self.part!r}")
        return int(number), int(count)

    @property
    def max_pixels(self) -> int:
        """Maximum number of pixels of a photo."""
        return in_pixels(self.max_megapixels)
