"""What speaks against a label: pooled, ranked, told apart from what is merely unclear."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from vitrina.audit.confusion import pairs, twins
from vitrina.audit.label_scores import LabelScores, confident, ranking
from vitrina.audit.near_duplicates import LEAST, NEVER, Copies, Groups, nearness
from vitrina.audit.outliers import FEWEST, centres, is_outlier, likeness, strangeness
from vitrina.audit.photo_hash import photo_hash, same_photo
from vitrina.audit.thumbs import thumbnail


def said(shares, codes):
    shares, codes = np.array(shares, dtype=np.float32), np.array(codes)
    out = LabelScores.nothing(len(codes))
    out.put(np.arange(len(codes)), shares, codes)
    return out


def test_what_is_said_of_a_label_and_of_the_likeliest_other():
    found = said([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.0, 1.0, 0.0]], [0, 0, 1])
    np.testing.assert_allclose(found.given, [0.7, 0.1, 1.0])
    np.testing.assert_array_equal(found.other, [1, 2, 0])
    np.testing.assert_allclose(found.beside, [0.2, 0.6, 0.0])
    np.testing.assert_array_equal(found.against, [False, True, False])


def test_odds_outrank_a_label_that_is_merely_unclear():
    # The second is at a loss about everything; its label's own probability is the lower one.
    found = said([[0.90, 0.10, 0, 0], [0.08, 0.31, 0.31, 0.30]], [1, 0])
    assert found.given[1] < found.given[0]
    score = found.score(np.array([1000, 1000]))
    assert score[0] > score[1] > 0.5


def test_the_score_is_a_half_where_the_other_is_likelier_by_the_doubt():
    found = said([[0.475, 0.525]] * 3, [0] * 3)
    score = found.score(np.array([10**9, 9, 0]))
    assert score[0] == pytest.approx(0.5, abs=1e-6)
    # A rare category is granted more.
    assert score[0] > score[1] > score[2]


@given(st.integers(0, 2**32 - 1))
def test_the_ranking_holds_every_row_once_and_falls(seed):
    rng = np.random.default_rng(seed)
    score = rng.integers(0, 4, 30) / 4
    order = ranking(score, np.arange(30))
    assert sorted(order) == list(range(30))
    assert (np.diff(score[order]) <= 0).all()
    same = np.flatnonzero(np.diff(score[order]) == 0)
    assert (order[same] < order[same + 1]).all()


def test_confident_learning_counts_by_each_categorys_own_confidence():
    # Category 1 is told with 0.6 on average, category 0 with 0.8.
    shares = [[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.4, 0.6], [0.45, 0.55]]
    found = said(shares, [0, 0, 1, 1, 0])
    # Of the last one 0.55 is said of category 1, less than is usual there.
    np.testing.assert_array_equal(confident(found, np.array([0, 0, 1, 1, 0]), 2), [False] * 5)
    shares[-1] = [0.35, 0.65]
    found = said(shares, [0, 0, 1, 1, 0])
    assert confident(found, np.array([0, 0, 1, 1, 0]), 2).tolist() == [False] * 4 + [True]


def test_pairs_come_by_their_count_and_name_the_surest():
    found = pairs(np.array([2, 1, 2, 2]), np.array([3, 0, 3, 3]), np.array([9, 8, 7, 6]), named=2)
    assert [(one.given, one.suggested, one.count, one.rows) for one in found] == [
        (2, 3, 3, (9, 7)),
        (1, 0, 1, (8,)),
    ]
    assert pairs(*[np.zeros(0, dtype=np.int64)] * 3) == ()


def test_twins_draw_one_anothers_products_and_a_part_only_gives():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2, 3], 20)
    shares = np.full((80, 4), 0.02)
    shares[np.arange(80), codes] = 0.94
    shares[codes == 0] = [0.5, 0.44, 0.03, 0.03]
    shares[codes == 1] = [0.4, 0.54, 0.03, 0.03]
    shares[codes == 3] = [0.0, 0.0, 0.6, 0.4]
    order = rng.permutation(80)
    found = twins(said(shares[order], codes[order]), codes[order], np.ones(80, bool), 4)
    assert [(one.one, one.other, one.inside) for one in found] == [(3, 2, True), (0, 1, False)]
    assert found[1].share == pytest.approx(0.42)
    # Too few products tell nothing.
    few = np.arange(8)
    assert (
        twins(said(shares[few * 10], codes[few * 10]), codes[few * 10], np.ones(8, bool), 4) == ()
    )


def test_a_vector_apart_from_its_category_is_foreign_and_a_wrong_label_is_no_standard():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(2 * FEWEST, 8)) * 0.1
    codes = np.repeat([0, 1], FEWEST)
    vectors[codes == 0, 0] += 1
    vectors[codes == 1, 1] += 1
    vectors[3] = vectors[-1]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def blocks():
        return iter([(np.arange(0, 20), vectors[:20]), (np.arange(20, 40), vectors[20:])])

    centre = centres(blocks(), codes, 2, 8)
    like = likeness(blocks(), codes, centre)
    strange = strangeness(like, codes, 2)
    assert is_outlier(strange)[3]
    assert strange.argmax() == 3
    assert is_outlier(strange).sum() <= 4
    # Of a category of few products nothing can be told.
    assert not strangeness(like[:10], codes[:10], 2).any()


def test_copies_are_as_near_as_labels_agree():
    rng = np.random.default_rng(0)
    scores = np.linspace(1, 0.5, 20_000).astype(np.float32)
    # 5% of labels are wrong; below 0.9 neighbours are of another category more and more often.
    chance = np.where(scores > 0.9, 0.95, 0.95 - (0.9 - scores) * 2)
    same = rng.random(len(scores)) < chance
    assert 0.84 < nearness(scores, same) < 0.91
    assert nearness(scores, np.ones(len(scores), bool)) == LEAST
    assert nearness(scores[:50], same[:50]) == NEVER


def test_copies_share_a_title_or_a_photo_or_lie_near():
    titles = np.array([7, 7, 0, 0, 9], dtype=np.uint64)
    photos = np.array([0, 3, 3, 0, 0], dtype=np.uint64)
    copies = Copies.of((titles, photos), 0.9)
    near = np.array([[1, 4], [0, 4], [1, 3], [2, 0], [3, -1]])
    scores = np.array([[0.95, 0.2], [0.95, 0.1], [0.5, 0.92], [0.92, 0.1], [0.3, 0.0]])
    who, other = copies.pairs(np.arange(5), near, scores.astype(np.float32))
    found = {row: sorted(other[who == row].tolist()) for row in range(5)}
    assert found == {0: [1], 1: [0, 2], 2: [1, 3], 3: [2], 4: []}
    shares, heard = copies.shares(who, np.array([1, 0, 1, -1, 0])[other], 5, 2)
    # Row 2 hears row 1, of class 0; row 3 has no label to be heard by.
    np.testing.assert_allclose(shares[2], [1, 0])
    np.testing.assert_allclose(heard, [0.5, 2 / 3, 0.5, 0.5, 0])


@given(st.lists(st.integers(0, 3), min_size=1, max_size=30))
def test_groups_find_all_who_share_a_key(keys):
    keys = np.array(keys, dtype=np.uint64)
    rows = np.arange(len(keys))
    who, other = Groups.of(keys).pairs(rows, keys)
    found = set(zip(who.tolist(), other.tolist(), strict=True))
    wanted = {
        (one, two)
        for one in rows.tolist()
        for two in rows.tolist()
        if one != two and keys[one] == keys[two] != 0
    }
    assert found == wanted


def photo(shift=0, size=(240, 300), form="JPEG", **options):
    import io

    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    scale = size[0] / 240
    draw.ellipse([x * scale for x in (40 + shift, 60, 160 + shift, 220)], fill=(200, 40, 30))
    draw.rectangle([x * scale for x in (120, 30 + shift, 220, 110)], fill=(20, 60, 180))
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


def test_a_photo_is_known_again_after_scaling_and_recompression():
    one = photo_hash(photo())
    assert same_photo(one, photo_hash(photo(quality=20)))
    assert same_photo(one, photo_hash(photo(size=(96, 120), form="PNG")))
    assert not same_photo(one, photo_hash(photo(shift=60)))
    assert photo_hash(b"no photo") is None
    assert not same_photo(None, None)
    sink_white = photo_hash(_even())
    assert sink_white is None


def _even():
    import io

    sink = io.BytesIO()
    Image.new("RGB", (50, 50), "white").save(sink, "PNG")
    return sink.getvalue()


def test_a_thumbnail_is_small_and_a_broken_photo_has_none():
    import io

    small = Image.open(io.BytesIO(thumbnail(photo(), 64)))
    assert (small.format, max(small.size)) == ("WEBP", 64)
    assert Image.open(io.BytesIO(thumbnail(photo(size=(48, 60)), 160))).size == (48, 60)
    assert thumbnail(b"\xff\xd8\xff broken", 64) is None
