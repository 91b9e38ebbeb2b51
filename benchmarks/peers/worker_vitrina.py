"""Vitrina: texts, photos from their bytes, and its image model alone on prepared photos.

Options: modality (text or image), model (a directory), compute (float32, or null for Vitrina's
own choice), alone (how many photos to prepare beforehand, or null for the whole job).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from protocol import Loaded, serve


def load(options: dict) -> Loaded:
    torch.set_num_threads(options["threads"])
    from vitrina.embedder.load import load_image, load_text
    from vitrina.embedder.model_ref import ModelRef
    from vitrina.embedder.photos import encode_photos, prepare_photo
    from vitrina.types import Modality

    choice = {"compute": options["compute"]} if options["compute"] else {}
    model = ModelRef.parse(options["model"], Modality(options["modality"]))
    if model.modality is Modality.TEXT:
        texts = load_text(model, **choice)
        return Loaded(texts.encode, texts.card.details["compute"])
    encoder = load_image(model, **choice)
    compute = encoder.card.details["compute"]

    def whole(paths: list[str]) -> np.ndarray:
        return encode_photos(
            encoder, [[path] for path in paths], lambda path: Path(path).read_bytes()
        ).vectors

    def prepare(paths: list[str]) -> list:
        chosen = paths[: options["alone"]]
        return [prepare_photo(encoder, Path(path).read_bytes()).ready for path in chosen]

    if options["alone"]:
        return Loaded(encoder.encode, compute, prepare)
    return Loaded(whole, compute)


if __name__ == "__main__":
    serve(load)
