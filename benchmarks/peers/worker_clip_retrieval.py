"""clip-retrieval's reader and mapper, in an environment of their own; its writer is left out.

Options: model (a directory with open_clip's weights), architecture (open_clip's name of it),
workers (processes that prepare photos). Batches are of 256, as clip-retrieval has them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from all_clip import load_clip
from clip_retrieval.clip_inference.mapper import ClipMapper
from clip_retrieval.clip_inference.reader import FilesReader
from protocol import Loaded, serve

BATCH = 256


def load(options: dict) -> Loaded:
    torch.set_num_threads(options["threads"])
    weights = Path(options["model"]).absolute() / "open_clip_model.safetensors"
    # A checkpoint's path in the place of a tag: open_clip takes either.
    name = f"open_clip:{options['architecture']}/{weights}"
    _, preprocess, tokenizer = load_clip(clip_model=name, use_jit=False)
    mapper = ClipMapper(
        enable_image=True,
        enable_text=False,
        enable_metadata=False,
        use_mclip=False,
        clip_model=name,
        use_jit=False,
        mclip_model="",
    )

    def encode(paths: list[str]) -> np.ndarray:
        reader = FilesReader(
            lambda keys: keys[: len(paths)],
            preprocess,
            tokenizer,
            Path(paths[0]).parent,
            BATCH,
            options["workers"],
            enable_text=False,
            enable_image=True,
            enable_metadata=False,
        )
        return np.concatenate([mapper(batch)["image_embs"] for batch in reader])

    compute = f"float32, batches of {BATCH}, {options['workers']} workers, float16 results"
    return Loaded(encode, compute)


if __name__ == "__main__":
    serve(load)
