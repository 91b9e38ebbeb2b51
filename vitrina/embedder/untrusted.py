"""Loading of untrusted model files by other libraries: offline, without the model's own code, with
sizes bounded by its weights, and a one-line error for every failure."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import torch
from torch.nn.modules import module as modules
from torch.overrides import TorchFunctionMode

from vitrina.errors import EncoderError, VitrinaError
from vitrina.store.damage import reason_of

TIMES_NUMBERS, SLACK_NUMBERS = 4, 10_000_000
"""Limit on numbers allocated, relative to the weights: a library creates each parameter up to three
times while loading it, and some parts are unused."""
PARTS_PER_TENSOR, SLACK_PARTS = 20, 2_000
MOST_NUMBERS, MOST_PARTS = 2_000_000_000, 40_000
"""Limits of a model with random weights."""

_FACTORIES = {
    getattr(torch, name)
    for name in ("arange", "empty", "eye", "full", "ones", "rand", "randn", "zeros")
}


@dataclass(frozen=True)
class Budget:
    """Limits on a network that a library builds. numbers: of all parameters. parts: modules and
    parameters."""

    numbers: int = MOST_NUMBERS
    parts: int = MOST_PARTS

    @classmethod
    def of(cls, numbers: int, tensors: int) -> Budget:
        """Limits for weights of `numbers` numbers in `tensors` tensors."""
        return cls(
            TIMES_NUMBERS * numbers + SLACK_NUMBERS, PARTS_PER_TENSOR * tensors + SLACK_PARTS
        )


class _TooLargeError(ValueError):
    def __init__(self, what: str) -> None:
        super().__init__(f"its configuration requires {what} than its weights have")


@contextmanager
def loading(what: str, budget: Budget) -> Iterator[None]:
    """Context for loading a model's files.

    what: names the model and the files in messages. Within the context the hub is offline,
    transformers does not prompt to run a model's code, and modules created must stay within the
    budget.

    Raises EncoderError for any exception of a library, including panics of Rust libraries.
    """
    try:
        with _offline(), _bounded(budget):
            yield
    except VitrinaError:
        raise
    except BaseException as err:
        if not isinstance(err, Exception) and not is_panic(err):
            raise
        # A KeyError's message is the key alone.
        reason = f"its files lack {err.args[0]}" if type(err) is KeyError else reason_of(err)
        raise EncoderError(f"{what}: {reason[:200]}") from err


def is_panic(err: BaseException) -> bool:
    """Check for a panic of a Rust library (tokenizers, safetensors), which is no Exception."""
    return type(err).__module__ == "pyo3_runtime"


_lock, _patching = threading.Lock(), threading.RLock()
_offline_now: list[tuple[bool, int]] = []


@contextmanager
def _offline() -> Iterator[None]:
    """Disable the hub client and transformers' prompt while any thread loads a model."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils as dynamic

    with _lock:
        _offline_now.append((constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE))
        # transformers prompts on the terminal to run a model's code, for this many seconds; with 0
        # it refuses.
        constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE = True, 0
    try:
        yield
    finally:
        with _lock:
            # The last thread restores the values from before the first.
            before = _offline_now[0]
            _offline_now.pop() if len(_offline_now) > 1 else _offline_now.clear()
            if not _offline_now:
                constants.HF_HUB_OFFLINE, dynamic.TIME_OUT_REMOTE_CODE = before


@contextmanager
def _bounded(budget: Budget) -> Iterator[None]:
    thread = threading.get_ident()
    counted = {"numbers": 0, "parts": 0}

    def on_module(*_: Any) -> None:
        if threading.get_ident() != thread:
            return
        counted["parts"] += 1
        if counted["parts"] > budget.parts:
            raise _TooLargeError("more layers")

    def on_parameter(_module: Any, _name: str, parameter: Any) -> None:
        if threading.get_ident() != thread or parameter is None:
            return
        on_module()
        counted["numbers"] += parameter.numel()
        if counted["numbers"] > budget.numbers:
            raise _TooLargeError("more numbers")

    hooks = [
        modules.register_module_module_registration_hook(on_module),
        modules.register_module_parameter_registration_hook(on_parameter),
    ]
    try:
        with _FactorySizes(budget.numbers):
            yield
    finally:
        for hook in hooks:
            hook.remove()


class _FactorySizes(TorchFunctionMode):
    """Rejects tensors of more than `most` numbers before their memory is allocated."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FACTORIES:
            size = (kwargs or {}).get("size", args)
            size = size[0] if size and isinstance(size[0], tuple | list) else size
            if prod(one for one in size if type(one) is int) > self._most:
                raise _TooLargeError("more numbers")
        return func(*args, **(kwargs or {}))


@contextmanager
def noting_missing() -> Iterator[list[str]]:
    """Collect names of weights missing from files that this thread loads in the context.

    timm leaves such weights random if the number of classes differs.
    """
    thread, missing = threading.get_ident(), list[str]()

    def noting(self: torch.nn.Module, *args: Any, **options: Any) -> Any:
        report = original(self, *args, **options)
        if threading.get_ident() == thread:
            missing.extend(report.missing_keys)
        return report

    with _patching:
        original = cast("Callable[..., Any]", torch.nn.Module.load_state_dict)
        torch.nn.Module.load_state_dict = noting  # type: ignore[method-assign]
        try:
            yield missing
        finally:
            torch.nn.Module.load_state_dict = original  # type: ignore[method-assign]


def check_finite(network: torch.nn.Module, what: str) -> None:
    """Raise EncoderError for weights with NaN or infinity: no vector would be finite."""
    for name, tensor in network.state_dict().items():
        # The sum checks all values at once, but may overflow for large finite ones.
        whole = not tensor.is_floating_point() or bool(tensor.sum().isfinite())
        if not whole and not bool(tensor.isfinite().all()):
            raise EncoderError(f"{what}: {name} holds NaN or infinity; are its weights damaged?")
