"""open_clip as its own examples use it: a DataLoader over photos, and `encode_image`.

Options: model (a directory), precision (float32 or bfloat16), workers (processes of the
DataLoader), alone (how many photos to prepare beforehand, for the visual tower alone, or null).
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import open_clip
import torch
from PIL import Image
from protocol import Loaded, serve
from torch.utils.data import DataLoader, Dataset

BATCH = 32


class Photos(Dataset):
    """Photos from their bytes to what the model takes."""

    def __init__(self, paths, preprocess):
        self._paths, self._preprocess = paths, preprocess

    def __len__(self):
        return len(self._paths)

    def __getitem__(self, at):
        return self._preprocess(Image.open(BytesIO(Path(self._paths[at]).read_bytes())))


def load(options: dict) -> Loaded:
    torch.set_num_threads(options["threads"])
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{options['model']}")
    dtype = getattr(torch, options["precision"])
    model = model.eval().to(dtype)
    compute = f"{options['precision']}, batches of {BATCH}"

    def loop(paths: list[str]) -> np.ndarray:
        loader = DataLoader(
            Photos(paths, preprocess), batch_size=BATCH, num_workers=options["workers"]
        )
        with torch.inference_mode():
            made = [model.encode_image(batch.to(dtype), normalize=True) for batch in loader]
        return torch.cat(made).float().numpy()

    def prepare(paths: list[str]) -> list:
        photos = Photos(paths[: options["alone"]], preprocess)
        ready = torch.stack([photos[at] for at in range(len(photos))]).to(dtype)
        return list(ready.split(1))

    def tower(ready: list) -> np.ndarray:
        batches = [torch.cat(ready[at : at + BATCH]) for at in range(0, len(ready), BATCH)]
        with torch.inference_mode():
            made = [model.visual(batch) for batch in batches]
        return torch.nn.functional.normalize(torch.cat(made).float(), dim=1).numpy()

    if options["alone"]:
        return Loaded(tower, compute, prepare)
    return Loaded(loop, f"{compute}, {options['workers']} workers")


if __name__ == "__main__":
    serve(load)
