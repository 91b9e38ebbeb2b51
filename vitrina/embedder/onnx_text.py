"""Text models as ONNX graphs, run by onnxruntime on the CPU.

For directories that have no weights in safetensors. Vitrina's own way is faster, runs in bfloat16
and int8, and can be trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vitrina.embedder.onnx_graph import check_graph
from vitrina.errors import EncoderError
from vitrina.optional import needed_for
from vitrina.store.damage import reason_of

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOKENS = ("last_hidden_state", "token_embeddings")
"""Names of an output with a vector for each token; else the first of three dimensions is taken."""
_INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")


class OnnxNetwork(torch.nn.Module):
    """A graph with the interface of a text model of transformers.

    Its state is a hash of its files, so that they enter the fingerprint. It runs in the caller's
    thread, since batches run side by side.
    """

    def __init__(self, path: Path, folder: Path, config: Any) -> None:
        """path: of the graph. folder: the model's. config: the model's, of transformers.

        Raises EncoderError for a graph that is unsafe or makes no vectors of tokens,
        MissingPackageError without onnxruntime.
        """
        super().__init__()
        digest = bytearray.fromhex(check_graph(path, folder))
        self.register_buffer("graph", torch.frombuffer(digest, dtype=torch.uint8).clone())
        self.config = config
        self._path = path
        with needed_for(f"the ONNX model {path}"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as err:
            raise EncoderError(f"{path} does not load in onnxruntime: {reason_of(err)}") from err
        self._inputs = {one.name: one.type for one in self._session.get_inputs()}
        odd = [name for name, kind in self._inputs.items() if kind not in _INTEGERS]
        if set(self._inputs) - set(INPUTS) or "input_ids" not in self._inputs or odd:
            raise EncoderError(
                f"{path} wants the inputs {', '.join(self._inputs)[:200]}; Vitrina runs graphs of "
                f"encoders, which want {', '.join(INPUTS)}"
            )
        self._output = _output(path, self._session.get_outputs())
        self.pooled = len(self._output.shape or ()) == 2

    def get_input_embeddings(self) -> Any:
        """A table with as many rows as the configuration has tokens, as transformers' models."""
        return SimpleNamespace(weight=torch.empty(int(self.config.vocab_size), 0))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
        """Tokens (n, length) and their mask to `last_hidden_state` (n, length, dim) float32.

        Of a graph that pools by itself, every token has the text's vector, so that any pooling
        keeps it. Raises EncoderError if the graph fails, or its vectors have another dimension than
        the configuration says.
        """
        given = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": torch.zeros_like(input_ids),
        }
        feed = {
            name: given[name].cpu().numpy().astype(_INTEGERS[kind], copy=False)
            for name, kind in self._inputs.items()
        }
        try:
            (array,) = self._session.run([self._output.name], feed)
        except Exception as err:
            raise EncoderError(f"{self._path} can't be run: {reason_of(err)}") from err
        hidden = torch.from_numpy(np.asarray(array, dtype=np.float32))
        rows, length = input_ids.shape
        if self.pooled and hidden.ndim == 2:
            hidden = hidden.unsqueeze(1).expand(-1, length, -1)
        if hidden.shape != (rows, length, self.config.hidden_size):
            raise EncoderError(
                f"{self._path} gives vectors of the shape {list(hidden.shape)}, where its "
                f"config.json says {[rows, length, self.config.hidden_size]}"
            )
        return SimpleNamespace(last_hidden_state=hidden.to(input_ids.device))


def _output(path: Path, outputs: Sequence[Any]) -> Any:
    """The output with a vector for each token, or else one with a vector for each text."""
    floats = [one for one in outputs if one.type in _FLOATS]
    tokens = [one for one in floats if len(one.shape or ()) == 3]
    named = [one for one in tokens if one.name in TOKENS]
    texts = [one for one in floats if len(one.shape or ()) == 2]
    # A pooler's output is no vector of a text.
    texts = [one for one in texts if one.name != "pooler_output"]
    found = named or tokens or texts
    if not found:
        raise EncoderError(
            f"{path} has the outputs {', '.join(one.name for one in outputs)[:200]}, none with "
            "vectors of tokens or texts"
        )
    return found[0]
