"""An ONNX graph is run as its directory says, and a hostile one is refused by a line."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest

from support.encoder_table import TEXTS
from support.named_models import load_text
from support.onnx_forms import write_onnx
from vitrina.embedder.onnx_graph import GRAPHS, check_graph, graph_of
from vitrina.embedder.text import load_parts
from vitrina.errors import EncoderError, MissingPackageError
from vitrina.types import Compute

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

Change = Callable[[Any], None]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(tmp_path_factory.mktemp("onnx"))


@pytest.fixture
def model(written: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may change."""
    return Path(shutil.copytree(written, tmp_path / "model"))


def changed(model: Path, change: Change) -> Path:
    path = model / "onnx" / "model.onnx"
    graph = onnx.load(path)
    change(graph)
    path.write_bytes(graph.SerializeToString())
    return path


def test_the_first_graph_of_the_list_is_taken(tmp_path: Path) -> None:
    assert graph_of(tmp_path) is None
    (tmp_path / "onnx").mkdir()
    for name in reversed(GRAPHS):
        (tmp_path / name).write_bytes(b"")
        assert graph_of(tmp_path) == tmp_path / name
    assert GRAPHS[:2] == ("onnx/model.onnx", "model.onnx")
    # Vitrina's own way is preferred.
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert graph_of(tmp_path) is None


def test_a_hubs_graph_is_fetched_where_there_are_no_weights(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(repository: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((repository, revision))
        folder = tmp_path / "0a1b"
        for path in written.rglob("*"):
            name = path.relative_to(written)
            if path.is_file() and any(fnmatch(str(name), one) for one in allow_patterns):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, folder / name)
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    vectors = load_text("hf:shop/tiny").encode(TEXTS)
    assert asked == [("shop/tiny", None), ("shop/tiny", "0a1b")]
    np.testing.assert_array_equal(vectors, load_text(str(written)).encode(TEXTS))


def test_the_graph_enters_the_fingerprint(model: Path, written: Path) -> None:
    def nudge(graph: Any) -> None:
        weight = graph.graph.initializer[0]
        weight.raw_data = weight.raw_data[:-4] + np.float32(0.5).tobytes()

    before = load_text(str(written)).card
    assert load_text(str(model)).card.fingerprint == before.fingerprint
    assert before.details["compute"] == "float32"
    changed(model, nudge)
    assert load_text(str(model)).card.fingerprint != before.fingerprint


def test_it_runs_in_float32_alone(model: Path) -> None:
    with pytest.raises(EncoderError, match="can't be run in int8 on this machine, only in float32"):
        load_text(str(model), compute=Compute.INT8)


def test_a_quantised_graph_runs_as_it_is(written: Path, model: Path) -> None:
    from onnxruntime.quantization import quantize_dynamic

    path = model / "onnx" / "model.onnx"
    quantize_dynamic(path, model / "onnx" / "model_quantized.onnx")
    path.unlink()
    exact, own = (load_text(str(one)).encode(TEXTS) for one in (written, model))
    assert 0.9 < float(np.sum(exact * own, axis=1).min()) < 1


def test_it_is_not_trained(model: Path) -> None:
    with pytest.raises(EncoderError, match=r"model\.onnx can be run, but not trained or exported"):
        load_parts(model, "m", "m")


def test_the_extra_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'vitrina\[onnx\]'") as caught:
        load_text(str(model))
    assert str(caught.value).startswith(f"the ONNX model {model}/onnx/model.onnx needs onnxruntime")


def custom(graph: Any) -> None:
    graph.graph.node[3].domain = "evil.ops"
    graph.opset_import.append(onnx.helper.make_opsetid("evil.ops", 1))


def function(graph: Any) -> None:
    one = onnx.helper.make_node("Identity", ["a"], ["b"])
    opset = [onnx.helper.make_opsetid("", 17)]
    graph.functions.append(onnx.helper.make_function("f", "f", ["a"], ["b"], [one], opset))


def branch(graph: Any) -> None:
    inner = onnx.helper.make_graph([], "g", [], [])
    graph.graph.node.append(
        onnx.helper.make_node("If", ["c"], ["d"], then_branch=inner, else_branch=inner)
    )


def sparse(graph: Any) -> None:
    graph.graph.sparse_initializer.append(onnx.SparseTensorProto())


def outside(location: str, **numbers: int) -> Change:
    def change(graph: Any) -> None:
        weight = graph.graph.initializer[0]
        weight.ClearField("raw_data")
        weight.data_location = onnx.TensorProto.EXTERNAL
        for key, value in {"location": location, **numbers}.items():
            entry = weight.external_data.add()
            entry.key, entry.value = key, str(value)

    return change


def larger(graph: Any) -> None:
    graph.graph.initializer[0].dims[0] = 1 << 40


def shape(graph: Any) -> None:
    value = np.array([40_000, 40_000], np.int64)
    graph.graph.initializer.append(onnx.numpy_helper.from_array(value, "shape"))


def shape_in_a_node(graph: Any) -> None:
    node = onnx.helper.make_node("Constant", [], ["s"], value_ints=[40_000, 40_000])
    graph.graph.node.append(node)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (custom, "uses the operator '.*' of 'evil.ops'"),
        (function, "has functions of its own"),
        (branch, "has loops or branches"),
        (sparse, "has sparse tensors"),
        (outside("../secret"), "names '../secret', no file beside it"),
        (outside("/etc/passwd"), "names '/etc/passwd', no file beside it"),
        (outside(""), "names '', no file beside it"),
        (outside("nowhere"), "nowhere is missing"),
        (outside("model.onnx", offset=5, length=1 << 40), "names bytes 5 to "),
        (outside("model.onnx", offset=-5), "names bytes -5 to "),
        (larger, "claims .* numbers in .* bytes"),
        (shape, r"has the shape \[40000, 40000\]"),
        (shape_in_a_node, r"has the shape \[40000, 40000\]"),
    ],
)
def test_a_hostile_graph_is_refused(model: Path, change: Change, message: str) -> None:
    path = changed(model, change)
    with pytest.raises(EncoderError, match=message) as caught:
        check_graph(path, model)
    assert str(caught.value).startswith(str(path.parent))
    with pytest.raises(EncoderError, match=message):
        load_text(str(model))


def test_a_link_out_of_the_directory_is_refused(model: Path, tmp_path: Path) -> None:
    path = model / "onnx" / "model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(EncoderError, match="is a link to a place outside"):
        check_graph(path, model)
    shutil.rmtree(model / "onnx")
    (tmp_path / "other").mkdir()
    (tmp_path / "elsewhere.onnx").rename(tmp_path / "other" / "model.onnx")
    (model / "onnx").symlink_to(tmp_path / "other")
    with pytest.raises(EncoderError, match="is a link to a place outside"):
        check_graph(path, model)


def test_a_hubs_cache_links_to_its_blobs(model: Path, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "abc"
    snapshot.parent.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    model.rename(snapshot)
    path = snapshot / "onnx" / "model.onnx"
    path.rename(tmp_path / "models--a--b" / "blobs" / "0f")
    path.symlink_to("../../../blobs/0f")
    assert len(load_text(str(snapshot)).encode(["кружка"])) == 1


def test_a_pipe_is_no_graph(model: Path) -> None:
    path = model / "onnx" / "model.onnx"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(EncoderError, match="is no file"):
        load_text(str(model))


def wants_positions(graph: Any) -> None:
    graph.graph.input[2].name = "position_ids"
    for node in graph.graph.node:
        for at, name in enumerate(node.input):
            if name == "token_type_ids":
                node.input[at] = "position_ids"


def integers(graph: Any) -> None:
    kind = onnx.TensorProto.INT64
    node = onnx.helper.make_node("Cast", ["last_hidden_state"], ["classes"], to=kind)
    graph.graph.node.append(node)
    graph.graph.output[0].name = "classes"
    graph.graph.output[0].type.tensor_type.elem_type = kind


def other_dim(graph: Any) -> None:
    shape = graph.graph.output[0].type.tensor_type.shape
    shape.dim[2].dim_param = "any"
    graph.graph.node[-1].output[0] = "inner"
    ones = onnx.numpy_helper.from_array(np.array([2], np.int64), "axis")
    graph.graph.initializer.append(ones)
    graph.graph.node.append(
        onnx.helper.make_node("ReduceMean", ["inner"], ["last_hidden_state"], axes=[2], keepdims=1)
    )


def fails(graph: Any) -> None:
    # More positions than the table has.
    for weight in graph.graph.initializer:
        if list(weight.dims)[:1] == [32]:
            weight.dims[0] = 2
            weight.raw_data = weight.raw_data[: 2 * 4 * weight.dims[1]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (wants_positions, "wants the inputs input_ids, attention_mask, position_ids"),
        (integers, "has the outputs classes, none with vectors of tokens"),
        (other_dim, "gives vectors of the shape .*config.json says"),
        (fails, "can't be run: "),
    ],
)
def test_a_graph_of_another_kind_is_refused(model: Path, change: Change, message: str) -> None:
    changed(model, change)
    with pytest.raises(EncoderError, match=message) as caught:
        load_text(str(model))
    assert "\n" not in str(caught.value)


def test_damage_is_one_line(model: Path) -> None:
    path = model / "onnx" / "model.onnx"
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    told = []
    for at in range(150):
        data = bytearray(whole[: rng.integers(0, len(whole))] if at % 2 else whole)
        for place in rng.integers(0, max(1, len(data)), 3 if data else 0):
            data[place] = rng.integers(256)
        path.write_bytes(data)
        try:
            check_graph(path, model)
        except EncoderError as err:
            told.append(str(err))
    assert len(told) > 60
    assert [one for one in told if "\n" in one or str(path.parent) not in one] == []
