"""Forms of text models as ONNX graphs, each written from the weights of a tiny BERT.

The graphs are built with `onnx` alone, as optimum's exporter would write them: torch's exporter
needs more packages than these tests are worth.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel

from support.encoder_forms import EncoderForm
from support.tuning import write_model
from vitrina.types import Modality

NEEDS = ("onnx", "onnxruntime")
LIBRARY = "sentence-transformers"


class GraphOf:
    """An ONNX graph of a BertModel.

    graph: of it, with the inputs `input_ids`, `attention_mask` and `token_type_ids`. pooled:
    whether the graph averages the tokens of a text.
    """

    def __init__(self, network: Any, *, pooled: bool = False) -> None:
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._count = 0
        self._dim, self._heads = network.config.hidden_size, network.config.num_attention_heads
        self._eps = network.config.layer_norm_eps
        self._state = {name: one.numpy() for name, one in network.state_dict().items()}
        hidden = self._embedded()
        for layer in range(network.config.num_hidden_layers):
            hidden = self._block(f"encoder.layer.{layer}", hidden)
        name, shape = "last_hidden_state", ["batch", "tokens", self._dim]
        if pooled:
            hidden = self._mean(hidden)
            name, shape = "sentence_embedding", ["batch", self._dim]
        self._nodes[-1].output[0] = name
        self.model = self._model(name, shape)

    def _model(self, name: str, shape: list[Any]) -> Any:
        from onnx import TensorProto, helper

        inputs = [
            helper.make_tensor_value_info(one, TensorProto.INT64, ["batch", "tokens"])
            for one in ("input_ids", "attention_mask", "token_type_ids")
        ]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self._nodes, "bert", inputs, [output], self._weights)
        opset = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opset, ir_version=8)

    def _op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        self._count += 1
        self._nodes.append(helper.make_node(kind, inputs, [f"v{self._count}"], **attributes))
        return f"v{self._count}"

    def _constant(self, value: Any) -> str:
        from onnx import numpy_helper

        self._count += 1
        self._weights.append(numpy_helper.from_array(np.asarray(value), f"w{self._count}"))
        return f"w{self._count}"

    def _float(self, value: float) -> str:
        return self._constant(np.float32(value))

    def _integers(self, *values: int) -> str:
        return self._constant(np.array(values, np.int64))

    def _norm(self, name: str, value: str) -> str:
        scale, bias = (self._constant(self._state[f"{name}.{one}"]) for one in ("weight", "bias"))
        return self._op("LayerNormalization", value, scale, bias, epsilon=self._eps)

    def _linear(self, name: str, value: str) -> str:
        weight = self._constant(np.ascontiguousarray(self._state[f"{name}.weight"].T))
        product = self._op("MatMul", value, weight)
        return self._op("Add", product, self._constant(self._state[f"{name}.bias"]))

    def _embedded(self) -> str:
        table = "embeddings.{}_embeddings.weight"
        words = self._constant(self._state[table.format("word")])
        kinds = self._constant(self._state[table.format("token_type")])
        places = self._constant(self._state[table.format("position")])
        length = self._op("Gather", self._op("Shape", "input_ids"), self._constant(np.int64(1)))
        numbers = [self._constant(np.int64(one)) for one in (0, 1)]
        at = self._op("Range", numbers[0], length, numbers[1])
        both = self._op(
            "Add", self._op("Gather", words, "input_ids"), self._op("Gather", places, at)
        )
        total = self._op("Add", both, self._op("Gather", kinds, "token_type_ids"))
        mask = self._op("Cast", "attention_mask", to=1)
        hidden = self._op("Sub", self._float(1), mask)
        large = self._op("Mul", hidden, self._float(-1e9))
        self._mask = self._op("Unsqueeze", large, self._integers(1, 2))
        return self._norm("embeddings.LayerNorm", total)

    def _by_heads(self, name: str, value: str, order: list[int]) -> str:
        shape = self._integers(0, 0, self._heads, self._dim // self._heads)
        split = self._op("Reshape", self._linear(name, value), shape)
        return self._op("Transpose", split, perm=order)

    def _block(self, name: str, value: str) -> str:
        own = f"{name}.attention.self"
        query = self._by_heads(f"{own}.query", value, [0, 2, 1, 3])
        key = self._by_heads(f"{own}.key", value, [0, 2, 3, 1])
        scale = self._float((self._dim // self._heads) ** -0.5)
        scores = self._op("Mul", self._op("MatMul", query, key), scale)
        shares = self._op("Softmax", self._op("Add", scores, self._mask), axis=-1)
        values = self._by_heads(f"{own}.value", value, [0, 2, 1, 3])
        mixed = self._op("Transpose", self._op("MatMul", shares, values), perm=[0, 2, 1, 3])
        joined = self._op("Reshape", mixed, self._integers(0, 0, self._dim))
        out = self._linear(f"{name}.attention.output.dense", joined)
        value = self._norm(f"{name}.attention.output.LayerNorm", self._op("Add", out, value))
        inner = self._linear(f"{name}.intermediate.dense", value)
        erf = self._op("Erf", self._op("Mul", inner, self._float(0.5**0.5)))
        curve = self._op("Mul", inner, self._op("Add", erf, self._float(1)))
        inner = self._op("Mul", curve, self._float(0.5))
        out = self._linear(f"{name}.output.dense", inner)
        return self._norm(f"{name}.output.LayerNorm", self._op("Add", out, value))

    def _mean(self, hidden: str) -> str:
        mask = self._op("Cast", "attention_mask", to=1)
        weights = self._op("Unsqueeze", mask, self._integers(2))
        chosen = self._op("Mul", hidden, weights)
        one = self._integers(1)
        total = self._op("ReduceSum", chosen, one, keepdims=0)
        return self._op("Div", total, self._op("ReduceSum", weights, one, keepdims=0))


def write_onnx(folder: Path, *, place: str = "onnx/model.onnx", pooled: bool = False) -> Path:
    """A tiny BERT in `folder/model` whose only weights are an ONNX graph, and the same with its
    weights in `folder/whole`."""
    import onnx

    whole, made = folder / "whole", folder / "model"
    write_model(whole)
    # Larger weights than transformers' make vectors that differ.
    network = AutoModel.from_pretrained(whole, local_files_only=True).eval()
    with torch.no_grad():
        for one in network.parameters():
            one.mul_(4) if one.ndim > 1 else one.add_(0.1 * torch.randn_like(one))
    network.save_pretrained(whole)
    made.mkdir()
    for path in whole.iterdir():
        if path.suffix != ".safetensors":
            (made / path.name).write_bytes(path.read_bytes())
    path = made / place
    path.parent.mkdir(exist_ok=True)
    onnx.save(GraphOf(network, pooled=pooled).model, path)
    return made


def _with_data(folder: Path) -> Path:
    import onnx

    made = write_onnx(folder)
    path = made / "onnx" / "model.onnx"
    graph = onnx.load(path)
    path.unlink()
    onnx.save(
        graph, path, save_as_external_data=True, location="model.onnx_data", size_threshold=1024
    )
    return made


def _beside_pickle(folder: Path) -> Path:
    made = write_onnx(folder)
    (made / "pytorch_model.bin").write_bytes(b"never read")
    return made


def _decoder(folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    made = write_onnx(folder)
    path = made / "onnx" / "model.onnx"
    graph = onnx.load(path)
    past = helper.make_tensor_value_info("past_key_values.0.key", TensorProto.FLOAT, ["batch"])
    graph.graph.input.append(past)
    onnx.save(graph, path)
    return made


def _by_sentence_transformers(folder: Path, texts: list[Any]) -> Any:
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(str(folder.parent / "whole"), device="cpu", local_files_only=True)
    return network.encode(texts, normalize_embeddings=True)


def _form(name: str, make: Callable[[Path], Path], refused: str | None = None) -> EncoderForm:
    reference = None if refused else _by_sentence_transformers
    return EncoderForm(name, Modality.TEXT, LIBRARY, make, reference, refused, NEEDS)


FORMS: tuple[EncoderForm, ...] = (
    _form("ONNX: onnx/model.onnx", write_onnx),
    _form("ONNX: model.onnx", lambda folder: write_onnx(folder, place="model.onnx")),
    _form("ONNX: beside pytorch_model.bin", _beside_pickle),
    _form("ONNX: weights in model.onnx_data", _with_data),
    _form("ONNX: pools by itself", lambda folder: write_onnx(folder, pooled=True)),
    _form("ONNX: a decoder with a cache", _decoder, refused="graphs of encoders"),
)
