"""Photos become product vectors in order, and a broken one costs nothing but itself."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import pytest
from PIL import Image

from vitrina.embedder.base import EncoderCard
from vitrina.embedder.photos import Failure, decode_photos, encode_photos
from vitrina.errors import ImageError
from vitrina.stage_timer import Stages
from vitrina.types import Floats, Modality, Vectors

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


class MeanColour:
    """A photo's vector is its mean colour, scaled to unit length."""

    card = EncoderCard(Modality.IMAGE, "mean colour", None, "f" * 64, 3, {})
    edge = 4

    def __init__(self, batch: int = 64, threads: int = 1) -> None:
        self.batch, self.threads = batch, threads
        self.batches: list[int] = []
        self.encoded_in: set[int] = set()

    def together(self) -> AbstractContextManager[int]:
        return nullcontext(self.threads)

    def prepare(self, image: Image.Image) -> Floats:
        return np.asarray(image, dtype=np.float32).mean(axis=(0, 1))

    def encode(self, prepared: Sequence[Floats]) -> Vectors:
        self.batches.append(len(prepared))
        self.encoded_in.add(threading.get_ident())
        rows = np.stack(prepared)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def png(colour: tuple[int, int, int]) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (6, 5), colour).save(file, "PNG")
    return file.getvalue()


class Shelf:
    """Photos by name; a name that is not there can't be read. Remembers who read what."""

    def __init__(self, **photos: bytes) -> None:
        self.photos = photos
        self.asked: list[str] = []
        self.threads: set[int] = set()

    def read(self, reference: str) -> bytes:
        self.asked.append(reference)
        self.threads.add(threading.get_ident())
        if reference not in self.photos:
            raise ImageError(f"no such photo: {reference}")
        return self.photos[reference]


def shelf() -> Shelf:
    whole = png(RED)
    return Shelf(
        red=whole,
        green=png(GREEN),
        blue=png(BLUE),
        cut=whole[: len(whole) // 2],
        words=b"hello",
        empty=b"",
    )


def test_several_photos_become_their_normalised_mean() -> None:
    products = [["red"], ["red", "green"], ["red", "red", "blue"], ["blue"]]
    encoded = encode_photos(MeanColour(), products, shelf().read)
    expected = np.array([[1, 0, 0], [1, 1, 0], [2, 0, 1], [0, 0, 1]], dtype=float)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoded.vectors, expected, atol=1e-6)
    assert encoded.vectors.dtype == np.float32
    assert encoded.ok.tolist() == [True] * 4
    assert encoded.errors == {}


def test_a_product_fails_only_if_all_its_photos_do() -> None:
    products = [["words", "red"], ["gone", "cut"], ["blue"], ["cut", "gone", "green"], ["empty"]]
    encoded = encode_photos(MeanColour(), products, shelf().read)
    expected = [[1, 0, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 0, 0]]
    np.testing.assert_allclose(encoded.vectors, expected, atol=1e-6)
    assert encoded.ok.tolist() == [True, False, True, True, False]
    assert sorted(encoded.errors) == [1, 4]


def test_errors_are_told_by_position_with_their_stage() -> None:
    products = [["red"], ["gone"], ["words"], ["cut"], ["empty"], ["words", "gone"]]
    errors = encode_photos(MeanColour(), products, shelf().read).errors
    assert errors[1] == Failure("read", "no such photo: gone")
    assert errors[2] == Failure("decode", "not an image")
    assert errors[3].stage == "decode"
    assert errors[3].reason.startswith("truncated: PNG")
    assert errors[4] == Failure("decode", "empty file")
    # The first photo's reason is the one that is told.
    assert errors[5] == Failure("decode", "not an image")
    assert sorted(errors) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("count", [0, 1, 4, 5, 23])
def test_order_holds_over_blocks_and_the_last_is_kept(count: int, threads: int) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(1, 256, size=(count, 3))
    stock = Shelf(**{f"p{at}": png(tuple(map(int, one))) for at, one in enumerate(colours)})
    bad = {at for at in range(count) if at % 7 == 3}
    products = [["gone" if at in bad else f"p{at}"] for at in range(count)]
    encoder, reported = MeanColour(batch=4, threads=threads), []
    encoded = encode_photos(encoder, products, stock.read, reported.append)
    expected = colours / np.linalg.norm(colours, axis=1, keepdims=True)
    expected[sorted(bad)] = 0
    np.testing.assert_allclose(encoded.vectors, expected.reshape(-1, 3), atol=1e-6)
    assert np.flatnonzero(~encoded.ok).tolist() == sorted(encoded.errors) == sorted(bad)
    assert sum(reported) == count
    assert sum(encoder.batches) == count - len(bad)
    assert all(size <= 4 for size in encoder.batches)
    # Beside the model a core decodes, unless the model itself runs on every core.
    assert (threading.get_ident() in encoder.encoded_in) == (threads == 1 and count > 0)


def test_a_block_without_one_good_photo_is_passed_over() -> None:
    encoder = MeanColour(batch=2)
    encoded = encode_photos(encoder, [["gone"], ["words"], ["green"]], shelf().read)
    assert encoder.batches == [1]
    assert encoded.ok.tolist() == [False, False, True]
    np.testing.assert_allclose(encoded.vectors[2], [0, 1, 0], atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_photos_are_read_in_order_in_this_thread(threads: int) -> None:
    stock = shelf()
    products = [["red", "gone"], ["blue"], ["cut", "green", "red"]] * 7
    encode_photos(MeanColour(batch=3, threads=threads), products, stock.read)
    assert stock.asked == [one for photos in products for one in photos]
    assert stock.threads == {threading.get_ident()}


def test_reading_runs_ahead_by_a_bounded_number_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrina.embedder.photos.worker_threads", lambda: 3)
    stock, ahead = shelf(), []

    class Watching(MeanColour):
        def encode(self, prepared: Sequence[Floats]) -> Vectors:
            ahead.append(len(stock.asked) - sum(self.batches))
            return super().encode(prepared)

    encode_photos(Watching(batch=2), [["red"]] * 20, stock.read)
    assert max(ahead) == (3 + 1) * 2


def test_the_time_of_each_stage_is_told() -> None:
    class Slow(MeanColour):
        def encode(self, prepared: Sequence[Floats]) -> Vectors:
            time.sleep(0.02)
            return super().encode(prepared)

    stages = Stages()
    encode_photos(Slow(batch=1), [["red"], ["gone"], ["blue"]], shelf().read, None, stages)
    assert set(stages.seconds) == {"read", "decode", "encode"}
    assert stages.seconds["encode"] >= 0.04
    assert stages.workers["encode"] == 1
    assert stages.bottleneck == "encode"


def test_a_fault_that_is_not_a_photos_is_not_hidden() -> None:
    def read(_: str) -> bytes:
        raise PermissionError("the disk is gone")

    with pytest.raises(PermissionError):
        encode_photos(MeanColour(), [["red"]], read)

    class Broken(MeanColour):
        def prepare(self, image: Image.Image) -> Floats:
            raise RuntimeError(f"no room for {image.size}")

    with pytest.raises(RuntimeError, match="no room"):
        encode_photos(Broken(), [["red"]], shelf().read)


def test_for_fitting_each_product_gives_its_first_usable_photo() -> None:
    products = [["red"], ["gone", "words", "green", "red"], ["cut"], ["blue"], [], ["blue", "red"]]
    batches = decode_photos(products, shelf().read, batch=2)
    colours = [[image.getpixel((0, 0)) for image in batch] for batch in batches]
    assert colours == [[RED, GREEN], [BLUE, BLUE]]
    odd = decode_photos(products[:4], shelf().read, batch=2)
    assert [len(list(batch)) for batch in odd] == [2, 1]
    assert list(decode_photos([["gone"]], shelf().read)) == []
