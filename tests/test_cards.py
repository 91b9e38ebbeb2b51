"""Cards of a store from a stranger: whatever stands in them ends in one line, or can be used."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file, save_file

import vitrina as vt
from vitrina.audit.report.write import write_report
from vitrina.audit.results import Audit, AuditNeighbour, Suspect
from vitrina.classifier.card import HeadShape, ModelCard, ReportCard
from vitrina.classifier.model import Model
from vitrina.classifier.tree import LEVELS, CategoryTree
from vitrina.data.reading import Reading
from vitrina.embedder.lexical import Lexical
from vitrina.embedder.thumbnail import FEATURES, Thumbnail
from vitrina.errors import CatalogueError, EncoderError, StoreError, TrainingError, VitrinaError
from vitrina.index.card import IndexCard
from vitrina.index.storage import Folder
from vitrina.pipelines.audit.label_studio import import_tasks
from vitrina.pipelines.classify.options import ClassifyOptions
from vitrina.pipelines.classify.predictor import Predictor
from vitrina.pipelines.common.encoders import TrainedCard
from vitrina.store.sources import Sources
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.loop import _Run
from vitrina.typed_json import convert_json, load_json, parse_json, read_json_as
from vitrina.types import HeadKind, Modality, Reason

DEEP = "[" * 200 + "]" * 200
GONE = object()
OTHERS = (
    GONE,
    None,
    "text",
    "",
    True,
    [],
    {},
    [[]],
    {"a": 1},
    -1,
    0,
    2,
    1.5,
    10**9,
    10**400,
    math.nan,
    math.inf,
    -math.inf,
)
"""What is put in the place of each value of a card."""


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A store with an index and a head over it."""
    folder = tmp_path_factory.mktemp("cards")
    words = ["чашка", "майка", "чай"]
    names = ["дом->чашки", "одежда->майки", "еда->чай"]
    rows = [
        {
            "product_id": at,
            "title": f"{words[at % 3]} {at} модель {at * 31}",
            "category_id": at % 3 if at != 5 else 1,
            "category_name": names[at % 3 if at != 5 else 1],
        }
        for at in range(60)
    ]
    path = folder / "c.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    store = vt.Store.open(folder / "store", create=True)
    vt.embed(vt.Catalogue.read(path), store, text="lexical", image="none")
    vt.build_index(store)
    vt.train(store, "logistic", fusion="knn")
    return vt.Store.open(folder / "store")


def places(value, path=()):
    """The place of every value in some JSON; of long lists the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, child in value.items():
            yield from places(child, (*path, key))
    elif isinstance(value, list):
        for at in sorted({0, len(value) - 1} if value else ()):
            yield from places(value[at], (*path, at))


def changed(value, path, to):
    """A copy with the value at a place changed, or gone."""
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    if to is GONE:
        del at[path[-1]]
    else:
        at[path[-1]] = to
    return copy


def try_all(value, use, where, *, least=0.3):
    """Change every value of a card to everything else. use: reads and uses what is written; its
    errors must name the file. least: the share of changes that must be refused."""
    messages, tried = [], 0
    for path in places(value):
        for other in OTHERS:
            tried += 1
            try:
                use(changed(value, path, other))
            except VitrinaError as err:
                messages.append(str(err))
            except Exception as err:
                raise AssertionError(f"{path}: {other!r} ends in {err!r}") from err
    for message in messages:
        assert where in message
        assert "; " in message, message
        assert "\n" not in message
        assert len(message) < 1000
    assert len(messages) > least * tried


def copied(folder, tmp_path):
    shutil.copytree(folder, tmp_path / folder.name)
    return tmp_path / folder.name


def put(path, value):
    path.write_text(json.dumps(value))


# -- any JSON -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe{", b"{", DEEP.encode(), b"[" * 100_000, b'"\\ud800"', b"9" * 5000],
    ids=["empty", "utf8", "cut", "deep", "deeper", "surrogate", "digits"],
)
def test_what_is_no_json_names_the_file(content, shelf, tmp_path):
    folder = copied(shelf.model_folder(None), tmp_path)
    (folder / "model.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"model\.json is not.*; run `vitrina train` again$"):
        Model.load(folder)


def test_what_is_nested_as_deep_as_it_may_be_can_be_written_again():
    value = load_json(b"[" * 100 + b"]" * 100, "it", "mend it")
    assert json.dumps(value, indent=1).count("[") == 100
    with pytest.raises(StoreError, match="nested too deep"):
        load_json(b'{"a": ' * 101 + b"1" + b"}" * 101, "it", "mend it")


def test_a_long_value_is_not_quoted_whole_and_stays_on_one_line():
    content = json.dumps({"modality": "a\nb" * 10_000, "fingerprint": "f"}).encode()
    with pytest.raises(StoreError) as caught:
        parse_json(content, TrainedCard, "encoder.json", "train again")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


# -- heads ----------------------------------------------------------------------------------------


def used_head(folder):
    """Load a head, and predict products of which nothing is known."""
    model = Model.load(folder)
    card = ModelCard.read(folder)
    dims = card.dims()
    vectors = [np.zeros((3, dims[one]), np.float32) for one in model.modalities]
    for present in (np.ones(3, bool), np.zeros(3, bool)):
        masks = [present for _ in vectors]
        shares = np.zeros((3, len(model.categories)), np.float32)
        for vote in (None, shares):
            found = model.probabilities(vectors, masks, vote)
            assert np.isfinite(found).all()
            assert np.allclose(found.sum(axis=1), 1, atol=1e-4)
            decided = model.back_off.decide(found)
            model.back_off.nodes(decided)
    return model


def test_every_value_of_a_heads_card(shelf, tmp_path):
    folder = copied(shelf.model_folder(None), tmp_path)
    value = json.loads((folder / "model.json").read_text())
    assert "vote" in value["blend"]["members"]

    def use(told):
        put(folder / "model.json", told)
        used_head(folder)

    use(value)
    # By the card alone or by its weights: both files lie in the head's folder.
    try_all({**value, "report": {}}, use, folder.name)


def test_every_value_of_a_heads_report(shelf):
    value = json.loads((shelf.model_folder(None) / "model.json").read_text())["report"]
    kept = {name: value[name] for name in ("features", "head", "split", "validation")}
    try_all(kept, lambda told: convert_json(told, ReportCard, "model.json", "train"), "model.json")


CONTRADICTIONS = {
    "a category twice": (("categories", 1, "id"), 0, "occurs twice"),
    "ids as text": (("categories", 1, "id"), "x", "text where the store has integers"),
    "classes": (("shapes", "text", "classes"), 10**9, "1000000000 classes, but there are 3"),
    "no such member": (("blend", "members"), ["text", "smell"], "no head over smell"),
    "weights": (("blend", "weights", "text"), [1.0], "1 weights of 2 members"),
    "negative weight": (("blend", "weights", "text"), [1.0, -1.0], ">= 0"),
    "another modality": (("inputs", 0, "modality"), "image", "text vectors, but inputs of image"),
    "temperature": (("blend", "temperatures", "text", "sharp"), 0, "sharp"),
    "shares": (("blend", "temperatures", "text", "soft_share"), 0.9, "of the whole"),
    "thresholds": (("back_off", 0, "of"), [0.5] * 4, "4 thresholds for 3 categories"),
    "threshold": (("back_off", 0, "of"), [0.5, 2, 0.5], "<= 1.01"),
    "no thresholds": (("back_off",), [], "no thresholds"),
    "dims": (("shapes", "text", "dims"), [10**9], "<= 65536"),
    "two dims": (
        ("shapes", "text"),
        {**vars(HeadShape(HeadKind.LOGISTIC, (2, 2), (1.0, 1.0), 3))},
        "has 2 vectors",
    ),
    "hidden": (("shapes", "text", "hidden"), 10**12, "<= 65536"),
    "fusion": (("fusion",), "guess", "Invalid enum value"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_head_that_contradicts_itself(name, shelf, tmp_path):
    path, to, reason = CONTRADICTIONS[name]
    folder = copied(shelf.model_folder(None), tmp_path)
    value = changed(json.loads((folder / "model.json").read_text()), path, to)
    if name == "shares":
        value["blend"]["temperatures"]["text"]["sharp_share"] = 0.9
    put(folder / "model.json", value)
    with pytest.raises(StoreError) as caught:
        Model.load(folder)
    assert f"{folder}/model.json is " in str(caught.value)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; run `vitrina train` again")


def weights_changed(folder, change):
    path = folder / "head.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def bias(to):
    return lambda tensors: tensors.update({"text.layers.bias": np.asarray(to)})


CHANGES = {
    "NaN": bias(np.float32([0, math.nan, 0])),
    "infinite": bias(np.float32([0, math.inf, 0])),
    "huge": bias(np.float32([0, 1e30, 0])),
    "dtype": bias(np.float64([0, 0, 0])),
    "shape": bias(np.zeros((1, 3), np.float32)),
    "fewer": bias(np.zeros(2, np.float32)),
    "gone": lambda tensors: tensors.pop("text.layers.bias"),
    "more": lambda tensors: tensors.update({"text.more": np.zeros(1, np.float32)}),
    "another member": lambda tensors: tensors.update({"image.layers.bias": np.zeros(3)}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_weights_that_are_not_the_cards(name, shelf, tmp_path):
    folder = copied(shelf.model_folder(None), tmp_path)
    weights_changed(folder, CHANGES[name])
    words = r"head\.safetensors is damaged \(.*\); run `vitrina train` again$"
    with pytest.raises(StoreError, match=words):
        Model.load(folder)


def test_a_card_that_claims_much_allocates_nothing(shelf, tmp_path):
    import tracemalloc

    folder = copied(shelf.model_folder(None), tmp_path)
    value = json.loads((folder / "model.json").read_text())
    value["shapes"]["text"] |= {"dims": [65_536], "kind": "mlp", "hidden": 65_536}
    put(folder / "model.json", value)
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match=r"head\.safetensors is damaged"):
            Model.load(folder)
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()


def test_vectors_of_another_length_are_refused_before_they_are_used(shelf, monkeypatch):
    model = Model.load(shelf.model_folder(None))
    fingerprint, dim = model.fingerprints[Modality.TEXT], shelf.space(Modality.TEXT).dim
    model.check(Modality.TEXT, fingerprint, dim)
    with pytest.raises(StoreError, match=rf"takes text vectors of {dim} numbers, but .* have 7; "):
        model.check(Modality.TEXT, fingerprint, 7)
    monkeypatch.setattr("vitrina.store.space.Space.dim", 7)
    with pytest.raises(StoreError, match="have 7; run `vitrina train` again"):
        Predictor(shelf, ClassifyOptions())


def test_a_heads_vote_is_a_rule(shelf, monkeypatch):
    load = Model.load
    for vote in ({}, {"kind": "uniform", "k": 10**9, "temperature": 1, "prior": 0}, {"k": None}):
        monkeypatch.setattr(
            Model, "load", lambda *given, vote=vote: replace(load(*given), vote=vote)
        )
        with pytest.raises(StoreError, match=r"the vote of the head text-logistic is not .*; run"):
            Predictor(shelf, ClassifyOptions())


def test_a_path_of_very_many_parts_costs_little():
    tree = CategoryTree.of(["a->b", "->".join(str(at) for at in range(50_000))])
    assert (tree.depth, len(tree.paths)) == (LEVELS, LEVELS + 2)
    assert tree.lines.shape == (2, LEVELS)


# -- indexes, audits, encoders --------------------------------------------------------------------


def test_every_value_of_an_indexs_card(shelf, tmp_path):
    files = shelf.index_files("text")
    for path in files.values():
        shutil.copy(path, tmp_path)
    folder = Folder({path.name: path for path in tmp_path.iterdir()}, str(tmp_path))
    value = json.loads((tmp_path / "index.json").read_text())
    rule = {"kind": "softmax", "k": 5, "temperature": 0.1, "prior": 0.25}
    value["vote"] = {"rule": rule, "weighted_f1": 0.5, "rows": 9}

    def use(told):
        put(tmp_path / "index.json", told)
        card = folder.card()
        assert card.told.keys() == told.keys()
        if any(told[name] != value[name] for name in ("factory", "dim", "base", "rows")):
            folder.entries(card)
            folder.engine(card)
        assert card.parameters.effort.breadth <= 1 << 24
        assert card.vote is None or card.vote.rule.rule.k <= 1000
        json.dumps(card.told, indent=1)

    use(value)
    try_all(value, use, str(tmp_path))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"features": "image"}, "image vectors made of text"),
        ({"kind": "hnsw"}, "makes no index of the kind hnsw"),
        ({"weights": {"image": 1.0}}, "weights are not those of text"),
        ({"parameters": {"efSearch": 10**9}}, "efSearch"),
        ({"goal": {"recall": 2}}, r"\$.goal.recall"),
    ],
)
def test_an_index_that_contradicts_itself(changes, reason, shelf):
    value = json.loads(shelf.index_files("text")["index.json"].read_text())
    with pytest.raises(StoreError, match=f"index.json is not .*{reason}.*--rebuild"):
        IndexCard.of({**value, **changes}, "index.json")


FULL_CARD = {
    "key": "0123",
    "store": "shelf",
    "time": "2026-11-01T00:00:00+00:00",
    "machine": "x86, 2",
    "features": "fused",
    "products": 9,
    "labelled": 8,
    "checked": 7,
    "settled": 1,
    "suspects": 2,
    "wrong_by_confident_learning": 1,
    "members": ["text head", "neighbours"],
    "copies_from": 0.9,
    "folds": 5,
    "seed": 0,
    "took": 1.5,
    "recorded": True,
    "stages": {"training": 1.5},
    "reasons": {"model": 2},
    "cleanlab": {"issues": 3, "suspects_among_them": 1},
    "scores": [{"low": 0.5, "high": 0.75, "count": 2}],
    "pairs": [{"given": 0, "suggested": 1, "count": 2, "products": [1, 2]}],
    "twins": [{"one": 0, "other": 1, "products": 5, "share": 0.5, "kind": "twins"}],
    "categories": [{"id": 0, "products": 5, "suspects": 2}],
    "foreign_text": {"count": 1, "products": [1]},
    "without_photo": {"count": 1, "products": [2]},
}


@pytest.fixture
def audited(tmp_path):
    """The folder of an audit."""
    near = (AuditNeighbour(7, 1, 0.5), AuditNeighbour(8, None, 0.25))
    suspects = tuple(
        Suspect(
            rank=at,
            product_id=at,
            title="чашка",
            given=0,
            suggested=1,
            score=0.75,
            given_probability=0.25,
            suggested_probability=0.5,
            reasons=(Reason.MODEL,),
            evidence={"model": 0.5},
            text_category=1,
            neighbours=near,
        )
        for at in (1, 2)
    )
    folder = tmp_path / "audit-0123"
    folder.mkdir()
    Audit(FULL_CARD, {0: "дом", 1: "еда"}, suspects).write_files(folder, pa.int64(), pa.int64())
    assert Audit.read(folder, (int, int), "audit again").suspects == suspects
    assert Audit.read(folder, (str, str), "audit again").names == {"0": "дом", "1": "еда"}
    return folder


@pytest.mark.slow
def test_every_value_of_an_audits_card(audited):
    folder = audited
    value = json.loads((folder / "audit.json").read_text())

    def use(told):
        put(folder / "audit.json", told)
        found = Audit.read(folder, (int, int), "audit again")
        assert isinstance(found.key, str)
        assert all(isinstance(name, str) for name in found.names.values())
        # What is accepted can be shown.
        write_report(folder / "report.html", found, titles=lambda _: {}, photos=lambda _: ())

    use(value)
    try_all(value, use, "audit.json")
    # An older audit lacks what was added since.
    use({name: value[name] for name in ("format", "key", "names")})
    for told in ([], "text", None, 5):
        put(folder / "audit.json", told)
        with pytest.raises(StoreError, match=r"audit\.json is of another version"):
            Audit.read(folder, (int, int), "audit again")


def test_suspects_are_what_an_audit_writes(audited):
    folder = audited
    path = folder / "suspects.parquet"
    table = pq.read_table(path)
    assert table.num_rows
    accepted, messages = set(), []
    for name in table.schema.names:
        broken = [
            table.drop_columns([name]),
            table.set_column(
                table.schema.get_field_index(name), name, pa.nulls(table.num_rows, pa.int64())
            ),
            table.set_column(
                table.schema.get_field_index(name), name, pa.array([["x"]] * table.num_rows)
            ),
        ]
        for other in broken:
            pq.write_table(other, path)
            try:
                Audit.read(folder, (int, int), "audit again")
                accepted.add(name)
            except StoreError as err:
                messages.append(str(err))
    assert all("suspects.parquet is " in message for message in messages)
    # A modality by itself may say nothing, and so may a title.
    assert accepted <= {"title", "text_category_id", "image_category_id"}
    pq.write_table(pa.concat_tables([table, table]), path)
    with pytest.raises(StoreError, match=r"suspects\.parquet has a rank twice; audit again"):
        Audit.read(folder, (int, int), "audit again")


def test_every_value_of_a_trained_encoders_card(tmp_path):
    path = tmp_path / "encoder.json"
    value = {"modality": "text", "fingerprint": "ab" * 32, "dim": 4, "details": {}}

    def use(told):
        put(path, told)
        read_json_as(path, TrainedCard, "train again")

    try_all(value, use, "encoder.json")


LEXICAL = {
    "terms": np.array([3, 9, 2**21 - 1]),
    "idf": np.ones(3, np.float32),
    "components": np.eye(3, dtype=np.float32),
}
THUMBNAIL = {
    "mean": np.zeros(FEATURES, np.float32),
    "components": np.ones((FEATURES, 2), np.float32),
}


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("terms", np.array([3, 2, 9])),
        ("terms", np.array([3, 3, 9])),
        ("terms", np.array([-1, 3, 9])),
        ("terms", np.array([3, 9, 2**21])),
        ("terms", np.array([3, 9])),
        ("terms", np.array([3, 9, 10], np.int32)),
        ("terms", np.zeros(0, np.int64)),
        ("idf", np.array([1, math.nan, 1], np.float32)),
        ("idf", np.ones(3)),
        ("components", np.ones((2, 3), np.float32)),
        ("components", np.ones(3, np.float32)),
        ("components", np.ones((3, 0), np.float32)),
        ("components", np.full((3, 3), 1e30, np.float32)),
        ("components", np.zeros((3, 70_000), np.float32)),
        ("more", np.ones(3, np.float32)),
        ("idf", None),
    ],
)
def test_a_lexical_encoder_that_is_none(name, to, tmp_path):
    path = tmp_path / "lexical.safetensors"
    save_file(LEXICAL, path)
    assert Lexical.load(tmp_path).encode(["чашка"]).shape == (1, 3)
    save_file({key: one for key, one in {**LEXICAL, name: to}.items() if one is not None}, path)
    with pytest.raises(EncoderError, match=r"lexical\.safetensors is damaged \(.*--refit$"):
        Lexical.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("mean", np.zeros(5, np.float32)),
        ("mean", np.full(FEATURES, math.inf, np.float32)),
        ("components", np.ones((5, 2), np.float32)),
        ("components", np.ones((FEATURES, 2), np.float16)),
    ],
)
def test_a_thumbnail_encoder_that_is_none(name, to, tmp_path):
    path = tmp_path / "thumbnail.safetensors"
    save_file(THUMBNAIL, path)
    encoder = Thumbnail.load(tmp_path)
    assert encoder.encode([np.ones(FEATURES, np.float32)]).shape == (1, 2)
    save_file({**THUMBNAIL, name: to}, path)
    with pytest.raises(EncoderError, match=r"thumbnail\.safetensors is damaged \(.*--refit$"):
        Thumbnail.load(tmp_path)
    both = {key: one[:5] for key, one in THUMBNAIL.items()}
    save_file(both, path)
    with pytest.raises(EncoderError, match=rf"5 features, not {FEATURES}"):
        Thumbnail.load(tmp_path)


# -- a store's reading settings ---------------------------------------------------------------


def test_every_value_of_a_remembered_reading(shelf, tmp_path):
    path = tmp_path / "batch.jsonl"
    path.write_text('{"product_id": 1, "title": "a"}\n')
    value = json.loads(json.dumps(shelf.manifest.reading["catalogue"]))

    def use(told):
        reading = Reading.from_json(told, "what the store remembers")
        assert 1 <= reading.fetching.workers <= 256
        assert 1 <= reading.photos <= 1000
        assert not reading.fetching.private_allowed
        assert reading.fetching.cache is None
        Reading.from_json(reading.to_json())

    use(value)
    try_all(value, use, "what the store remembers")


def test_every_value_of_the_list_of_sources(shelf):
    value = json.loads(json.dumps(shelf.manifest.reading))["sources"]
    value[0] |= {"retired": {"7": ["чашки"]}, "alias": "Ромашка"}
    value[0]["reading"] = {}

    def use(told):
        sources = Sources.of({"sources": told["sources"]}, products=True)
        assert all(isinstance(one.title, str) for one in sources)
        assert all(isinstance(key, str) for key in sources.retired)
        sources.of_category(7)
        sources.to_json()

    use({"sources": value})
    try_all({"sources": value}, lambda told: use({"sources": [], **told}), "list of sources")


TASK = {
    "id": 7,
    "data": {"product_id": 4, "given_category_id": 1, "audit": "x"},
    "annotations": [
        {
            "id": 3,
            "completed_by": {"id": 1, "email": "a@b"},
            "created_at": "2026-01-01T00:00:00Z",
            "result": [{"from_name": "category", "value": {"choices": ["дом->чашки [0]"]}}],
        }
    ],
}


@pytest.mark.slow
def test_every_value_of_a_label_studio_task(shelf, tmp_path, monkeypatch):
    path = tmp_path / "tasks.json"
    kept = []
    monkeypatch.setattr(
        "vitrina.pipelines.audit.label_studio.add_decisions",
        lambda _files, _products, found: kept.extend(found),
    )

    def use(told):
        put(path, told)
        import_tasks(shelf, path)

    use([TASK])
    assert [(one.product_id, one.category) for one in kept] == [(4, 0)]
    try_all([TASK], use, "tasks.json")
    for content in (b"{}", b"\xff", DEEP.encode(), b'["\\ud800"]'):
        path.write_bytes(content)
        with pytest.raises(CatalogueError, match=r"tasks\.json is n.*; export the project as JSON"):
            import_tasks(shelf, path)


def test_features_of_a_card_are_of_its_index(shelf, monkeypatch):
    read = Folder.card

    def card(self):
        told = {**read(self).told, "features": "image", "modalities": ["image"]}
        for name in ("weights", "fingerprints", "shards"):
            told[name] = {"image": told[name]["text"]}
        return IndexCard.of(told, "it")

    monkeypatch.setattr(Folder, "card", card)
    with pytest.raises(StoreError, match="is one of image vectors; run `vitrina index --rebuild`"):
        vt.open_index(shelf, "text")


# -- checkpoints ----------------------------------------------------------------------------------


def test_a_checkpoint_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("VITRINA_CACHE", str(tmp_path))
    checkpoint = Checkpoint({"what": 1})
    checkpoint.path.parent.mkdir(parents=True, exist_ok=True)
    for told in ("", "[]", DEEP, '{"run": 5, "step": 1}', '{"run": {}, "step": -1}', "{}"):
        save_file({"best.x": np.zeros(2, np.float32)}, checkpoint.path, {"vitrina": told})
        assert checkpoint.read() is None
    save_file({}, checkpoint.path, {"vitrina": '{"run": {"epoch": 3}, "step": 1}'})
    assert checkpoint.read().step == 1
    checkpoint.path.write_bytes(b"nothing")
    assert checkpoint.read() is None


@pytest.mark.parametrize(
    "run",
    [{"epoch": 1}, {"best": 0}, {"best": -2}, {"epoch": "1"}, {"history": [1]}, {"batch": -1}],
)
def test_a_run_that_is_none(run):
    with pytest.raises(TrainingError, match=r"it is not what it should be .*; delete it"):
        convert_json(run, _Run, "it", "delete it", TrainingError)
