"""Words shared by every room: enums for the strings that come from outside, array aliases."""

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
"""(n, dim) float32, each row L2-normalised or all zero where the modality is missing."""

Stored: TypeAlias = "npt.NDArray[np.floating]"
"""(n, dim) float16 or float32, as a space keeps its vectors."""

Codes: TypeAlias = "npt.NDArray[np.int64]"
"""(n,) int64: positions or class numbers; -1 stands for none."""

Mask: TypeAlias = "npt.NDArray[np.bool_]"
"""(n,) bool."""

Floats: TypeAlias = "npt.NDArray[np.float32]"
"""float32 of any shape."""


class Modality(StrEnum):
    """What an encoder looks at."""

    TEXT = "text"
    IMAGE = "image"


class Features(StrEnum):
    """Which spaces an index or a head is built over."""

    TEXT = "text"
    IMAGE = "image"
    FUSED = "fused"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities whose vectors are concatenated, text first."""
        if self is Features.FUSED:
            return (Modality.TEXT, Modality.IMAGE)
        return (Modality(self.value),)


class Compute(StrEnum):
    """The numbers that a model is run in; its vectors come out as float32 all the same."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    INT8 = "int8"


class HeadKind(StrEnum):
    """The classifier over the vectors."""

    LOGISTIC = "logistic"
    MLP = "mlp"


class FusionKind(StrEnum):
    """What a prediction is put together from: one head over all vectors (early), a head for each
    modality (late), the early head and the neighbours' vote (knn), or all of these (stack)."""

    EARLY = "early"
    LATE = "late"
    KNN = "knn"
    STACK = "stack"


class SplitKind(StrEnum):
    """How validation rows are chosen."""

    STRATIFIED = "stratified"
    GROUPED = "grouped"


class Pooling(StrEnum):
    """How token vectors become one. `CLS_MEAN` is both, one after the other."""

    CLS = "cls"
    MEAN = "mean"
    MAX = "max"
    MEAN_SQRT_LEN = "mean_sqrt_len_tokens"
    CLS_MEAN = "cls+mean"

    @property
    def width(self) -> int:
        """Numbers of the one vector for each of a token's."""
        return 2 if self is Pooling.CLS_MEAN else 1


class Balance(StrEnum):
    """How rare categories are heard in training."""

    NONE = "none"
    WEIGHTS = "weights"
    PRIOR = "prior"


class Action(StrEnum):
    """What a reviewer did with an audited product: its category is right, another one is, he
    does not say, or he takes back what he said."""

    KEEP = "keep"
    MOVE = "move"
    SKIP = "skip"
    UNDO = "undo"


class Reason(StrEnum):
    """Why a label is suspect: a head that never saw the product is sure of another category, its
    neighbours have another one, its copies have, its text and its photo say different things, its
    text or its photo is unlike all others of the category."""

    MODEL = "model"
    NEIGHBOURS = "neighbours"
    COPIES = "copies"
    MODALITIES = "modalities"
    TEXT = "text"
    PHOTO = "photo"


class OutputFormat(StrEnum):
    """The form of a predictions file."""

    FULL = "full"
    SUBMISSION = "submission"


class IndexKind(StrEnum):
    """How an index finds neighbours."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVF_FLAT = "ivf-flat"
    IVF_PQ = "ivf-pq"
    OTHER = "other"


class VoteKind(StrEnum):
    """What a neighbour's vote weighs."""

    UNIFORM = "uniform"
    SIMILARITY = "similarity"
    SOFTMAX = "softmax"
