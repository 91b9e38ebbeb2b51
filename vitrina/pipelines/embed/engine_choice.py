"""The engine that computes a space's orders, as the options name it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from vitrina._version import __version__
from vitrina.data.catalogue import Catalogue
from vitrina.engines.base import OrderEngine
from vitrina.engines.dispatch import DispatchEngine
from vitrina.engines.local import LocalEngine
from vitrina.engines.ray import RayWorkers, imported_ray
from vitrina.engines.staged import StagedEngine
from vitrina.pipelines.common.encoders import Encoder
from vitrina.pipelines.common.machine_pin import is_on_gpu
from vitrina.pipelines.common.order_actor import OrderActor
from vitrina.pipelines.embed.options import EmbedOptions
from vitrina.pipelines.embed.order_maker import OrderMaker, check_reachable
from vitrina.stage_timer import Stages
from vitrina.store.files import to_json
from vitrina.store.space import Space
from vitrina.store.staging import Staging
from vitrina.store.store import OpenStore
from vitrina.types import EngineKind


def check_engine(options: EmbedOptions, catalogue: Catalogue, *, photos: bool) -> None:
    """Check what an engine needs before the catalogue is read.

    photos: whether they are embedded. Raises MissingPackageError without Ray, ImageSourceError if
    workers can't open the photos.
    """
    if options.engine is EngineKind.RAY:
        imported_ray()
    if photos and options.engine is not EngineKind.LOCAL:
        check_reachable(catalogue)


def engine_for(
    store: OpenStore,
    space: Space,
    catalogue: Catalogue,
    options: EmbedOptions,
    maker: OrderMaker,
    encoder: Encoder | None,
    stages: Stages,
) -> OrderEngine:
    """The engine for a space. encoder: for the engine local; None if nothing is to be encoded."""
    staging = Staging(store.files)
    if options.engine is EngineKind.STAGED:
        return StagedEngine(staging, space.name, store.place, wait=options.wait)
    if options.engine is EngineKind.RAY:
        reading = catalogue.reading
        loading = (
            __version__,
            _place_elsewhere(store.place),
            to_json(asdict(maker.terms)),
            reading.images,
            reading.fetching.private_allowed,
        )
        workers = RayWorkers(OrderActor, loading, wanted=options.workers, on_gpu=is_on_gpu(space))
        return DispatchEngine(workers, stages, staging, space.name)
    images = catalogue.images
    read = None if images is None else images.read
    return LocalEngine(encoder, read, stages, staging, space.name)


def _place_elsewhere(place: str) -> str:
    """A store's place for processes in another directory."""
    return place if "://" in place else str(Path(place).resolve())
