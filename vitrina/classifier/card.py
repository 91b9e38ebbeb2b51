"""`model.json`: the card of a head, validated on reading since a store may be untrusted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from vitrina.classifier.backoff import ThresholdsCard
from vitrina.classifier.fusion import VOTE, BlendCard, modality_groups
from vitrina.ids import typed_id
from vitrina.typed_json import Share, StoredId, read_json_as
from vitrina.types import CategoryId, Features, FusionKind, HeadKind, IdType, Modality
from vitrina.whitening import tensor_shapes

CARD_FILE = "model.json"
AGAIN = "run `vitrina train` again"
WIDEST = 1 << 16
"""Upper limit of a head's vector lengths and hidden width."""


@dataclass(frozen=True)
class HeadShape:
    """Shape of a head: everything needed to build it without weights.

    dims: the vector length of each modality. scales: the factor of each input block;
    the smaller, the more the weight decay suppresses the block. hidden: the MLP's width. whitened:
    whether each modality's vectors are whitened first; empty for none, as in older heads.

    Raises ValueError for no modality, or more than two, or flags that are not one for each.
    """

    kind: HeadKind
    dims: tuple[Annotated[int, Meta(ge=1, le=WIDEST)], ...]
    scales: tuple[Annotated[float, Meta(ge=0, le=1e3)], ...]
    classes: Annotated[int, Meta(ge=1, le=2**31)]
    hidden: Annotated[int, Meta(ge=1, le=WIDEST)] = 512
    dropout: Share = 0.3
    whitened: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= len(self.dims) == len(self.scales) <= 2:
            raise ValueError(f"{len(self.dims)} lengths of vectors with {len(self.scales)} scales")
        if self.whitened and len(self.whitened) != len(self.dims):
            raise ValueError(f"{len(self.dims)} lengths of vectors, {len(self.whitened)} whitened")

    def to_json(self) -> dict[str, Any]:
        """The shape as JSON values for `model.json`."""
        return {**asdict(self), "kind": self.kind.value}

    @property
    def width(self) -> int:
        """The length of the first layer's input; see `Head`."""
        single = sum(self.dims) if len(self.dims) > 1 else 0
        return sum(self.dims) + single + len(self.dims)

    @property
    def whitened_numbers(self) -> tuple[int, ...]:
        """The numbers of the modalities whose vectors are whitened."""
        return tuple(number for number, one in enumerate(self.whitened) if one)

    @property
    def tensors(self) -> dict[str, tuple[int, ...]]:
        """The shape of each of the head's tensors, by its name in `Head.state_dict`."""
        whitening: dict[str, tuple[int, ...]] = {}
        for number in self.whitened_numbers:
            centre, factor = tensor_shapes(self.dims[number])
            whitening |= {f"centre_{number}": centre, f"factor_{number}": factor}
        if self.kind is HeadKind.LOGISTIC:
            weight = (self.classes, self.width)
            return {**whitening, "layers.weight": weight, "layers.bias": (self.classes,)}
        return {
            **whitening,
            "layers.1.weight": (self.hidden, self.width),
            "layers.1.bias": (self.hidden,),
            "layers.4.weight": (self.classes, self.hidden),
            "layers.4.bias": (self.classes,),
        }


@dataclass(frozen=True)
class ClassCard:
    """One class: its category's id, and its path at the time of training."""

    id: StoredId
    name: str | None = None


@dataclass(frozen=True)
class InputCard:
    """The space that a modality's vectors must come from."""

    modality: Modality
    space: str
    fingerprint: str


@dataclass(frozen=True)
class F1Card:
    """The scores of a head that `vitrina info` shows."""

    weighted_f1: Share
    macro_f1: Share


@dataclass(frozen=True)
class ReportCard:
    """The part of a training report that `vitrina info` shows."""

    features: Features
    head: HeadKind
    split: str
    validation: F1Card


@dataclass(frozen=True)
class ModelCard:
    """Content of `model.json`. Raises ValueError for inconsistent fields."""

    name: str
    features: Features
    fusion: FusionKind
    shapes: Mapping[str, HeadShape]
    blend: BlendCard
    back_off: tuple[ThresholdsCard, ...]
    categories: tuple[ClassCard, ...]
    inputs: tuple[InputCard, ...]
    report: Mapping[str, Any]
    vote: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not self.categories:
            raise ValueError("no categories")
        if not self.back_off:
            raise ValueError("no thresholds")
        self._check_inputs()
        self._check_shapes()
        self._check_blend()

    @classmethod
    def read(cls, folder: Path) -> ModelCard:
        """Read the card of the head in a folder. Raises StoreError."""
        return read_json_as(folder / CARD_FILE, cls, AGAIN)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The path of each class, "" for none."""
        return tuple(one.name or "" for one in self.categories)

    def ids(self, kind: IdType) -> tuple[CategoryId, ...]:
        """The id of each class, converted to the type of the store's ids.

        Raises ValueError for an id of another type, or a duplicate id.
        """
        ids = tuple(typed_id(one.id, kind) for one in self.categories)
        if not all(isinstance(one, kind) for one in ids):
            raise ValueError("category ids are text where the store has integers")
        if len(set(ids)) < len(ids):
            raise ValueError("a category occurs twice")
        return ids

    def _check_inputs(self) -> None:
        named = [one.modality for one in self.inputs]
        if sorted(named) != sorted(self.features.modalities):
            raise ValueError(f"{self.features} vectors, but inputs of {', '.join(named) or 'none'}")

    def _check_shapes(self) -> None:
        if not self.shapes:
            raise ValueError("no heads")
        lengths: dict[Modality, int] = {}
        for member, shape in self.shapes.items():
            modalities = _features(member).modalities
            if not set(modalities) <= set(self.features.modalities):
                raise ValueError(f"a head over {member} in a model over {self.features}")
            if len(shape.dims) != len(modalities):
                raise ValueError(f"the head over {member} has {len(shape.dims)} vectors")
            if shape.classes != len(self.categories):
                raise ValueError(
                    f"the head over {member} has {shape.classes} classes, but there are "
                    f"{len(self.categories)} categories"
                )
            for modality, dim in zip(modalities, shape.dims, strict=True):
                if lengths.setdefault(modality, dim) != dim:
                    raise ValueError(f"{modality} vectors of {lengths[modality]} and of {dim}")

    def _check_blend(self) -> None:
        heads = [one for one in self.blend.members if one != VOTE]
        if unknown := set(heads) - self.shapes.keys():
            raise ValueError(f"no head over {', '.join(sorted(unknown))}")
        if not heads:
            raise ValueError("no head among the members")
        lacking = [one for one in modality_groups(self.features) if one not in self.blend.weights]
        if lacking:
            raise ValueError(f"no weights for products with {', '.join(lacking)}")

    def dims(self) -> dict[Modality, int]:
        """The vector length of each modality that a head takes."""
        return {
            modality: dim
            for member, shape in self.shapes.items()
            for modality, dim in zip(_features(member).modalities, shape.dims, strict=True)
        }


def _features(member: str) -> Features:
    try:
        return Features(member)
    except ValueError as err:
        raise ValueError(f"{member!r} is nothing that a head looks at") from err
