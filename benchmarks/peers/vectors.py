"""Made-up vectors that lie as a catalogue's do, and the figures by which that is judged.

How they are made. Categories have sizes by Zipf's law, families within them sizes by Pareto's (one
article in its sizes and colours), and a vector is

    mean + category + family + own

scaled to unit length. In each modality every term is drawn anew from a normal distribution whose
variance falls as a power of the axis's number, so that a category, a family and a product each
vary mostly in few directions, the finer the more; a random rotation then mixes the axes, as no
encoder's are special. How far a product lies from its family is drawn from a gamma distribution:
some families are tight, some products stray. At last a small share of the rows become exact copies
of others: one product offered by two shops.

`Figures` are what an index feels of a set: how near neighbours are, in how many dimensions they
lie around a point, and how few directions hold most of the variance.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from peers.ann_data import VectorSet, nearest

BLOCK_ROWS = 65_536
"""Rows drawn at a time; another number makes another set."""
TEXT, IMAGE = "text", "image"


@dataclass(frozen=True)
class Recipe:
    """How vectors are made.

    text_dim, image_dim: of rubert-tiny2 and of CLIP ViT-B/32. categories: with sizes that fall as
    1 / (rank + zipf_offset). family: products of a family, on the average; their shares are
    `family_least` plus a Pareto number of exponent `pareto`. mean, category, family_weight, own:
    the terms' lengths. mean_decay to own_decay: the powers by which their variances fall. stray: of
    the gamma distribution, of mean 1. copies: the share of exact copies.
    """

    text_dim: int = 312
    image_dim: int = 512
    categories: int = 874
    zipf_offset: float = 3.0
    family: float = 6.0
    pareto: float = 1.5
    family_least: float = 0.3
    mean: float = 0.6
    category: float = 0.6
    family_weight: float = 0.5
    own: float = 0.5
    mean_decay: float = 0.3
    category_decay: float = 1.0
    family_decay: float = 0.9
    own_decay: float = 0.8
    stray: float = 4.0
    copies: float = 0.03
    seed: int = 0

    @property
    def dims(self) -> dict[str, int]:
        """The length of each modality's vectors, text first."""
        return {TEXT: self.text_dim, IMAGE: self.image_dim}


@dataclass(frozen=True)
class Made:
    """A set on disk: text.npy and image.npy, (n, dim) float16, each row L2-normalised;
    category.npy, (n,) int64; original.npy, (n,) int64: the row that a row is a copy of, or its
    own number."""

    folder: Path
    recipe: Recipe
    rows: int

    def vectors(self, modality: str) -> np.memmap:
        """(n, dim) float16, mapped."""
        return np.load(self.folder / f"{modality}.npy", mmap_mode="r")

    @property
    def category(self) -> np.ndarray:
        """(n,) int64."""
        return np.load(self.folder / "category.npy")

    @property
    def original(self) -> np.ndarray:
        """(n,) int64."""
        return np.load(self.folder / "original.npy")


def make(folder: Path, rows: int, recipe: Recipe) -> Made:
    """Make a set of `rows` rows in a folder, unless it is there already.

    Memory does not grow with the rows, but for some 50 bytes of each and the system's own pages of
    the files. Rows stand in no order, so that any run of them is a sample of the whole.
    """
    card, made = folder / "made.json", Made(folder, recipe, rows)
    told = {"rows": rows, "block_rows": BLOCK_ROWS, **asdict(recipe)}
    if card.exists() and json.loads(card.read_text()) == told:
        return made
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng = np.random.default_rng(recipe.seed)
    of_family, family = _families(rng, rows, recipe)
    original = _originals(rng, rows, recipe.copies)
    np.save(folder / "category.npy", of_family[family][original])
    np.save(folder / "original.npy", original)
    for number, (modality, dim) in enumerate(recipe.dims.items()):
        own_rng = np.random.default_rng((recipe.seed, number))
        path = folder / f"{modality}.npy"
        _write(path, own_rng, dim, of_family, family, recipe)
        _copy(path, original)
    card.write_text(json.dumps(told, indent=1) + "\n")
    return made


def _families(rng: np.random.Generator, rows: int, recipe: Recipe) -> tuple[np.ndarray, ...]:
    """The category of each family, and the family of each row."""
    shares = 1 / (np.arange(recipe.categories) + recipe.zipf_offset)
    families = max(1, int(rows / recipe.family))
    of_family = rng.choice(recipe.categories, families, p=shares / shares.sum())
    sizes = rng.pareto(recipe.pareto, families) + recipe.family_least
    return of_family, rng.choice(families, rows, p=sizes / sizes.sum())


def _originals(rng: np.random.Generator, rows: int, share: float) -> np.ndarray:
    """The row that each row repeats: mostly itself, and never a copy."""
    original = np.arange(rows)
    copies = np.zeros(rows, dtype=bool)
    copies[rng.choice(rows, int(rows * share), replace=False)] = True
    original[copies] = rng.choice(np.flatnonzero(~copies), int(copies.sum()))
    return original


def _write(
    path: Path,
    rng: np.random.Generator,
    dim: int,
    of_family: np.ndarray,
    family: np.ndarray,
    recipe: Recipe,
) -> None:
    """One modality, copies not yet made."""
    rotation = np.linalg.qr(rng.standard_normal((dim, dim)))[0].astype(np.float32)
    mean = recipe.mean * _draw(rng, 1, dim, recipe.mean_decay)
    categories = recipe.category * _draw(rng, recipe.categories, dim, recipe.category_decay)
    # A file, for there are nearly as many numbers in it as in the set itself.
    scratch = path.with_suffix(".families")
    families = np.memmap(scratch, np.float16, mode="w+", shape=(len(of_family), dim))
    for part in _runs(len(of_family)):
        drawn = _draw(rng, part.stop - part.start, dim, recipe.family_decay)
        families[part] = recipe.family_weight * drawn
    matrix = np.lib.format.open_memmap(path, "w+", np.float16, (len(family), dim))
    for part in _runs(len(family)):
        here = family[part]
        own = recipe.own * _draw(rng, len(here), dim, recipe.own_decay)
        own *= rng.gamma(recipe.stray, 1 / recipe.stray, (len(here), 1)).astype(np.float32)
        summed = mean + categories[of_family[here]] + families[here] + own
        rotated = summed @ rotation
        matrix[part] = rotated / np.linalg.norm(rotated, axis=1, keepdims=True)
    del families
    scratch.unlink()


def _draw(rng: np.random.Generator, count: int, dim: int, decay: float) -> np.ndarray:
    """(count, dim) float32 normal numbers; their variances sum to 1 and fall along the axes."""
    variance = (np.arange(dim) + 1.0) ** -decay
    spread = np.sqrt(variance / variance.sum()).astype(np.float32)
    return rng.standard_normal((count, dim), dtype=np.float32) * spread


def _copy(path: Path, original: np.ndarray) -> None:
    matrix = np.load(path, mmap_mode="r+")
    copies = np.flatnonzero(original != np.arange(len(original)))
    for part in _runs(len(copies)):
        matrix[copies[part]] = matrix[original[copies[part]]]
    matrix.flush()


def _runs(count: int) -> Iterator[slice]:
    for start in range(0, count, BLOCK_ROWS):
        yield slice(start, min(start + BLOCK_ROWS, count))


FIGURE_QUERIES = 400
PCA_ROWS = 20_000
PCA_DIMS = (16, 64, 128, 256)
LID_NEIGHBOURS = 50
SAME = 1e-5
"""A cosine this close to 1 is that of a copy."""


@dataclass(frozen=True)
class Figures:
    """What a set is like.

    cosines: the median cosine of a row to its 1st, 10th and 100th neighbour, and to any row.
    lid and lid_high: median and 90th percentile of the local intrinsic dimension, by the maximum
    likelihood of Levina and Bickel (2004) over 50 neighbours; copies of the row itself are left
    out of it. energy: the share of the variance in the first principal directions.
    copies: the share of rows that have an exact copy.
    """

    rows: int
    dim: int
    cosines: tuple[float, float, float, float]
    lid: float
    lid_high: float
    energy: dict[int, float]
    copies: float


def figures(vectors: VectorSet, queries: int = FIGURE_QUERIES, seed: int = 1) -> Figures:
    """Judge a set by some of its rows against all of them, a block at a time."""
    rng = np.random.default_rng(seed)
    asked = np.sort(rng.choice(vectors.rows, min(queries, vectors.rows), replace=False))
    blocks = vectors.blocks()
    _, scores = nearest(vectors.take(asked), blocks, min(100, vectors.rows - 1), own=asked)
    others = vectors.take(np.sort(rng.choice(vectors.rows, len(asked), replace=False)))
    to_any = vectors.take(asked) @ others.T
    lids = local_dimensions(scores[:, :LID_NEIGHBOURS])
    sample = rng.choice(vectors.rows, min(PCA_ROWS, vectors.rows), replace=False)
    share = energy(vectors.take(np.sort(sample)))
    medians = [float(np.median(scores[:, at])) for at in (0, min(9, scores.shape[1] - 1), -1)]
    return Figures(
        vectors.rows,
        vectors.dim,
        (*medians, float(np.median(to_any))),
        float(np.median(lids)),
        float(np.percentile(lids, 90)),
        {dims: float(share[min(dims, len(share)) - 1]) for dims in PCA_DIMS},
        float((scores[:, 0] >= 1 - SAME).mean()),
    )


def local_dimensions(cosines: np.ndarray) -> np.ndarray:
    """Local intrinsic dimension around each of q points, (q,), from cosines (q, k) to its
    nearest, sorted from 1 down."""
    distances = np.sqrt(np.maximum(2 - 2 * cosines.astype(np.float64), 0))
    apart = cosines < 1 - SAME
    farthest = np.maximum(distances[:, -1:], 1e-12)
    summed = np.log(farthest / np.where(apart, distances, farthest)).sum(axis=1)
    # The farthest one's own term is 0 and is not counted.
    return apart[:, :-1].sum(axis=1) / np.maximum(summed, 1e-12)


def energy(sample: np.ndarray) -> np.ndarray:
    """(dim,) the share of a sample's variance in its first 1, 2, ... principal directions."""
    centred = sample - sample.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred)[::-1].astype(np.float64)
    return np.cumsum(values) / values.sum()
