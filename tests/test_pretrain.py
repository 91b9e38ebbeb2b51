"""Pre-training on a catalogue's text: what it learns from, what it leaves out, what follows."""

import csv
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from transformers import BertConfig, BertForMaskedLM

import vitrina as vt
from support.tuning import PIECES, products, write_catalogue, write_model, write_store
from vitrina.embedder.finetuning import mlm
from vitrina.embedder.finetuning.mlm import SAMPLED, MaskedWords
from vitrina.embedder.finetuning.text_network import TextShape, TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.errors import EncoderError, OptionError
from vitrina.pipelines.common.store_split import split_store
from vitrina.store.store import OpenStore
from vitrina.training import loop
from vitrina.training.config import TrainingConfig
from vitrina.types import SplitKind

pytestmark = pytest.mark.usefixtures("own_cache")

FAST = {"epochs": 4, "learning_rate": 1e-2, "batch_size": 32}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "bert")


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "shelf")


# -- the job --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_learns_which_words_go_together_and_finetune_goes_on(store, model):
    longer = {"epochs": 25, "learning_rate": 3e-3, "batch_size": 16}
    report = vt.pretrain(store, model=str(model), name="talk", **longer)
    # Blind guesses at 50 words: -3.9. Kinds have words of their own, so a text tells its others.
    assert report.before < -3.5
    assert report.likelihood[-1] > -3.0
    assert len(report.likelihood) == 25
    card = json.loads((store.encoder_folder("talk") / "encoder.json").read_text())
    # How long it took to write it, it can't tell.
    stages = card.pop("stages")
    told = json.loads(json.dumps(report.to_json()))
    assert stages.keys() <= told.pop("stages").keys()
    hub = {"base_model": None, "languages": ["ru"]}
    assert card == {**told, "dim": 24, "details": card["details"], "hub": hub}
    options = {"epochs": 1, "learning_rate": 2e-3, "ema_decay": 0.0, "batch_size": 32}
    plain = vt.finetune(store, "text", model=str(model), name="plain", **options)
    after = vt.finetune(store, "text", model="talk", name="after", **options)
    assert after.base == "talk"
    assert after.validation.weighted_f1 > plain.validation.weighted_f1


def test_texts_of_validation_products_are_left_out_wherever_they_stand(
    store, model, tmp_path, monkeypatch
):
    codes = store.products.categories().codes
    held = split_store(store.products, codes, SplitKind.GROUPED, 0).split.validation
    titles = [title for _, title, _ in products(400)]
    also = tmp_path / "also.csv"
    with also.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["product_id", "title"])
        # Some that are held out, one that the store has too, and two new ones that are the same.
        further = [*(titles[at] for at in held[:5]), titles[0], "ваза", "ваза"]
        for number, title in enumerate(further):
            writer.writerow([1000 + number, title])
    seen, before = [], MaskedWords.parts

    def watched(self, rows, rng):
        seen.extend(tuple(self.tokens.one_line(np.array([row]))) for row in rows)
        return before(self, rows, rng)

    monkeypatch.setattr(MaskedWords, "parts", watched)
    report = vt.pretrain(store, model=str(model), also=[also], **{**FAST, "epochs": 1})
    network = TrainableText(model, "bert", TextShape(), seed=0)
    out = {tuple(tokens) for tokens in network.tokenize([titles[at] for at in held])}
    learnt = {tuple(tokens) for tokens in network.tokenize([*titles, "ваза"])} - out
    assert set(seen) == learnt
    assert len(seen) == len(learnt) == report.texts
    assert report.tokens == sum(map(len, learnt))
    assert report.held_out == len(out)
    # Where no figure will be taken, everything may be learnt from.
    whole = vt.pretrain(store, model=str(model), split=None, **{**FAST, "epochs": 1})
    assert (whole.texts, whole.held_out) == (len(learnt | out) - 1, 0)


def test_products_without_categories_serve_too(model, tmp_path):
    store = OpenStore.open(tmp_path / "bare", create=True)
    catalogue = vt.open_batch(write_catalogue(tmp_path / "bare.csv", labelled=False), store)
    vt.embed(catalogue, store, text="lexical", image="none")
    report = vt.pretrain(store, model=str(model), **{**FAST, "epochs": 1})
    assert report.texts == len({title for _, title, _ in products(400)})
    assert report.held_out == 0


@pytest.mark.slow
def test_a_run_that_was_killed_goes_on_where_it_was(store, model, monkeypatch):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    options = {**FAST, "epochs": 2}
    whole = vt.pretrain(store, model=str(model), name="whole", **options)
    count, before = [], loop._step

    def counted(*args):
        count.append(1)
        if len(count) == 13:
            raise KeyboardInterrupt
        return before(*args)

    monkeypatch.setattr(loop, "_step", counted)
    with pytest.raises(KeyboardInterrupt):
        vt.pretrain(store, model=str(model), name="killed", **options)
    killed = vt.pretrain(store, model=str(model), name="killed", **options)
    assert killed.fingerprint == whole.fingerprint
    assert killed.likelihood == whole.likelihood


def test_pre_training_can_go_on_from_where_it_ended(store, model):
    first = vt.pretrain(store, model=str(model), name="talk", **FAST)
    second = vt.pretrain(store, model="talk", name="more", **{**FAST, "epochs": 1})
    # What guesses the words came along, so nothing is lost at the start.
    assert second.before == pytest.approx(first.likelihood[-1], abs=1e-3)


def test_what_cannot_be_is_one_clear_error(store, model, tmp_path):
    bare = write_model(tmp_path / "bare", mask=False)
    with pytest.raises(EncoderError, match="can't be pre-trained: its tokenizer has no mask token"):
        vt.pretrain(store, model=str(bare), **FAST)
    with pytest.raises(EncoderError, match="can't be named 'none'"):
        vt.pretrain(store, model=str(model), name="none", **FAST)
    with pytest.raises(OptionError, match="epochs must be at least 1, not 0"):
        vt.pretrain(store, model=str(model), **{**FAST, "epochs": 0})
    with pytest.raises(vt.VitrinaError, match=r"nowhere\.csv"):
        vt.pretrain(store, model=str(model), also=[tmp_path / "nowhere.csv"], **FAST)
    assert not store.manifest.encoders


# -- hiding and guessing --------------------------------------------------------------------------


def task_of(model, texts):
    network = TrainableText(model, "bert", TextShape(), seed=0)
    tokens = TokenLists.write([network.tokenize(texts)])
    task = MaskedWords(network, tokens, np.arange(len(texts)), np.arange(0))
    task.optimiser(TrainingConfig(1, 8, 0.1), 1)
    return task


def test_a_share_of_the_words_is_hidden_and_never_the_frame(model):
    task = task_of(model, [title for _, title, _ in products(400)])
    counts = np.zeros(4)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        shown, there, hidden, words = task._hide(np.arange(400), rng)
        real, _ = task.tokens.padded(np.arange(400), 0)
        assert not (hidden & ~there).any()
        assert (real[hidden] == words).all()
        assert (shown[~hidden] == real[~hidden]).all()
        assert (words >= 5).all()
        assert hidden.any(dim=1).all()
        now = shown[hidden]
        mask = PIECES.index("[MASK]")
        counts += [
            len(words),
            (now == mask).sum(),
            (now == words).sum(),
            (there & (real > 4)).sum(),
        ]
    hidden, masked, kept, free = counts
    # Of short texts one word is hidden in any case, which adds to the 15%.
    assert 0.15 < hidden / free < 0.28
    assert masked / hidden == pytest.approx(0.8, abs=0.02)
    assert kept / hidden == pytest.approx(0.1, abs=0.02)


def test_the_sampled_loss_is_the_full_one_on_average(model):
    task = task_of(model, [title for _, title, _ in products(400)])
    torch.manual_seed(0)
    vectors, words = torch.randn(30, 24), torch.from_numpy(task._words[np.arange(30) % 50])
    table = task.network.table
    table.weight = torch.randn(len(PIECES), 24) * 0.3
    full = vectors @ table.weight[torch.from_numpy(task._words)].T
    place = {int(word): at for at, word in enumerate(task._words)}
    target = torch.tensor([place[int(word)] for word in words])
    expected = torch.nn.functional.cross_entropy(full, target)
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        drawn = np.searchsorted(task._cumulated, rng.random(SAMPLED), side="right")
        others = torch.from_numpy(task._words[np.minimum(drawn, len(task._words) - 1)])
        table.open(torch.cat([words, others]))
        found.append(task._sampled_loss(vectors, words, others).item())
    assert np.mean(found) == pytest.approx(expected.item(), rel=0.05)


def test_berts_own_guesser_is_taken_over(tmp_path, monkeypatch):
    monkeypatch.setattr(mlm, "training_dtype", lambda *_, **__: torch.float32)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(PIECES),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
    )
    folder = write_model(tmp_path / "mlm", layers=1)
    own = BertForMaskedLM(config)
    torch.nn.init.normal_(own.cls.predictions.bias)
    own.save_pretrained(folder)
    task = task_of(folder, [title for _, title, _ in products(20)])
    task.guesser.load_beside(folder, from_scratch=False)
    assert "cls.predictions.transform.dense.weight" in load_file(folder / "model.safetensors")
    own.eval()
    task.network.body.eval()
    ids, there = task.tokens.padded(np.arange(20), 0)
    with torch.no_grad():
        theirs = own(input_ids=ids, attention_mask=there.long()).logits[there]
        vectors = task._vectors(ids, there, there)
        ours = vectors @ task.network.table.weight.T + task.guesser.bias
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
