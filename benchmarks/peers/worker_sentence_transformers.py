"""sentence-transformers, in an environment of its own, by each of its backends.

Options: model (a directory), backend (torch, onnx or openvino), precision (float32, bfloat16, or
int8 for a dynamically quantised ONNX file), batch (texts in one), work (a folder for that file).
"""

from __future__ import annotations

from pathlib import Path

import torch
from protocol import Loaded, serve
from sentence_transformers import SentenceTransformer


def load(options: dict) -> Loaded:
    torch.set_num_threads(options["threads"])
    backend, precision, batch = options["backend"], options["precision"], options["batch"]
    if backend == "onnx":
        model = onnx(options)
    elif backend == "openvino":
        held = {"ov_config": {"INFERENCE_NUM_THREADS": options["threads"]}}
        model = SentenceTransformer(
            options["model"], device="cpu", backend=backend, model_kwargs=held
        )
    elif precision == "bfloat16":
        model = lower(options["model"])
    else:
        model = SentenceTransformer(options["model"], device="cpu")

    def encode(texts: list[str]):
        return model.encode(
            texts, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )

    return Loaded(encode, f"{precision}, {backend}, batches of {batch}")


def lower(model: str) -> SentenceTransformer:
    """The model in bfloat16, by whichever name the installed transformers has for it."""
    try:
        return SentenceTransformer(model, device="cpu", model_kwargs={"dtype": torch.bfloat16})
    except TypeError:
        older = {"torch_dtype": torch.bfloat16}
        return SentenceTransformer(model, device="cpu", model_kwargs=older)


def onnx(options: dict) -> SentenceTransformer:
    """The model by ONNX Runtime, quantised where int8 is asked for."""
    import onnxruntime

    held = onnxruntime.SessionOptions()
    held.intra_op_num_threads = options["threads"]
    kwargs = {"provider": "CPUExecutionProvider", "session_options": held}
    model = SentenceTransformer(
        options["model"], device="cpu", backend="onnx", model_kwargs=dict(kwargs)
    )
    if options["precision"] != "int8":
        return model
    from sentence_transformers import export_dynamic_quantized_onnx_model

    folder = Path(options["work"]) / "onnx-int8"
    model.save_pretrained(str(folder))
    form = quantisation()
    export_dynamic_quantized_onnx_model(model, form, str(folder))
    kwargs["file_name"] = f"onnx/model_qint8_{form}.onnx"
    return SentenceTransformer(str(folder), device="cpu", backend="onnx", model_kwargs=kwargs)


def quantisation() -> str:
    """The quantisation that sentence-transformers has for this processor."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    if "avx512_vnni" in flags:
        return "avx512_vnni"
    if "avx512f" in flags:
        return "avx512"
    return "avx2" if "avx2" in flags else "arm64"


if __name__ == "__main__":
    serve(load)
