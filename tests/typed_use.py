"""Calls as users write them, which `mypy` checks (see pyproject.toml); nothing here is run."""

from pathlib import Path
from typing import assert_type

import vitrina as vt
from vitrina.audit.results import Audit
from vitrina.pipelines.benchmark.job import Benchmark
from vitrina.pipelines.common.vectors import Vectors
from vitrina.pipelines.embed.job import EmbedReport
from vitrina.pipelines.finetune.job import FinetuneReport
from vitrina.pipelines.index.batch_queries import QueriesReport
from vitrina.pipelines.index.neighbour_products import NeighbourTable
from vitrina.pipelines.index.neighbours import Index
from vitrina.pipelines.train.report import TrainReport
from vitrina.store.compact import CompactReport


def functions(catalogue: vt.Catalogue, store: vt.Store) -> None:
    assert_type(vt.Store.open(Path("shelf")), vt.Store)
    assert_type(vt.Store.create("s3://shops/shelf", exist_ok=True), vt.Store)
    assert_type(vt.embed(catalogue, "shelf", text="lexical"), EmbedReport)
    assert_type(vt.embed("a.parquet", store, images="b.zip", dtype="float32"), EmbedReport)
    assert_type(vt.train(Path("shelf"), "mlp", seed=3), TrainReport)
    assert_type(vt.train(store=store, options=vt.TrainOptions()), TrainReport)
    assert_type(vt.open_batch("a.parquet", store, complete=True), vt.Catalogue)
    assert_type(vt.neighbours_to(store, "a.parquet", "b.parquet", k=3), QueriesReport)
    assert_type(vt.benchmark("out", store="shelf", rows="cnn"), Benchmark)
    assert_type(vt.benchmark("out", ("a.parquet", catalogue)), Benchmark)
    assert_type(vt.vectors("shelf", "fused"), Vectors)
    assert_type(vt.embed([{"id": 1, "title": "mug"}], "shelf"), EmbedReport)
    vt.train(3)  # type: ignore[call-overload]
    vt.embed(store, catalogue)  # type: ignore[call-overload]
    vt.vectors(store, features=3)  # type: ignore[arg-type]


def methods(catalogue: vt.Catalogue, store: vt.Store) -> None:
    assert_type(store.embed(catalogue), EmbedReport)
    assert_type(store.embed("a.parquet", images="b.zip", text="lexical"), EmbedReport)
    assert_type(store.build_index("fused", recall=0.9), Index)
    assert_type(store.train("mlp", seed=3), TrainReport)
    assert_type(store.train(vt.TrainOptions(seed=3)), TrainReport)
    assert_type(store.finetune("image", epochs=3), FinetuneReport)
    assert_type(store.open_batch("a.parquet", images="none"), vt.Catalogue)
    assert_type(store.neighbours_to("a.parquet", "b.parquet", k=3), QueriesReport)
    assert_type(store.neighbours("red mug", k=3), NeighbourTable)
    assert_type(store.neighbours(product="1937", image=None), NeighbourTable)
    assert_type(store.audit("report.html"), Audit)
    assert_type(store.benchmark("out", rows="cnn"), Benchmark)
    assert_type(store.vectors("fused"), Vectors)
    assert_type(store.compact(keep=1), CompactReport)
    assert_type(store.export_decisions("a.csv", changed_only=True), int)
    store.embed(3)  # type: ignore[call-overload]
    store.compact(keep="all")  # type: ignore[arg-type]
    store.tarin()  # type: ignore[attr-defined]
