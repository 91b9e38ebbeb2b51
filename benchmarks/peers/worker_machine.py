"""What the machine itself gives: matrix products in each precision, and tokenizing alone.

Options: measure (float32, bfloat16, int8 or tokenizing), model (the directory of a tokenizer),
shape (rows, inner and columns of a product). One product is an item, whatever the input holds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch
from protocol import Loaded, serve

SECONDS = 0.7
"""About how long one measurement takes."""


def load(options: dict) -> Loaded:
    torch.set_num_threads(options["threads"])
    if options["measure"] == "tokenizing":
        return tokenizing(options["model"])
    made = product(options["measure"], *options["shape"])
    made()
    started = time.perf_counter()
    made()
    repeats = max(3, int(SECONDS / (time.perf_counter() - started)))

    def encode(items: list) -> None:
        for _ in items:
            made()

    return Loaded(encode, options["measure"], lambda _: [None] * repeats)


def product(precision: str, rows: int, inner: int, columns: int) -> Callable[[], object]:
    """A function that multiplies (rows, inner) by (inner, columns) once."""
    if precision == "int8":
        return product_int8(rows, inner, columns)
    dtype = getattr(torch, precision)
    left = torch.randn(rows, inner).to(dtype)
    right = torch.randn(columns, inner).to(dtype)

    def made():
        with torch.inference_mode():
            return torch.nn.functional.linear(left, right)

    return made


def product_int8(rows: int, inner: int, columns: int) -> Callable[[], object]:
    """The same of unsigned by signed bytes. Raises RuntimeError where it has no instruction."""
    # Without one oneDNN falls back to a loop that takes minutes, and so it does for int8 by int8.
    if not torch.cpu._is_vnni_supported():
        raise RuntimeError("this processor has no instruction for products of bytes (VNNI)")
    left = torch.randint(0, 255, (rows, inner), dtype=torch.uint8)
    right = torch.randint(-127, 127, (columns, inner), dtype=torch.int8)
    packed = torch.ops.onednn.qlinear_prepack(right, None)
    scales, zeros = torch.ones(columns), torch.zeros(columns, dtype=torch.int64)

    def made():
        with torch.inference_mode():
            return torch.ops.onednn.qlinear_pointwise(
                left, 1.0, 0, packed, scales, zeros, None, 1.0, 0, torch.float32, "none", [], ""
            )

    return made


def tokenizing(model: str) -> Loaded:
    """All texts at once, without padding, by the library that every contestant tokenizes with."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(Path(model) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()

    def encode(texts: list[str]) -> None:
        tokenizer.encode_batch_fast(texts)

    return Loaded(encode, "tokenizers")


if __name__ == "__main__":
    serve(load)
