"""The encoders that need no download agree with scikit-learn and survive any catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from PIL import Image
from scipy.linalg import subspace_angles
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.preprocessing import normalize

from vitrina.embedder.lexical import Lexical, TermCounter
from vitrina.embedder.thumbnail import Thumbnail, describe
from vitrina.errors import EncoderError

KINDS = ("кружка", "чехол", "платье", "кроссовки", "лампа", "рюкзак")
MAKERS = ("Nike", "Puma", "Светлана", "Заря", "Acme")
COLOURS = ("белый", "чёрный", "красный", "зелёный")
CORPUS = [
    f"{kind} {maker} {colour}, артикул {100 * a + 10 * b + c}, размер {36 + (a * b + c) % 9}"
    for a, kind in enumerate(KINDS)
    for b, maker in enumerate(MAKERS)
    for c, colour in enumerate(COLOURS)
]


def batches(texts: Sequence[str], size: int = 37) -> Iterable[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


def fit_texts(texts: Sequence[str], dim: int = 16, seed: int = 0, size: int = 37) -> Lexical:
    return Lexical.fit(lambda: batches(texts, size), dim=dim, seed=seed)


@pytest.fixture(scope="module")
def lexical() -> Lexical:
    return fit_texts(CORPUS)


def state(folder: Path, encoder: Lexical | Thumbnail) -> dict[str, np.ndarray]:
    """What an encoder writes, and nothing else lies in the folder."""
    from safetensors.numpy import load_file

    encoder.save(folder)
    (file,) = folder.iterdir()
    assert file.suffix == ".safetensors"
    return load_file(file)


def weighted_terms(texts: Sequence[str], terms: np.ndarray, idf: np.ndarray) -> sp.csr_matrix:
    """The TF-IDF matrix, held whole."""
    return normalize(TermCounter()(texts)[:, terms].multiply(idf).tocsr())


def test_lexical_is_decided_by_its_seed(lexical: Lexical) -> None:
    again, other = fit_texts(CORPUS), fit_texts(CORPUS, seed=1)
    assert again.card.fingerprint == lexical.card.fingerprint
    np.testing.assert_array_equal(again.encode(CORPUS), lexical.encode(CORPUS))
    assert other.card.fingerprint != lexical.card.fingerprint
    # Another start finds the same structure: neighbours score alike.
    mine, others = lexical.encode(CORPUS), other.encode(CORPUS)
    np.testing.assert_allclose(mine @ mine.T, others @ others.T, atol=0.05)


def test_batches_do_not_show_in_lexical(lexical: Lexical) -> None:
    whole = fit_texts(CORPUS, size=1000).encode(CORPUS)
    parts = lexical.encode(CORPUS)
    np.testing.assert_allclose(whole @ whole.T, parts @ parts.T, atol=1e-3)
    np.testing.assert_array_equal(
        np.concatenate([lexical.encode(batch) for batch in batches(CORPUS, 7)]), parts
    )


def test_lexical_saves_without_pickle_and_loads_the_same(lexical: Lexical, tmp_path: Path) -> None:
    lexical.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lexical.safetensors"]
    loaded = Lexical.load(tmp_path)
    assert loaded.card == lexical.card
    np.testing.assert_array_equal(loaded.encode(CORPUS), lexical.encode(CORPUS))


def test_lexical_idf_and_components_are_scikit_learns(lexical: Lexical, tmp_path: Path) -> None:
    kept = state(tmp_path, lexical)
    counts = TermCounter()(CORPUS)
    frequency = np.diff(counts.tocsc().indptr)
    # 120 texts: a term that only one of them has is left out.
    np.testing.assert_array_equal(kept["terms"], np.flatnonzero(frequency >= 2))
    idf = np.log((1 + len(CORPUS)) / (1 + frequency[kept["terms"]])) + 1
    np.testing.assert_allclose(kept["idf"], idf, rtol=1e-6)

    components = kept["components"]
    np.testing.assert_allclose(components.T @ components, np.eye(16), atol=1e-4)
    matrix = weighted_terms(CORPUS, kept["terms"], kept["idf"])
    exact = TruncatedSVD(16, algorithm="arpack", random_state=0).fit(matrix.astype(np.float64))
    # The leading directions are the same ones; the whole keeps as much of the matrix as SVD can.
    angles = subspace_angles(components[:, :8].astype(np.float64), exact.components_[:8].T)
    assert np.degrees(angles.max()) < 2
    explained = np.linalg.norm(matrix @ components) ** 2
    assert explained >= 0.995 * np.sum(exact.singular_values_**2)
    values = np.linalg.norm(matrix @ components, axis=0)
    np.testing.assert_allclose(values[:8], exact.singular_values_[:8], rtol=2e-3)


def test_lexical_vectors_are_the_projected_terms(lexical: Lexical, tmp_path: Path) -> None:
    kept = state(tmp_path, lexical)
    projected = weighted_terms(CORPUS, kept["terms"], kept["idf"]) @ kept["components"]
    np.testing.assert_allclose(lexical.encode(CORPUS), normalize(projected), atol=1e-5)


def test_a_near_duplicate_text_finds_its_twin(lexical: Lexical) -> None:
    changed = [text.replace(", артикул", " арт").upper() + "!" for text in CORPUS]
    wide = fit_texts(CORPUS, dim=100)
    found = np.argmax(wide.encode(changed) @ wide.encode(CORPUS).T, axis=1)
    assert (found == np.arange(len(CORPUS))).mean() >= 0.95
    for row in (0, 50, 119):
        assert found[row] == row
    # A title of a kind lands among its kind.
    near = np.argsort(-(lexical.encode(["кроссовки"]) @ lexical.encode(CORPUS).T)[0])[:10]
    assert {CORPUS[at].split()[0] for at in near} == {"кроссовки"}


def test_texts_that_say_nothing_are_zero_rows(lexical: Lexical) -> None:
    vectors = lexical.encode(["", "   ", "кружка Nike", "\n"])
    np.testing.assert_array_equal(vectors[[0, 1, 3]], 0)
    assert np.linalg.norm(vectors[2]) == pytest.approx(1, abs=1e-5)
    assert vectors.dtype == np.float32


def test_no_texts_give_no_lexical_rows(lexical: Lexical) -> None:
    assert lexical.encode([]).shape == (0, 16)


@pytest.mark.parametrize("texts", [["кружка белая"], ["кружка белая"] * 2, ["чай", "кофе", ""]])
def test_tiny_catalogues_of_text(texts: list[str], tmp_path: Path) -> None:
    encoder = fit_texts(texts, dim=384)
    vectors = encoder.encode(texts)
    expected = [[float(bool(a) and a == b) for b in texts] for a in texts]
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=0.02)
    assert np.isfinite(encoder.encode(["нечто иное", "42"])).all()
    components = state(tmp_path, encoder)["components"]
    gram = components.T @ components
    np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-4)


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_catalogues_without_text(texts: list[str]) -> None:
    vectors = fit_texts(texts).encode(["", "кружка"])
    assert len(vectors) == 2
    assert np.isfinite(vectors).all()
    np.testing.assert_array_equal(vectors[0], 0)


def smooth(count: int, size: tuple[int, int] = (90, 70), seed: int = 0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    patches = rng.integers(0, 256, size=(count, 5, 6, 3), dtype=np.uint8)
    return [Image.fromarray(one).resize(size, Image.Resampling.BICUBIC) for one in patches]


PHOTOS = smooth(48)


def fit_images(images: Sequence[Image.Image], dim: int = 12, size: int = 10) -> Thumbnail:
    return Thumbnail.fit(
        lambda: (images[start : start + size] for start in range(0, len(images), size)), dim=dim
    )


def encode(encoder: Thumbnail, images: Sequence[Image.Image]) -> np.ndarray:
    return encoder.encode([encoder.prepare(image) for image in images])


@pytest.fixture(scope="module")
def thumbnail() -> Thumbnail:
    return fit_images(PHOTOS)


@pytest.mark.slow
def test_thumbnail_is_the_same_each_time(thumbnail: Thumbnail) -> None:
    again = fit_images(PHOTOS)
    assert again.card.fingerprint == thumbnail.card.fingerprint
    np.testing.assert_array_equal(encode(again, PHOTOS), encode(thumbnail, PHOTOS))
    assert fit_images(PHOTOS[:-1]).card.fingerprint != thumbnail.card.fingerprint
    whole = encode(fit_images(PHOTOS, size=48), PHOTOS)
    parts = encode(thumbnail, PHOTOS)
    np.testing.assert_allclose(whole @ whole.T, parts @ parts.T, atol=1e-5)


def test_thumbnail_saves_without_pickle_and_loads_the_same(
    thumbnail: Thumbnail, tmp_path: Path
) -> None:
    thumbnail.save(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thumbnail.safetensors"]
    loaded = Thumbnail.load(tmp_path)
    assert loaded.card == thumbnail.card
    np.testing.assert_array_equal(encode(loaded, PHOTOS), encode(thumbnail, PHOTOS))


def test_thumbnail_components_are_scikit_learns(thumbnail: Thumbnail, tmp_path: Path) -> None:
    features = np.stack([describe(image) for image in PHOTOS]).astype(np.float64)
    exact = PCA(12, svd_solver="full").fit(features)
    kept = state(tmp_path, thumbnail)
    np.testing.assert_allclose(kept["mean"], exact.mean_, atol=1e-6)
    directions = normalize(kept["components"].T)
    np.testing.assert_allclose(np.abs(directions @ exact.components_.T), np.eye(12), atol=1e-3)
    # Each is divided by the square root of its deviation; scikit-learn counts one row less.
    variance = exact.explained_variance_ * (len(PHOTOS) - 1) / len(PHOTOS)
    scale = np.linalg.norm(kept["components"], axis=0)
    np.testing.assert_allclose(scale, variance**-0.25, rtol=1e-4)
    by_hand = normalize(exact.transform(features) * variance**-0.25)
    ours = encode(thumbnail, PHOTOS)
    np.testing.assert_allclose(ours @ ours.T, by_hand @ by_hand.T, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)


def test_a_near_duplicate_photo_finds_its_twin(thumbnail: Thumbnail) -> None:
    changed = [
        image.resize((300, 240)).point(lambda value: min(255, value + 6)) for image in PHOTOS
    ]
    found = np.argmax(encode(thumbnail, changed) @ encode(thumbnail, PHOTOS).T, axis=1)
    np.testing.assert_array_equal(found, np.arange(len(PHOTOS)))


@pytest.mark.parametrize("count", [1, 2])
def test_tiny_catalogues_of_photos(count: int) -> None:
    encoder = fit_images(PHOTOS[:count])
    assert encoder.card.dim == count
    vectors = encode(encoder, PHOTOS)
    assert np.isfinite(vectors).all()
    if count == 2:
        # What tells the two apart lies along one line, its middle between them.
        assert vectors[0] @ vectors[1] == pytest.approx(-1, abs=1e-3)


def test_nothing_is_fitted_on_no_photos() -> None:
    # It would serve every later photo with vectors of zeros.
    with pytest.raises(EncoderError, match="no photo can be decoded"):
        Thumbnail.fit(list)


@pytest.mark.parametrize("size", [(1, 1), (64, 64), (500, 3)])
def test_pictures_of_one_colour_give_no_nan(thumbnail: Thumbnail, size: tuple[int, int]) -> None:
    plain = [Image.new("RGB", size, colour) for colour in ("white", "black", "red")]
    vectors = encode(thumbnail, plain)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] < 0.9
    assert np.isfinite(encode(fit_images(plain), [*plain, *PHOTOS[:2]])).all()


def test_equal_photos_fit_without_nan() -> None:
    encoder = fit_images([PHOTOS[0]] * 5)
    assert np.isfinite(encode(encoder, PHOTOS[:3])).all()


def test_describe_lays_colours_before_gradients() -> None:
    red_left = Image.new("RGB", (64, 64), "blue")
    red_left.paste("red", (0, 0, 32, 64))
    features = describe(red_left)
    colours = features[: 8 * 8 * 3].reshape(8, 8, 3)
    # CIELAB of sRGB red and blue, over 100, times the weight 2.
    np.testing.assert_allclose(colours[:, 0], [[1.065, 1.602, 1.345]] * 8, atol=0.01)
    np.testing.assert_allclose(colours[:, 7], [[0.646, 1.583, -2.157]] * 8, atol=0.01)
    assert len(features) == 192 + 7 * 7 * 2 * 2 * 9


@pytest.mark.parametrize("content", [None, b"cut"])
def test_a_lost_or_damaged_state_is_named_with_the_way_out(tmp_path, content):
    for kind, name in ((Lexical, "lexical"), (Thumbnail, "thumbnail")):
        if content:
            (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(EncoderError, match=rf"{name}\.safetensors .* --refit"):
            kind.load(tmp_path)
