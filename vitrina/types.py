"""Types shared by all packages: enums for external strings, aliases for arrays and ids."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ProductId: TypeAlias = int | str
CategoryId: TypeAlias = int | str
IdType: TypeAlias = type[int] | type[str]

Vectors: TypeAlias = "npt.NDArray[np.float32]"
"""(n, dim) float32; a row is L2-normalised, or all zero if the modality is missing."""

Stored: TypeAlias = "npt.NDArray[np.floating]"
"""(n, dim) float16 or float32, the dtype in which a space stores its vectors."""

Codes: TypeAlias = "npt.NDArray[np.int64]"
"""(n,) int64: positions or class numbers; -1 means none."""

Mask: TypeAlias = "npt.NDArray[np.bool_]"
"""(n,) bool."""

Floats: TypeAlias = "npt.NDArray[np.float32]"
"""float32 of any shape."""


class Modality(StrEnum):
    """Input type of an encoder."""

    TEXT = "text"
    IMAGE = "image"


class Features(StrEnum):
    """Feature set of an index or a head: the text space, the image space, or both."""

    TEXT = "text"
    IMAGE = "image"
    FUSED = "fused"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities whose vectors are concatenated, text first."""
        if self is Features.FUSED:
            return (Modality.TEXT, Modality.IMAGE)
        return (Modality(self.value),)


class Dtype(StrEnum):
    """Data type of stored vectors."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"


class Compute(StrEnum):
    """Numeric precision of model inference; output vectors are always float32."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class EngineKind(StrEnum):
    """Where orders are computed: in this process (local), by `vitrina work` processes of another
    scheduler (staged), or by actors of a Ray cluster (ray)."""

    LOCAL = "local"
    STAGED = "staged"
    RAY = "ray"


class HeadKind(StrEnum):
    """Kind of classifier over the vectors."""

    LOGISTIC = "logistic"
    MLP = "mlp"


class FusionKind(StrEnum):
    """Fusion method of a prediction: one head over all vectors (early), one head per modality
    (late), the early head and the neighbours' vote (knn), or all of these (stack)."""

    EARLY = "early"
    LATE = "late"
    KNN = "knn"
    STACK = "stack"


class SplitKind(StrEnum):
    """Method that chooses the validation rows."""

    STRATIFIED = "stratified"
    GROUPED = "grouped"


class Pooling(StrEnum):
    """Pooling of token vectors into one vector. Poolings joined by "+" are concatenated, in that
    order; `CLS_MEAN` is one of these, and `Pooling("max+mean")` gives any other."""

    CLS = "cls"
    MEAN = "mean"
    MAX = "max"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"
    WEIGHTED_MEAN = "weightedmean"
    LAST_TOKEN = "lasttoken"
    CLS_MEAN = "cls+mean"

    @property
    def parts(self) -> tuple[Pooling, ...]:
        """The poolings that are concatenated."""
        return tuple(Pooling(name) for name in self.value.split("+"))

    @property
    def width(self) -> int:
        """Ratio of the pooled vector's dimension to a token vector's."""
        return self.value.count("+") + 1

    @classmethod
    def _missing_(cls, value: object) -> Pooling | None:
        names = str(value).split("+")
        single = {one.value for one in cls if "+" not in one.value}
        if not 1 < len(names) == len(set(names) & single):
            return None
        # Kept, so that equal values are one object, as for other members.
        joined = str.__new__(cls, value)
        joined._name_, joined._value_ = str(value).upper(), str(value)
        cls._value2member_map_[value] = joined
        return joined


class Balance(StrEnum):
    """Class-imbalance handling in training."""

    NONE = "none"
    WEIGHTS = "weights"
    PRIOR = "prior"


class Action(StrEnum):
    """Reviewer's action on an audited product: keep its category, move it to another one, skip it,
    or undo an earlier decision."""

    KEEP = "keep"
    MOVE = "move"
    SKIP = "skip"
    UNDO = "undo"


class Reason(StrEnum):
    """Reason why a label is suspect.

    MODEL: an out-of-fold head confidently predicts another category. NEIGHBOURS, COPIES: the
    product's neighbours or near duplicates have another category. MODALITIES: its text and its
    photo disagree. TEXT, PHOTO: its text or its photo is an outlier within the category.
    """

    MODEL = "model"
    NEIGHBOURS = "neighbours"
    COPIES = "copies"
    MODALITIES = "modalities"
    TEXT = "text"
    PHOTO = "photo"


class OutputFormat(StrEnum):
    """Format of a predictions file."""

    FULL = "full"
    SUBMISSION = "submission"


class IfExists(StrEnum):
    """Handling of a table that exists already: fail, append to it, or replace it."""

    FAIL = "fail"
    APPEND = "append"
    REPLACE = "replace"


class IndexKind(StrEnum):
    """Search structure of an index."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF_FLAT = "ivf-flat"
    IVF_PQ = "ivf-pq"
    OTHER = "other"


class VoteKind(StrEnum):
    """Weighting of the neighbours' votes."""

    UNIFORM = "uniform"
    SIMILARITY = "similarity"
    SOFTMAX = "softmax"
