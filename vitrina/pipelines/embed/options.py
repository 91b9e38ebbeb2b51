"""Options of an embedding."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from vitrina.data.options import SOURCE
from vitrina.errors import OptionError
from vitrina.options import Panel, option
from vitrina.pipelines.common.options import SeededOptions
from vitrina.store.plan import LARGE_SHARD_ROWS, MOST_SHARD_ROWS, SHARD_ROWS
from vitrina.types import Compute, Dtype, EngineKind

if TYPE_CHECKING:
    from vitrina.pipelines.embed.change_guard import FailureLimit

DTYPE = Dtype.FLOAT16
"""Default dtype of stored vectors: as good as float32 for heads, in half the space."""


@dataclass(frozen=True)
class EmbedOptions(SeededOptions):
    """Options of `embed`; see there.

    Examples
    --------
    >>> vt.EmbedOptions(text="lexical", image="none", dtype="float32").dtype
    <Dtype.FLOAT32: 'float32'>
    """

    PANEL = Panel.UPDATE

    _: KW_ONLY
    text: str | None = option(
        "Text model: a name of `vitrina models`, hf:REPO, a model directory, an encoder trained in "
        "this store, lexical, or none; default: the store's, else hf:cointegrated/rubert-tiny2.",
        flag="text-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    image: str | None = option(
        "Image model: a name of `vitrina models`, open_clip:ARCH/TAG, timm:NAME, a model "
        "directory, an encoder trained in this store, thumbnail, or none; default: the store's, "
        "else open_clip:ViT-B-32-quickgelu/openai.",
        flag="image-model",
        panel=Panel.MODELS,
        metavar="MODEL",
    )
    text_prompt: str | None = option(
        "Text before every product's text, as the text model's makers advise (\"query: \"), or the "
        "name of one of the model's prompts; default: the store's for this model, else the model's "
        "own. It is part of the encoder's fingerprint.",
        panel=Panel.MODELS,
        metavar="TEXT",
    )
    dim: int | None = option(
        "Number of leading components of text vectors to keep, for models trained for it "
        "(Matryoshka); default: the store's for this model, else the model's own.",
        least=1,
        panel=Panel.MODELS,
    )
    dtype: Dtype | None = option(
        "Data type of stored vectors; default: the store's, else float16.", panel=Panel.MODELS
    )
    compute: Compute | None = option(
        "Numeric precision of inference; default: the store's, else the fastest on this machine "
        "that preserves the vectors.",
        panel=Panel.MODELS,
    )
    source: str | None = option(
        SOURCE,
        command_line=False,
    )
    max_failures: float | None = option(
        "Maximum share of rows, or of products with unusable content, that may fail; default: "
        "0.05, plus 3 rows.",
        least=0,
        most=1,
    )
    accept_changes: bool = option(
        "Continue even if much of the catalogue vanished or changed.", default=False
    )
    prune: bool = option(
        "Remove the source's products that are not in the catalogue.", default=False
    )
    retry_failed: bool = option("Retry content that failed before.", default=False)
    rehash: bool = option(
        "Read all photos again, even if their files have the same size and time.", default=False
    )
    refit: bool = option(
        "Fit lexical and thumbnail again on this catalogue.",
        default=False,
        flag="--refit/--no-refit",
    )
    shard_rows: int | None = option(
        "Maximum rows of a new shard; default: the space's, chosen when the space is made: "
        f"{SHARD_ROWS}, or {LARGE_SHARD_ROWS} for a million products. A killed run encodes one "
        "shard again.",
        least=1,
        most=MOST_SHARD_ROWS,
    )
    mixed_machines: bool = option(
        "Encode on a machine that can't reproduce the bytes of the space's vectors; they then "
        "agree only by cosine, and the space's card says so.",
        default=False,
    )
    engine: EngineKind = option(
        "Where vectors are computed: in this process (local), by `vitrina work` on any machines "
        "(staged), or by workers on the Ray cluster of RAY_ADDRESS, else on one of this machine "
        "(ray). This process waits for their results and commits them.",
        default=EngineKind.LOCAL,
    )
    wait: bool = option(
        "Whether the engine staged waits for results, or ends once its orders are published; the "
        "next run adopts what was computed.",
        default=True,
        flag="--wait/--no-wait",
    )
    workers: int | None = option(
        "Number of workers of the engine ray; default: one for each GPU if the space's vectors are "
        "made on one, else one for every 4 CPUs of the cluster. --threads sets the CPUs of each.",
        least=1,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.wait and self.engine is not EngineKind.STAGED:
            raise OptionError(
                "wait", f"is for the engine staged, not {self.engine}", flag="--no-wait"
            )
        if self.workers is not None and self.engine is not EngineKind.RAY:
            raise OptionError("workers", f"is for the engine ray, not {self.engine}")
        if self.mixed_machines and self.engine is not EngineKind.LOCAL:
            raise OptionError(
                "mixed_machines",
                "is for the engine local: workers elsewhere are of one kind, that of "
                "the machine which made the space",
                flag="--mixed-machines",
            )

    @property
    def failures(self) -> FailureLimit:
        """Limit on rejected rows, and on failed products of a modality."""
        from vitrina.pipelines.embed.change_guard import FailureLimit

        return FailureLimit.of(self.max_failures)
