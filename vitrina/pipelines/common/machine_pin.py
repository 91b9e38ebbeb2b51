"""The machines of a space: its card names the kind that made its vectors, others are refused."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vitrina.embedder.machine import Machine
from vitrina.errors import StoreError
from vitrina.pipelines.common.encoders import Encoder
from vitrina.store.space import Space
from vitrina.typed_json import convert_json

MACHINE = "machine"
"""Key of a space's card: the kind of machine that its vectors were made on."""
OTHERS, BOUND = "other_machines", "least_cosine_to_float32"
"""Keys of a space with vectors of several kinds of machines."""

log = logging.getLogger(__name__)


def on_this_machine(space: Space, here: Machine, *, is_mixed: bool) -> Space:
    """Return a space whose card says that this machine makes vectors for it.

    A space without vectors is pinned to this machine, as is one of an older version. here: this
    machine, with the space's encoder. is_mixed: whether another kind of machine may go on.
    Raises StoreError if this machine does not reproduce the space's vectors and may not go on.
    """
    card = dict(space.card)
    there, others = _pinned(space)
    if there is None or not space.entry.shards:
        if space.entry.shards and space.compute not in (None, here.compute):
            log.warning(
                "space %s: its vectors were made in %s, and this machine makes them in %s",
                space.name,
                space.compute,
                here.compute,
            )
        card = {key: value for key, value in card.items() if key not in (OTHERS, BOUND)}
        card[MACHINE] = here.to_json()
    elif here.probe != there.probe:
        if not (is_mixed or others):
            raise _refusal(space, there, here)
        if here.probe not in [one.probe for one in others]:
            others = (*others, here)
        card[OTHERS] = [one.to_json() for one in others]
        card[BOUND] = min(one.agreement for one in (there, *others))
    return _with_card(space, card)


def check_machine(space: Space, encoder: Encoder) -> None:
    """Raise StoreError if this machine does not reproduce the vectors of a pinned space."""
    there, others = _pinned(space)
    if there is None or others:
        return
    here = Machine.of(encoder)
    if here.probe != there.probe:
        raise _refusal(space, there, here)


def is_on_gpu(space: Space) -> bool:
    """Whether the machine that a space is pinned to makes its vectors on a GPU."""
    there, _ = _pinned(space)
    return there is not None and there.gpu is not None


def _pinned(space: Space) -> tuple[Machine | None, tuple[Machine, ...]]:
    """The machine of a space's card, None if it has none, and the others. Raises StoreError for a
    card that is not as Vitrina writes it."""
    card = {MACHINE: None, OTHERS: (), **space.card}
    where, way_out = f"the card of the space {space.name}", "bring the store back from a backup"
    there = convert_json(card[MACHINE], Machine | None, where, way_out)  # type: ignore[arg-type]
    others = convert_json(card[OTHERS], tuple[Machine, ...], where, way_out)
    return there, others


def _with_card(space: Space, card: Mapping[str, Any]) -> Space:
    return Space.open(space.files, space.name, replace(space.entry, card=card))


def _refusal(space: Space, there: Machine, here: Machine) -> StoreError:
    same = replace(there, probe=here.probe) == here
    this = "this one, of the same description," if same else f"this one ({here})"
    cosine = min(there.agreement, here.agreement)
    return StoreError(
        f"the vectors of the space {space.name} were made on a machine ({there}) whose bytes "
        f"{this} does not reproduce; embed on a machine of that kind, or in a store of its own, or "
        f"add --mixed-machines: then vectors agree by cosine, at least {cosine} to float32"
    )
