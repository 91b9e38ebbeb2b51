"""Image encoder: a torch model with its own preprocessing."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any, Protocol, cast

import numpy as np
import torch
from PIL.Image import Image

from vitrina.device import best_device
from vitrina.embedder.base import AGREEMENT, EncoderCard, Prepared
from vitrina.embedder.fingerprint import fingerprint, weights
from vitrina.embedder.inference.int8 import Int8Runner, has_int8
from vitrina.embedder.inference.plain import PlainRunner
from vitrina.embedder.inference.vision import VisionTower, read_vision
from vitrina.embedder.inference.vit import PatchedVit, Vit, read_vit
from vitrina.embedder.precision import (
    agreement,
    check_numbers,
    check_probes,
    choose,
    first_run,
    has_bfloat16,
    unit_vectors,
)
from vitrina.embedder.preprocessing import Preparation, read_preparation
from vitrina.embedder.probes import probe_images
from vitrina.malloc import keep_freed
from vitrina.stage_timer import stage
from vitrina.threads import one_thread_each, workers
from vitrina.types import Compute, Modality, Vectors

BATCH_IMAGES = {"cpu": 16, "cuda": 256, "mps": 64}
"""Pictures per batch, by device: on a CPU few enough for one core's cache."""

SILENT_CHOICES = ("num_heads", "scale", "global_pool", "pool_type")
"""Module attributes that determine the output but appear in neither its weights nor its `str`."""


class ImageRunner(Protocol):
    """A backend that runs an image model."""

    def pooled(self, pictures: torch.Tensor) -> torch.Tensor:
        """Prepared pictures (n, ...) on the CPU to (n, dim) float32, not normalised."""
        ...


class TorchImage:
    """Image encoder: a loaded model's preprocessing and network."""

    def __init__(
        self,
        network: torch.nn.Module,
        transform: Callable[[Image], torch.Tensor],
        edge: int,
        *,
        model: str,
        revision: str | None,
        settings: dict[str, Any],
        compute: Compute | None,
    ) -> None:
        network = network.eval()
        settings = {
            "format": 1,
            "network": str(network),
            "choices": _silent_choices(network),
            "transform": str(transform),
            "normalised": True,
            **settings,
        }
        taken = fingerprint(weights(network), settings)
        self._edge, self._model = edge, model
        self._device = best_device()
        keep_freed()
        self.batch = BATCH_IMAGES[self._device.type]
        probes = probe_images()
        self._preparation = read_preparation(transform, probes)
        self._compute, self._network = self._choose(
            network, transform, probes, compute, taken, model
        )
        self.card = EncoderCard(
            modality=Modality.IMAGE,
            model=model,
            revision=revision,
            fingerprint=taken,
            dim=self.encode([self.prepare(probes[0])]).shape[1],
            details={
                "edge": edge,
                "transform": str(transform),
                "compute": self._compute.value,
                "device": self._device.type,
            },
        )

    @stage("compiling and choosing numbers")
    def _choose(
        self,
        module: torch.nn.Module,
        transform: Callable[[Image], torch.Tensor],
        probes: Sequence[Image],
        requested: Compute | None,
        taken: str,
        model: str,
    ) -> tuple[Compute, ImageRunner]:
        pictures = torch.from_numpy(np.stack([self.prepare(image) for image in probes]))
        with first_run(model), torch.inference_mode():
            module.to(self._device)
            whole = torch.stack([transform(image) for image in probes]).to(self._device)
            unit = torch.nn.functional.normalize(module(whole).float(), dim=1)
        exact: Vectors = unit.cpu().numpy()
        check_probes(exact, model)
        ready, cpu = self._preparation, torch.device("cpu")
        vit = _read(module, ready) if ready.in_bytes else None

        def plain(dtype: torch.dtype) -> ImageRunner:
            if vit is None:
                return OwnCode(module, self._preparation, self._device, dtype)
            runner = PlainRunner(vit.stack, self._device, dtype)
            return PatchedVit(vit, runner, self._device, exact_patches=True)

        def probe(network: ImageRunner) -> Vectors:
            with one_thread_each():
                return self._run(network, pictures)

        def exactly() -> ImageRunner:
            read = plain(torch.float32)
            if vit is None or agreement(exact, probe(read)) >= AGREEMENT[Compute.FLOAT32]:
                return read
            # A model that was converted wrongly runs with its own code.
            return OwnCode(module, self._preparation, self._device, torch.float32)

        makers: dict[Compute, Callable[[], ImageRunner]] = {Compute.FLOAT32: exactly}
        if has_bfloat16(self._device):
            makers[Compute.BFLOAT16] = partial(plain, torch.bfloat16)
        if vit and self._device.type == "cpu" and has_int8():
            makers[Compute.INT8] = lambda: PatchedVit(
                vit, Int8Runner(vit.stack), cpu, exact_patches=False
            )

        return choose(makers, probe, exact, requested, fingerprint=taken)

    @property
    def edge(self) -> int:
        """The shortest edge, in pixels, that the preprocessing scales an image to."""
        return self._edge

    @contextmanager
    def together(self) -> Iterator[int]:
        """As `ImageEncoder.together`."""
        threads = workers(self._device)
        with one_thread_each() if threads > 1 else nullcontext():
            yield threads

    def prepare(self, image: Image) -> Prepared:
        """One RGB image to (height, width, 3) uint8, or (3, height, width) float32 if the
        preprocessing does not end in a plain scaling; thread-safe."""
        return self._preparation.apply(image)

    def encode(self, prepared: Sequence[Prepared]) -> Vectors:
        """Prepared images to (len(prepared), dim) float32, L2-normalised; thread-safe.

        Raises EncoderError if memory does not suffice for a single image, or vectors are not
        finite.
        """
        parts = [
            self._run(self._network, torch.from_numpy(np.stack(prepared[start : start + size])))
            for size in [self.batch]
            for start in range(0, len(prepared), size)
        ]
        vectors = np.concatenate(parts)
        check_numbers(vectors, self._model)
        return vectors

    def _run(self, network: ImageRunner, pictures: torch.Tensor) -> Vectors:
        def smaller(batch: torch.Tensor) -> None:
            self.batch = max(1, min(self.batch, len(batch) // 2))

        return unit_vectors(
            network.pooled, pictures, smaller=smaller, alone=lambda _: "a single image"
        )


class OwnCode:
    """Runs a model with its own code."""

    def __init__(
        self,
        module: torch.nn.Module,
        preparation: Preparation,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        # On a CPU, convolutions run several times faster in channels-last format.
        own = copy.deepcopy(module).to(device, dtype)
        self._module = own.to(memory_format=torch.channels_last)
        self._preparation, self._device, self._dtype = preparation, device, dtype

    def pooled(self, pictures: torch.Tensor) -> torch.Tensor:
        """As `ImageRunner.pooled`."""
        if self._device.type == "cuda":
            pictures = pictures.pin_memory()
        moved = pictures.to(self._device, non_blocking=True)
        pixels = self._preparation.finish(moved).to(self._dtype, memory_format=torch.channels_last)
        return cast("torch.Tensor", self._module(pixels)).float()


def _read(module: torch.nn.Module, ready: Preparation) -> Vit | None:
    read = read_vision if isinstance(module, VisionTower) else read_vit
    return read(module, ready.mean, ready.deviation)


def _silent_choices(network: torch.nn.Module) -> list[str]:
    return [
        f"{name}.{choice}={value}"
        for name, module in network.named_modules()
        for choice in SILENT_CHOICES
        if isinstance(value := getattr(module, choice, None), str | int | float)
    ]
