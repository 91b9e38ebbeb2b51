"""Packed sequences through a stack give what the libraries' own models give, in any numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba
import numpy as np
import open_clip.transformer as towers
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as fn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from vitrina.embedder.inference import kernels, plain
from vitrina.embedder.inference.bert import PackedBert, pool_packed, read_bert
from vitrina.embedder.inference.int8 import Int8Linear, Int8Runner, has_int8, quantised
from vitrina.embedder.inference.plain import PlainRunner
from vitrina.embedder.inference.stack import Linear, Packing
from vitrina.embedder.inference.vit import PatchedVit, read_vit
from vitrina.types import Pooling

CPU = torch.device("cpu")
TEXTS = [[2, 9, 8, 7, 6, 5, 3], [2, 5, 6, 3], [2, 7, 7, 3], [2, 3], [2]]
BYTES = pytest.mark.skipif(not has_int8(), reason="this CPU does not multiply bytes")


def bert(kind: str = "bert", **changes: object) -> BertModel | RobertaModel:
    settings = {
        "vocab_size": 20,
        "hidden_size": 36,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 50,
        "max_position_embeddings": 16,
        **changes,
    }
    torch.manual_seed(0)
    if kind == "roberta":
        model = RobertaModel(RobertaConfig(**settings, pad_token_id=1))
    else:
        model = BertModel(BertConfig(**settings))
    # As if it had been trained: norms that scale, biases that shift.
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "LayerNorm" in name:
            nn.init.normal_(weight, 0.3, 0.5)
    return model.eval()


def by_hand(model: BertModel, tokens: Sequence[Sequence[int]], pooling: Pooling) -> torch.Tensor:
    """Each text alone, without padding, through the model's own code."""
    pooled = []
    for line in tokens:
        with torch.inference_mode():
            hidden = model(input_ids=torch.tensor([line])).last_hidden_state[0]
        if pooling is Pooling.CLS:
            pooled.append(hidden[0])
        elif pooling is Pooling.MAX:
            pooled.append(hidden.amax(dim=0))
        elif pooling is Pooling.LAST_TOKEN:
            pooled.append(hidden[-1])
        elif pooling is Pooling.WEIGHTED_MEAN:
            places = torch.arange(1.0, len(line) + 1)
            pooled.append(places @ hidden / places.sum())
        elif pooling is Pooling.CLS_MEAN:
            pooled.append(torch.cat([hidden[0], hidden.mean(dim=0)]))
        else:
            root = math.sqrt if pooling is Pooling.MEAN_SQRT_LEN else float
            pooled.append(hidden.sum(dim=0) / root(len(line)))
    return torch.stack(pooled)


def cosines(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    return fn.cosine_similarity(left.double(), right.double())


@pytest.mark.parametrize("pooling", list(Pooling))
@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_packed_texts_give_the_models_own_vectors(kind: str, pooling: Pooling) -> None:
    model = bert(kind)
    read = read_bert(model)
    assert read is not None
    packed = PackedBert(read, PlainRunner(read.stack, CPU, torch.float32), pooling, CPU)
    with torch.inference_mode():
        got = packed.pooled(TEXTS)
    torch.testing.assert_close(got, by_hand(model, TEXTS, pooling), atol=1e-5, rtol=1e-4)


@BYTES
@pytest.mark.parametrize("pooling", [Pooling.CLS, Pooling.MEAN])
def test_bytes_stay_near_the_models_own_vectors(pooling: Pooling) -> None:
    model = bert()
    read = read_bert(model)
    assert read is not None
    packed = PackedBert(read, Int8Runner(read.stack), pooling, CPU)
    with torch.inference_mode():
        got = packed.pooled(TEXTS)
        alone = torch.cat([packed.pooled([line]) for line in TEXTS])
    assert cosines(got, by_hand(model, TEXTS, pooling)).min() > 0.995
    # Each token has a range of its own, so nothing depends on what else is in the batch.
    torch.testing.assert_close(got, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "change", [{"hidden_act": "relu"}, {"is_decoder": True}], ids=lambda one: next(iter(one))
)
def test_a_model_built_otherwise_is_not_read(change: dict[str, object]) -> None:
    assert read_bert(bert(**change)) is None
    assert read_bert(nn.Linear(2, 2)) is None


@pytest.mark.parametrize("pooling", list(Pooling))
def test_pooling_of_packed_tokens(pooling: Pooling) -> None:
    tokens = torch.tensor([[1.0, 5.0], [3.0, 1.0], [7.0, 7.0]])
    expected = {
        Pooling.CLS: [[1, 5], [7, 7]],
        Pooling.MAX: [[3, 5], [7, 7]],
        Pooling.MEAN: [[2, 3], [7, 7]],
        Pooling.MEAN_SQRT_LEN: [[4 / 2**0.5, 6 / 2**0.5], [7, 7]],
        Pooling.WEIGHTED_MEAN: [[7 / 3, 7 / 3], [7, 7]],
        Pooling.LAST_TOKEN: [[3, 1], [7, 7]],
        Pooling.CLS_MEAN: [[1, 5, 2, 3], [7, 7, 7, 7]],
    }
    got = pool_packed(tokens, Packing.of([2, 1]), pooling)
    torch.testing.assert_close(got, torch.tensor(expected[pooling], dtype=torch.float32))


def test_a_packing_knows_its_runs() -> None:
    packing = Packing.of([4, 4, 3, 4, 1])
    assert packing.runs == [(2, 4), (1, 3), (1, 4), (1, 1)]
    assert packing.starts.tolist() == [0, 4, 8, 11, 15]


def test_heads_padded_with_zeros_change_nothing() -> None:
    model = bert()
    read = read_bert(model)
    assert read is not None
    wider = read.stack.padded(8)
    assert wider.blocks[0].qkv.weight.shape == (3 * 3 * 16, 36)
    assert wider.blocks[0].out.weight.shape == (36, 3 * 16)
    assert read.stack.padded(12) is read.stack
    packed = PackedBert(read, PlainRunner(wider, CPU, torch.float32), Pooling.MEAN, CPU)
    with torch.inference_mode():
        got = packed.pooled(TEXTS)
    torch.testing.assert_close(got, by_hand(model, TEXTS, Pooling.MEAN), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("pooling", [Pooling.CLS, Pooling.MEAN])
def test_a_gpus_flash_attention_is_called_as_it_wants(
    monkeypatch: pytest.MonkeyPatch, pooling: Pooling
) -> None:
    """Its call is checked here against the same attention in plain words; no GPU is needed."""
    import torch.nn.attention.varlen as varlen

    def reference(
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        bounds: torch.Tensor,
        bounds_too: torch.Tensor,
        longest: int,
        longest_too: int,
        *,
        scale: float,
    ) -> torch.Tensor:
        assert bounds.dtype == torch.int32
        assert bounds.tolist() == bounds_too.tolist()
        assert longest == longest_too == int(bounds.diff().max())
        assert query.shape[2] % 8 == 0
        parts = []
        for start, end in zip(bounds.tolist(), bounds.tolist()[1:], strict=False):
            mixed = [one[start:end].transpose(0, 1) for one in (query, key, value)]
            parts.append(fn.scaled_dot_product_attention(*mixed, scale=scale).transpose(0, 1))
        return torch.cat(parts)

    monkeypatch.setattr(varlen, "varlen_attn", reference)
    model = bert()
    read = read_bert(model)
    assert read is not None
    runner = PlainRunner(read.stack.padded(plain.FLASH_WIDTH), CPU, torch.float32)
    runner._flash = True
    with torch.inference_mode():
        got = PackedBert(read, runner, pooling, CPU).pooled(TEXTS)
    torch.testing.assert_close(got, by_hand(model, TEXTS, pooling), atol=1e-5, rtol=1e-4)


MEAN, DEVIATION = np.array([0.48, 0.46, 0.41]), np.array([0.27, 0.26, 0.28])


def tower(*, quick: bool = True, **changes: object) -> towers.VisionTransformer:
    torch.manual_seed(0)
    settings = {
        "image_size": 24,
        "patch_size": 8,
        "width": 48,
        "layers": 3,
        "heads": 4,
        "mlp_ratio": 2.0,
        "output_dim": 20,
        "act_layer": towers.QuickGELU if quick else nn.GELU,
        **changes,
    }
    return towers.VisionTransformer(**settings).eval()


def pictures(count: int = 5) -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (count, 24, 24, 3), dtype=np.uint8))


def through_tower(model: towers.VisionTransformer, images: torch.Tensor) -> torch.Tensor:
    scaled = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(DEVIATION)
    with torch.inference_mode():
        return model(scaled.permute(0, 3, 1, 2).float())


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("norm_last", [True, False])
def test_a_tower_gives_its_own_vectors(quick: bool, norm_last: bool) -> None:
    model = tower(quick=quick, final_ln_after_pool=norm_last)
    read = read_vit(model, MEAN, DEVIATION)
    assert read is not None
    runner = PlainRunner(read.stack, CPU, torch.float32)
    vit = PatchedVit(read, runner, CPU, exact_patches=True)
    with torch.inference_mode():
        got = vit.pooled(pictures())
    torch.testing.assert_close(got, through_tower(model, pictures()), atol=1e-5, rtol=1e-4)


@BYTES
@pytest.mark.parametrize("quick", [True, False])
def test_a_tower_in_bytes_stays_near_its_own_vectors(quick: bool) -> None:
    model = tower(quick=quick)
    read = read_vit(model, MEAN, DEVIATION)
    assert read is not None
    vit = PatchedVit(read, Int8Runner(read.stack), CPU, exact_patches=False)
    with torch.inference_mode():
        got = vit.pooled(pictures())
    assert cosines(got, through_tower(model, pictures())).min() > 0.995


@pytest.mark.parametrize(
    "change",
    [
        {"pool_type": "avg"},
        {"attentional_pool": True, "attn_pooler_heads": 4},
        {"ls_init_value": 0.1},
        {"no_ln_pre": True},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_tower_built_otherwise_is_not_read(change: dict[str, object]) -> None:
    assert read_vit(tower(**change), MEAN, DEVIATION) is None


ROWS = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32), min_size=width, max_size=width),
        min_size=1,
        max_size=6,
    )
)


@given(ROWS)
@settings(deadline=None)
def test_a_quantised_row_is_within_half_a_step(rows: list[list[float]]) -> None:
    given_rows = np.array(rows, dtype=np.float32)
    numbers = quantised(given_rows)
    step, low = numbers.scales[:, :1], numbers.scales[:, 1:]
    restored = numbers.numbers * step.astype(np.float64) + low
    np.testing.assert_allclose(low[:, 0], given_rows.min(axis=1))
    assert (np.abs(restored - given_rows) <= 0.5001 * step + 1e-6 * np.abs(given_rows)).all()


@BYTES
def test_a_layer_of_bytes_gives_the_exact_product_of_what_it_holds() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(1, 2, (131, 40)).astype(np.float32)
    layer = Linear(torch.randn(30, 40), torch.randn(30))
    bytes_layer = Int8Linear(layer)
    numbers = quantised(rows)
    got = bytes_layer.outputs(numbers)
    held = numbers.numbers * numbers.scales[:, :1].astype(np.float64) + numbers.scales[:, 1:]
    steps = layer.weight.abs().amax(dim=1, keepdim=True) / 127
    weights = ((layer.weight / steps).round() * steps).double().numpy()
    np.testing.assert_allclose(got, held @ weights.T + layer.bias.numpy(), atol=2e-3, rtol=1e-4)
    exact = rows @ layer.weight.numpy().T + layer.bias.numpy()
    assert np.abs(got - exact).max() < 0.02 * np.abs(exact).max()


@pytest.mark.parametrize("name", ["gelu", "quick_gelu"])
def test_activations_are_within_what_a_byte_can_tell(name: str) -> None:
    raw = np.linspace(-12, 12, 4001, dtype=np.float32).reshape(1, -1)
    values = torch.from_numpy(raw.copy())
    expected = fn.gelu(values) if name == "gelu" else values * torch.sigmoid(1.702 * values)
    width = raw.shape[1]
    identity = np.array([[1, 0]], dtype=np.float32)
    nothing = np.zeros(width, dtype=np.float32)
    numbers, scales = np.empty((1, width), np.uint8), np.empty((1, 2), np.float32)
    kernel = getattr(kernels, f"{name}_quantise")
    kernel(raw, identity, nothing, nothing, numbers, scales)
    # The row itself now holds the activation, unquantised.
    np.testing.assert_allclose(raw, expected.numpy(), atol=2e-5, rtol=2e-5)
    restored = numbers * scales[0, 0] + scales[0, 1]
    assert np.abs(restored - expected.numpy()).max() <= 0.51 * scales[0, 0]


def test_norms_are_layer_norms() -> None:
    rng = np.random.default_rng(0)
    rows, weight, bias = (rng.normal(1, 3, shape).astype(np.float32) for shape in ((7, 33), 33, 33))
    expected = fn.layer_norm(
        torch.from_numpy(rows), (33,), torch.from_numpy(weight), torch.from_numpy(bias), 1e-5
    ).numpy()
    numbers, scales = np.empty((7, 33), np.uint8), np.empty((7, 2), np.float32)
    kernels.norm_quantise(rows, weight, bias, np.float32(1e-5), numbers, scales)
    restored = numbers * scales[:, :1] + scales[:, 1:]
    assert np.abs(restored - expected).max() <= 0.51 * scales[:, 0].max()
    kernels.norm(rows, weight, bias, np.float32(1e-5))
    np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_kernels_do_without_a_place_to_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    njit = numba.njit

    def nowhere(*, cache: bool = False, **options: object) -> object:
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", nowhere)

    @kernels.compiled
    def double(rows: np.ndarray) -> None:
        for at in range(len(rows)):
            rows[at] *= 2

    rows = np.array([1.0, 3.0])
    double(rows)
    assert rows.tolist() == [2.0, 6.0]
