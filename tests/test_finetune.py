"""Fine-tuning a text encoder: what it learns, what it never sees, what serves afterwards."""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file

import vitrina as vt
from support.named_models import load_text
from support.tuning import KINDS, PIECES, products, write_catalogue, write_model, write_store
from vitrina.embedder.finetuning import text_classes
from vitrina.embedder.finetuning.groups import by_depth
from vitrina.embedder.finetuning.text_classes import TextClasses
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.model_ref import ModelRef
from vitrina.embedder.text_config import read_form
from vitrina.errors import EncoderError, OptionError, TrainingError
from vitrina.pipelines.common.seen_rows import rows_seen
from vitrina.pipelines.common.store_split import split_store
from vitrina.pipelines.embed.encoder_choice import load_model
from vitrina.pipelines.finetune.self_training import second, with_unlabelled
from vitrina.pipelines.finetune.trainer import FinetuneExamples
from vitrina.store.store import OpenStore
from vitrina.training import loop
from vitrina.training.config import TrainingConfig
from vitrina.training.dropout import Dropout
from vitrina.training.loss import ClassLoss, SoftTargets
from vitrina.types import Balance, Modality, Pooling, SplitKind

pytestmark = pytest.mark.usefixtures("own_cache")

FAST = {"epochs": 6, "learning_rate": 1e-2, "batch_size": 32, "ema_decay": 0.0}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("store") / "shelf")


@pytest.fixture
def store(base, tmp_path):
    """A copy of its own for each test."""
    shutil.copytree(base.place, tmp_path / "shelf")
    return OpenStore.open(tmp_path / "shelf")


# -- the job --------------------------------------------------------------------------------------


def test_an_encoder_learns_the_categories_and_serves_embed(store, model, tmp_path):
    report = vt.finetune(store, "text", model=str(model), name="kinds", **FAST)
    assert report.validation.weighted_f1 > 0.95
    assert report.train.weighted_f1 > 0.95
    assert report.classes == len(KINDS)
    assert report.rows + report.held_out + report.validation.rows == 400
    assert report.held_out == pytest.approx(0.03 * 320, abs=3)
    catalogue = vt.Catalogue.read(write_catalogue(tmp_path / "again.csv"))
    done = vt.embed(catalogue, store, text="kinds")
    assert [(one.space, one.embedded) for one in done.spaces] == [("text-kinds", 400)]
    assert store.space(Modality.TEXT).entry.fingerprint == report.fingerprint
    # A linear head on the frozen vectors is nearly as good as the one that was dropped.
    head = vt.train(store, "logistic", features="text")
    assert head.validation.weighted_f1 > 0.95
    assert head.seen == 0
    # Another split has products among its validation rows that the encoder knows.
    other = vt.train(store, "logistic", features="text", name="other", seed=1)
    assert 0.6 * report.validation.rows < other.seen <= report.validation.rows * 1.1
    # What it has not learnt from judges in turn, and no more than that.
    assert other.folds > head.folds == 1
    assert other.seen < other.evaluated
    # New products are embedded by the same encoder, from the store alone.
    batch = vt.open_batch(write_catalogue(tmp_path / "new.csv", 50, seed=5, labelled=False), store)
    predicted = vt.classify(batch, OpenStore.open(store.place))["predicted_category_id"].to_pylist()
    assert predicted == [f"c{kind}" for _, _, kind in products(50, seed=5)]
    # Embedded again, nothing is left to do.
    assert vt.embed(catalogue, store, text="kinds").spaces[0].embedded == 0
    assert not vt.verify(store.place).problems


def test_its_card_tells_how_it_was_made(store, model):
    report = vt.finetune(store, "text", model=str(model), name="kinds", seed=3, **FAST)
    folder = store.encoder_folder("kinds")
    card = json.loads((folder / "encoder.json").read_text())
    # How long it took to write it, it can't tell.
    stages = card.pop("stages")
    told = json.loads(json.dumps(report.to_json()))
    assert stages.keys() <= told.pop("stages").keys()
    hub = {"base_model": None, "languages": ["ru"]}
    assert card == {**told, "dim": 24, "details": card["details"], "hub": hub}
    assert card["base"] == str(model)
    assert (card["split"], card["recipe"]["seed"], card["recipe"]["epochs"]) == ("grouped", 3, 6)
    assert len(card["history"]["epochs"]) <= 6
    assert set(card["validation"]) >= {"weighted_f1", "macro_f1", "weighted_f1_interval"}


def test_validation_products_never_enter(store, model, monkeypatch):
    seen, before = [], TextClasses.parts

    def watched(self, rows, rng):
        seen.append(rows)
        return before(self, rows, rng)

    monkeypatch.setattr(TextClasses, "parts", watched)
    vt.finetune(store, "text", model=str(model), name="kinds", **FAST)
    codes = store.products.categories().codes
    split = split_store(store.products, codes, SplitKind.GROUPED, 0).split
    trained = np.unique(np.concatenate(seen))
    assert np.isin(trained, split.train).all()
    noted = rows_seen(store, store.encoder_folder("kinds"))
    np.testing.assert_array_equal(noted, split.train)
    assert len(trained) < len(noted)
    ids = pq.read_table(store.encoder_folder("kinds") / "trained-on.parquet")["product_id"]
    assert ids.to_pylist() == store.products.ids.take(noted.tolist()).to_pylist()


@pytest.mark.slow
def test_what_its_base_has_learnt_from_never_judges(store, model):
    vt.finetune(store, "text", model=str(model), name="first", **FAST)
    learnt = rows_seen(store, store.encoder_folder("first"))
    codes = store.products.categories().codes
    whole = split_store(store.products, codes, SplitKind.GROUPED, 1)
    again = vt.finetune(store, "text", model="first", name="second", seed=1, **FAST)
    groups = whole.groups
    judges = whole.split.validation
    free = judges[~np.isin(groups[judges], groups[learnt])]
    assert again.validation.rows == len(free) < len(judges)
    # What its base has learnt from, it has; and what goes on from it knows that too.
    known = rows_seen(store, store.encoder_folder("second"))
    assert set(learnt) | set(whole.split.train) == set(known)
    vt.pretrain(store, model="second", name="talk", epochs=1)
    assert set(rows_seen(store, store.encoder_folder("talk"))) == set(known)
    # Random weights have learnt from nothing.
    fresh = vt.finetune(
        store, "text", model="first", name="fresh", seed=1, from_scratch=True, **FAST
    )
    assert fresh.validation.rows == len(judges)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.slow
def test_two_runs_with_one_seed_are_the_same(store, model, monkeypatch, dtype):
    monkeypatch.setattr(text_classes, "training_dtype", lambda *_, **__: dtype)
    one = vt.finetune(store, "text", model=str(model), name="one", **FAST)
    two = vt.finetune(store, "text", model=str(model), name="two", **FAST)
    other = vt.finetune(store, "text", model=str(model), name="other", seed=1, **FAST)
    assert one.fingerprint == two.fingerprint != other.fingerprint
    assert one.validation == two.validation
    assert [epoch["loss"] for epoch in one.history["epochs"]] == [
        epoch["loss"] for epoch in two.history["epochs"]
    ]


def test_an_encoder_that_is_trained_again_replaces_the_one_before(store, model):
    options = {**FAST, "epochs": 1}
    one = vt.finetune(store, "text", model=str(model), name="kinds", **options)
    two = vt.finetune(store, "text", model=str(model), name="kinds", **options)
    assert one.fingerprint == two.fingerprint
    card = json.loads((store.encoder_folder("kinds") / "encoder.json").read_text())
    assert card["seconds"] == two.seconds
    assert not vt.verify(store.place).problems


def test_the_same_products_are_kept_apart_whatever_else_is_missing(store):
    codes = store.products.categories().codes
    parted = split_store(store.products, codes, SplitKind.GROUPED, 0)
    everything = np.ones(len(codes), dtype=bool)
    some = np.random.default_rng(0).random(len(codes)) < 0.8
    whole = FinetuneExamples.of(codes, parted, everything, 0)
    fewer = FinetuneExamples.of(codes, parted, some, 0)
    # What one modality's encoder stops by, and blends are fitted on, no other one learns from.
    np.testing.assert_array_equal(
        fewer.early_stopping_rows, whole.early_stopping_rows[some[whole.early_stopping_rows]]
    )
    np.testing.assert_array_equal(fewer.rows, whole.rows[some[whole.rows]])


def test_a_run_that_was_killed_goes_on_where_it_was(store, model, monkeypatch, tmp_path):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    whole = vt.finetune(store, "text", model=str(model), name="whole", **FAST)
    steps = []
    before = loop._step

    def counted(*args):
        steps.append(1)
        if len(steps) == 23:
            raise KeyboardInterrupt
        return before(*args)

    monkeypatch.setattr(loop, "_step", counted)
    with pytest.raises(KeyboardInterrupt):
        vt.finetune(store, "text", model=str(model), name="killed", **FAST)
    report = vt.finetune(store, "text", model=str(model), name="killed", **FAST)
    assert report.fingerprint == whole.fingerprint
    assert report.validation == whole.validation
    assert len(steps) == 1 + len(whole.history["epochs"]) * -(-whole.rows // 32)
    assert list((tmp_path / "cache" / "training").iterdir()) == []


def test_from_scratch_needs_no_weights_and_forgets_those_there_are(store, model, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (bare / name).write_bytes((model / name).read_bytes())
    with pytest.raises(EncoderError, match=r"model\.safetensors is missing"):
        vt.finetune(store, "text", model=str(bare), name="kinds", **FAST)
    one = vt.finetune(store, "text", model=str(bare), name="bare", from_scratch=True, **FAST)
    two = vt.finetune(store, "text", model=str(model), name="full", from_scratch=True, **FAST)
    assert one.fingerprint == two.fingerprint
    assert one.validation.weighted_f1 > 0.95


def test_random_weights_take_smaller_steps_than_trained_ones(store, model):
    once = {"model": str(model), "name": "kinds", "epochs": 1}
    rates = [
        vt.finetune(store, "text", from_scratch=fresh, **once).config["rate"]
        for fresh in (True, False)
    ]
    assert rates[0] < rates[1]


def test_an_encoder_that_was_trained_can_be_trained_on(store, model):
    first = vt.finetune(store, "text", model=str(model), name="kinds", **{**FAST, "epochs": 1})
    second = vt.finetune(store, "text", model="kinds", name="kinds", **FAST)
    assert second.base == "kinds"
    assert second.fingerprint != first.fingerprint
    assert second.history["epochs"][0]["loss"] < first.history["epochs"][0]["loss"]


def test_letters_can_be_lowered_and_texts_cut(store, model):
    options = {**FAST, "epochs": 1}
    vt.finetune(
        store, "text", model=str(model), name="low", lower_case=True, max_length=8, **options
    )
    folder = store.encoder_folder("low")
    encoder = load_text("low", folder)
    assert encoder.card.details["max_length"] == 8
    vectors = encoder.encode(["Кружка БЕЛАЯ", "кружка белая", "кружка синяя"])
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-6)
    assert not np.allclose(vectors[0], vectors[2], atol=1e-3)
    long = "белая " * 20
    np.testing.assert_allclose(*encoder.encode([long, f"{long} кружка"]), atol=1e-6)


@pytest.mark.parametrize("balance", ["none", "weights", "prior"])
@pytest.mark.slow
def test_every_option_trains(store, model, balance):
    report = vt.finetune(
        store,
        "text",
        model=str(model),
        balance=balance,
        word_dropout=0.1,
        layer_decay=0.8,
        patience=0,
        **{**FAST, "ema_decay": 0.9},
    )
    assert report.name == "text-tuned"
    assert report.validation.weighted_f1 > 0.95
    assert len(report.history["epochs"]) == 6


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"name": "lexical"}, EncoderError, "can't be named 'lexical'"),
        ({"name": "a/b"}, EncoderError, "can't be named 'a/b'"),
        ({"model": "lexical"}, EncoderError, "fitted, not trained"),
        ({"model": "thumbnail"}, EncoderError, "can't serve text"),
        ({"model": "nowhere"}, EncoderError, "names no text model"),
        ({"epochs": 0}, OptionError, "epochs must be at least 1, not 0"),
        ({"balance": "some"}, OptionError, "balance must be none, weights or prior, not 'some'"),
    ],
)
def test_what_cannot_be_is_one_clear_error(store, model, given, error, message):
    with pytest.raises(error, match=message):
        vt.finetune(store, "text", **{"model": str(model), **FAST, **given})
    assert not store.manifest.encoders


def test_a_store_without_categories_is_refused(model, tmp_path):
    catalogue = write_catalogue(tmp_path / "bare.csv", labelled=False)
    store = OpenStore.open(tmp_path / "bare", create=True)
    vt.embed(vt.open_batch(catalogue, store), store, text="lexical", image="none")
    with pytest.raises(TrainingError, match="no product with a category"):
        vt.finetune(store, "text", model=str(model))


def test_an_encoder_of_the_other_modality_is_refused(store, model):
    vt.finetune(store, "text", model=str(model), name="kinds", **{**FAST, "epochs": 1})
    with pytest.raises(EncoderError, match="kinds was trained for text; it can't serve image"):
        load_model(store, ModelRef.parse("kinds", Modality.IMAGE, store.manifest.encoders), None)


# -- the network ----------------------------------------------------------------------------------


@pytest.mark.parametrize("pooling", list(Pooling))
def test_training_sees_the_vectors_that_serving_gives(model, tmp_path, pooling):
    network = TrainableText(model, "bert", TextShape(pooling=pooling), seed=0)
    texts = [title for _, title, _ in products(20)]
    tokens = TokenLists.write([network.tokenize(texts)])
    network.begin(torch.float32, averaged=False)
    network.body.eval()
    with torch.no_grad():
        pooled = network.pooled(*tokens.padded(np.arange(20), network.pad)).numpy()
    network.finish()
    network.save(tmp_path)
    assert read_form(tmp_path, network.body.config, network._tokenizer) == network.form
    served = load_text(str(tmp_path)).encode(texts)
    np.testing.assert_allclose(
        served, pooled / np.linalg.norm(pooled, axis=1, keepdims=True), atol=2e-2
    )
    direct = load_text(str(tmp_path), compute="float32").encode(texts)
    np.testing.assert_allclose(
        direct, pooled / np.linalg.norm(pooled, axis=1, keepdims=True), atol=1e-5
    )


def test_token_lists_come_back_as_they_went_in():
    lists = [[1, 2, 3], [4], [], [5, 6]]
    tokens = TokenLists.write([lists[:2], lists[2:]])
    assert len(tokens) == 4
    assert tokens.lengths.tolist() == [3, 1, 0, 2]
    assert tokens.one_line(np.array([3, 0])).tolist() == [5, 6, 1, 2, 3]
    ids, there = tokens.padded(np.array([1, 0]), 9)
    assert ids.tolist() == [[4, 9, 9], [1, 2, 3]]
    assert there.tolist() == [[True, False, False], [True] * 3]
    assert len(TokenLists.write([])) == 0


def test_layers_learn_the_slower_the_deeper_they_lie(model):
    body = TrainableText(model, "bert", TextShape(), seed=0).body
    names = {id(one): name for name, one in body.named_parameters()}
    groups = by_depth(body, 0.5)
    factors = {names[id(one)]: group.factor for group in groups for one in group.parameters}
    assert factors["embeddings.position_embeddings.weight"] == 0.25
    assert factors["encoder.layer.0.output.dense.weight"] == 0.5
    assert factors["encoder.layer.1.output.dense.weight"] == 1.0
    decayed = {names[id(one)] for group in groups if group.decay for one in group.parameters}
    assert "encoder.layer.1.output.dense.weight" in decayed
    assert "encoder.layer.1.output.dense.bias" not in decayed
    assert not any("pooler" in name or "word_embeddings" in name for name in factors)
    assert len(factors) == sum(one.requires_grad for one in body.parameters())


def test_weights_that_no_text_uses_stay(store, model):
    before = load_text(str(model))
    vt.finetune(store, "text", model=str(model), name="kinds", **FAST)
    name = "embeddings.word_embeddings.weight"
    old = load_file(model / "model.safetensors")[name]
    new = load_file(store.encoder_folder("kinds") / "model.safetensors")[name]
    unused = [PIECES.index("[UNK]"), PIECES.index("[MASK]"), PIECES.index("[PAD]")]
    np.testing.assert_array_equal(new[unused], old[unused])
    assert not np.allclose(new[PIECES.index("кружка")], old[PIECES.index("кружка")], atol=1e-3)
    after = load_text("kinds", store.encoder_folder("kinds"))
    assert before.card.fingerprint != after.card.fingerprint
    # Hidden words are read as [MASK].
    vt.finetune(store, "text", model=str(model), name="hidden", word_dropout=0.15, **FAST)
    new = load_file(store.encoder_folder("hidden") / "model.safetensors")[name]
    stayed = np.isclose(new[unused], old[unused]).all(axis=1)
    assert stayed.tolist() == [True, False, True]


def test_in_bfloat16_an_encoder_learns_as_much(store, model, monkeypatch):
    monkeypatch.setattr(text_classes, "training_dtype", lambda *_, **__: torch.bfloat16)
    report = vt.finetune(store, "text", model=str(model), name="kinds", **FAST)
    assert report.validation.weighted_f1 > 0.95
    weights = load_file(store.encoder_folder("kinds") / "model.safetensors")
    assert {one.dtype for one in weights.values()} == {np.dtype(np.float32)}


def test_a_network_in_bfloat16_attends_in_float32_while_it_learns(model, monkeypatch):
    attended, before = [], torch.nn.functional.scaled_dot_product_attention

    def watched(query, *args, **options):
        attended.append(query.dtype)
        return before(query, *args, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    network = TrainableText(model, "bert", TextShape(), seed=0)
    texts = [title for _, title, _ in products(20)]
    padded = TokenLists.write([network.tokenize(texts)]).padded(np.arange(20), network.pad)
    network.begin_as_is()
    network.eval()
    with torch.no_grad():
        exact = network.pooled(*padded)
        network.begin(torch.bfloat16, averaged=False)
        rounded = network.pooled(*padded)
        network.finish()
        after = network.pooled(*padded)
    assert set(attended) == {torch.float32}
    cosines = torch.nn.functional.cosine_similarity(exact, rounded)
    assert 0.999 < cosines.min() < 1 - 1e-7
    torch.testing.assert_close(after, exact, rtol=1e-2, atol=1e-2)
    assert network.body.config._attn_implementation == "sdpa"


def test_parts_of_a_batch_add_up_to_the_whole(model, monkeypatch):
    monkeypatch.setattr(text_classes, "training_dtype", lambda *_, **__: torch.float32)
    rows = list(products(40))
    labels = np.array([kind for _, _, kind in rows])
    grads = []
    for budget in (10_000, 24):
        network = TrainableText(model, "bert", TextShape(), seed=0)
        network.budget = budget
        tokens = TokenLists.write([network.tokenize([title for _, title, _ in rows])])
        task = TextClasses(
            network=network,
            tokens=tokens,
            labels=labels,
            classes=4,
            rows=np.arange(40),
            held_out=np.arange(0),
            loss=ClassLoss.of(labels, 4, Balance.NONE),
            score_of=lambda true, predicted: 0.0,  # noqa: ARG005
            dropout=0.0,
        )
        torch.nn.init.normal_(task.head.weight, generator=torch.Generator().manual_seed(0))
        for module in network.body.modules():
            if isinstance(module, Dropout):
                module.p = 0.0
        task.optimiser(TrainingConfig(1, 40, 0.1), 1)
        parts = task.parts(np.arange(40), np.random.default_rng(0))
        leaves = [task.head.weight, network.table.rows]
        loss = sum(part.share * part.loss() for part in parts)
        grads.append((len(parts), *torch.autograd.grad(loss, leaves)))
    assert grads[0][0] == 1
    assert grads[1][0] > 5
    torch.testing.assert_close(grads[0][1], grads[1][1], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(grads[0][2], grads[1][2], rtol=1e-3, atol=1e-5)


# -- learning from what it guesses ----------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_from_products_without_a_category_too(store, model, tmp_path):
    further = write_catalogue(tmp_path / "further.csv", 300, seed=9, labelled=False)
    report = vt.finetune(
        store, "text", model=str(model), name="kinds", unlabelled=[further], **FAST
    )
    # Each text once, and none that a product with a category has: there are few different ones.
    known = {title for _, title, _ in products(400)}
    fresh = {title for _, title, _ in products(300, seed=9)} - known
    assert report.pseudo_labelled == len(fresh) > 0
    assert report.validation.weighted_f1 > 0.95
    alone = vt.finetune(store, "text", model=str(model), name="alone", **FAST)
    assert alone.pseudo_labelled == 0
    assert alone.fingerprint != report.fingerprint
    assert report.history["rows"] % (report.rows + report.pseudo_labelled) == 0
    again = vt.finetune(store, "text", model=str(model), name="again", unlabelled=[further], **FAST)
    assert again.fingerprint == report.fingerprint


def test_texts_that_have_a_category_are_not_guessed(store, tmp_path):
    codes = store.products.categories().codes.copy()
    codes[::3] = -1
    path = write_catalogue(tmp_path / "same.csv", labelled=False)
    tokens, rows = with_unlabelled(store, codes, [str(path)], lambda some: [[1]] * len(some))
    assert len(tokens) == 800
    titles = [title for _, title, _ in products(400)] * 2
    labelled = {title for title, code in zip(titles, codes, strict=False) if code >= 0}
    chosen = [titles[row] for row in rows]
    assert set(chosen) == set(titles) - labelled
    assert len(set(chosen)) == len(chosen)


@pytest.mark.parametrize(
    ("unlabelled", "epochs", "repeats"), [(10, 11, 1), (100, 6, 1), (400, 2, 3), (5_000, 2, 3)]
)
def test_the_second_training_hears_each_label_as_often_as_the_first(unlabelled, epochs, repeats):
    recipe, times = second(TrainingConfig(6, 32, 0.1), 100, unlabelled)
    assert (recipe.epochs, times) == (epochs, repeats)
    assert recipe.epochs * times >= 6


@pytest.mark.slow
def test_a_second_training_that_was_killed_does_not_repeat_the_first(
    store, model, monkeypatch, tmp_path
):
    further = write_catalogue(tmp_path / "further.csv", 300, seed=9, labelled=False)
    given = {"model": str(model), "unlabelled": [further], **FAST}
    whole = vt.finetune(store, "text", name="whole", **given)
    trained, before = [], TextClasses.optimiser

    def counted(self, *args):
        trained.append(self.pseudo_labels is not None)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return before(self, *args)

    monkeypatch.setattr(TextClasses, "optimiser", counted)
    with pytest.raises(KeyboardInterrupt):
        vt.finetune(store, "text", name="killed", **given)
    report = vt.finetune(store, "text", name="killed", **given)
    assert trained == [False, True, True]
    # The first training's time counts, whoever ran it.
    assert report.seconds > report.history["seconds"]
    assert report.fingerprint == whole.fingerprint
    assert list((tmp_path / "cache" / "training").iterdir()) == []


def test_a_guess_is_agreed_with_in_all_its_classes():
    torch.manual_seed(0)
    logits, labels = torch.randn(4, 6), torch.tensor([2, -1, 0, -1])
    probabilities = np.array([[0.5, 0.3], [0.9, 0.1]], dtype=np.float32)
    pseudo_labels = SoftTargets(np.array([-1, 0, -1, 1]), np.array([[1, 4], [5, 0]]), probabilities)
    loss = ClassLoss(0.1, None, None)
    found = loss.with_pseudo_labels(logits, labels, np.arange(4), pseudo_labels)
    sure = logits.log_softmax(dim=1)
    first = -(0.5 * sure[1, 1] + 0.3 * sure[1, 4] + 0.2 * sure[1].mean())
    other = -(0.9 * sure[3, 5] + 0.1 * sure[3, 0])
    told = torch.nn.functional.cross_entropy(
        logits[[0, 2]], labels[[0, 2]], reduction="sum", label_smoothing=0.1
    )
    torch.testing.assert_close(found, (told + first + other) / 4)
