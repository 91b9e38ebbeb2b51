"""Modules that a process loads only when it needs them."""

HEAVY = {
    "torch",
    "faiss",
    "transformers",
    "pandas",
    "open_clip",
    "timm",
    "sklearn",
    "pyarrow",
    "ray",
}
