"""Parameter groups with layer-wise learning rates: deeper layers get lower rates."""

from __future__ import annotations

import re

import torch

from vitrina.training.optimiser import ParameterGroup

_LAYER = re.compile(r"(?:^|\.)(?:layers?|blocks|resblocks|stages|h)\.(\d+)\.")


def by_depth(module: torch.nn.Module, decay: float) -> list[ParameterGroup]:
    """Group a module's trainable parameters by layer.

    decay: learning rate of a layer relative to the layer above it (layer-wise decay, as in Howard &
    Ruder, "Universal language model fine-tuning", 2018). The top layer and all parameters after the
    layers have the full rate, parameters before the layers the lowest.
    """
    named = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
    depths = {name: _LAYER.search(name) for name, _ in named}
    count = 1 + max((int(found[1]) for found in depths.values() if found), default=-1)
    groups: dict[tuple[int, bool], list[torch.nn.Parameter]] = {}
    seen = False
    for name, one in named:
        found = depths[name]
        seen = seen or found is not None
        # Modules list their parts in the order of execution.
        level = int(found[1]) + 1 if found else (count if seen or not count else 0)
        groups.setdefault((level, one.ndim > 1), []).append(one)
    return [
        ParameterGroup(tuple(parameters), decay ** (count - level) if count else 1.0, decay=matrix)
        for (level, matrix), parameters in groups.items()
    ]
