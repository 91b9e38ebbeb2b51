"""Pickled weights become safetensors without running what the pickle holds."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import vitrina as vt
from support.cli import vitrina
from support.named_models import load_text
from support.text_forms import labse, pickled
from support.text_models import write_bert
from vitrina.errors import EncoderError

PICKLE, WHOLE = "pytorch_model.bin", "model.safetensors"


def fingerprint(folder: Path) -> str:
    return load_text(str(folder)).card.fingerprint


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> str:
    return fingerprint(write_bert(tmp_path_factory.mktemp("sound") / "model"))


def refusal(folder: Path) -> str:
    with pytest.raises(EncoderError) as caught:
        vt.convert_model(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    assert not list(folder.rglob("*.safetensors*"))
    return message


def test_the_refusal_names_the_command_that_converts(tmp_path: Path, expected: str) -> None:
    folder = pickled(tmp_path / "model")
    with pytest.raises(EncoderError, match=f"once, by `vitrina convert-model {folder}`"):
        load_text(str(folder))
    assert vitrina("convert-model", folder) == 0
    assert fingerprint(folder) == expected
    assert (folder / PICKLE).exists()
    assert vitrina("convert-model", folder) == 1


def test_a_model_of_the_hub_without_safetensors_names_both_ways(tmp_path: Path) -> None:
    place = tmp_path / "models--some--one/snapshots/r1"
    folder = write_bert(place)
    (folder / WHOLE).unlink()
    with pytest.raises(EncoderError, match=r"^some/one has no .*hf:some/one@refs/pr/1 .*convert-m"):
        load_text(str(folder))


def test_out_makes_a_whole_model(tmp_path: Path, expected: str) -> None:
    folder = pickled(tmp_path / "model")
    (folder / "code.py").write_text("raise SystemExit")
    made = vt.convert_model(folder, tmp_path / "out")
    assert made.files == (WHOLE,)
    assert made.bytes == (tmp_path / "out" / WHOLE).stat().st_size
    assert made.tensors == len(load_file(tmp_path / "out" / WHOLE))
    assert fingerprint(tmp_path / "out") == expected
    assert not (folder / WHOLE).exists()
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".json", ".safetensors"}
    with pytest.raises(EncoderError, match="is not empty"):
        vt.convert_model(folder, tmp_path / "out")


def test_files_of_old_versions_of_torch_are_read(tmp_path: Path, expected: str) -> None:
    folder = pickled(tmp_path / "model")
    tensors = torch.load(folder / PICKLE, weights_only=True)
    torch.save(tensors, folder / PICKLE, _use_new_zipfile_serialization=False)
    vt.convert_model(folder)
    assert fingerprint(folder) == expected


def test_several_files_become_one(tmp_path: Path, expected: str) -> None:
    folder = pickled(tmp_path / "model")
    tensors = torch.load(folder / PICKLE, weights_only=True)
    (folder / PICKLE).unlink()
    names = sorted(tensors)
    places = {name: f"pytorch_model-0000{1 + at % 2}-of-00002.bin" for at, name in enumerate(names)}
    for place in set(places.values()):
        torch.save({name: tensors[name] for name in names if places[name] == place}, folder / place)
    (folder / f"{PICKLE}.index.json").write_text(json.dumps({"weight_map": places}))
    assert vt.convert_model(folder).tensors == len(names)
    assert fingerprint(folder) == expected


def test_layers_after_the_pooling_are_converted_too(tmp_path: Path) -> None:
    folder = labse(tmp_path / "model")
    before = fingerprint(folder)
    for place in (folder, folder / "2_Dense"):
        torch.save(load_file(place / WHOLE), place / PICKLE)
        (place / WHOLE).unlink()
    assert vt.convert_model(folder).files == (WHOLE, f"2_Dense/{WHOLE}")
    assert fingerprint(folder) == before
    (folder / "2_Dense" / WHOLE).unlink()
    with pytest.raises(EncoderError, match=f"convert-model {folder}`"):
        load_text(str(folder))


def test_shared_tensors_are_written_apart_and_heads_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    words, other = torch.arange(12.0).reshape(4, 3), torch.ones(3)
    tensors = {
        "cls.predictions.decoder.weight": words,
        "shared.weight": words,
        "encoder.embed_tokens.weight": words,
        "part": words[1:],
        "transposed": words.T,
        "bias": other,
    }
    torch.save(tensors, folder / PICKLE)
    vt.convert_model(folder)
    found = load_file(folder / WHOLE)
    assert found.keys() == tensors.keys() - {"cls.predictions.decoder.weight"}
    for name, one in found.items():
        assert torch.equal(one, tensors[name])


def test_a_checkpoint_of_a_training_holds_weights_under_a_key(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"module.a": torch.ones(3)}}, tmp_path / PICKLE)
    vt.convert_model(tmp_path)
    assert list(load_file(tmp_path / WHOLE)) == ["a"]


class Evil:
    """A pickle of it runs a command."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.trace}",)


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_hostile_pickle_runs_nothing(archive: bool, protocol: int, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save(
        {"a": torch.ones(3), "b": Evil(tmp_path / "ran")},
        folder / PICKLE,
        _use_new_zipfile_serialization=archive,
        pickle_protocol=protocol,
    )
    assert "it would import" in refusal(folder)
    # As a bare pickle, and with an archive after it.
    content = (folder / PICKLE).read_bytes()
    (folder / PICKLE).write_bytes(pickle.dumps(Evil(tmp_path / "ran"), protocol) + content)
    refusal(folder)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("archive", [True, False])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"x": torch.zeros(1).expand(10**5, 10**6)}, "smaller than the tensors"),
        ({"x": torch.eye(3).to_sparse()}, "would import"),
        ({"x": torch.empty(3, device="meta")}, "would import"),
        ({"x": 3}, "other things than tensors"),
        ({"x": torch.ones(3), "y": "text"}, "other things than tensors"),
        ([torch.ones(3)], "other things than tensors"),
        ({}, "other things than tensors"),
    ],
)
def test_what_is_no_state_is_refused(
    content: Any, words: str, archive: bool, tmp_path: Path
) -> None:
    torch.save(content, tmp_path / PICKLE, _use_new_zipfile_serialization=archive)
    assert words in refusal(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", b"hello", b"\x80\x02.", b"\x80\x02]q\x00.", pickle.dumps(bytearray(9))],
)
def test_damaged_files_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / PICKLE).write_bytes(content)
    refusal(tmp_path)


def test_cut_files_are_refused(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "model")
    whole = (folder / PICKLE).read_bytes()
    for share in (0.2, 0.7, 0.99):
        (folder / PICKLE).write_bytes(whole[: int(share * len(whole))])
        refusal(folder)


def test_a_packed_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / PICKLE, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickle.dumps({}, 2))
        archive.writestr("model/data/0", b"\0" * 10_000_000)
    assert "compressed archive" in refusal(tmp_path)


def test_files_elsewhere_are_not_read(tmp_path: Path) -> None:
    folder = pickled(tmp_path / "model")
    shutil.move(folder / PICKLE, tmp_path / PICKLE)
    (folder / PICKLE).symlink_to(tmp_path / PICKLE)
    assert "link to a place outside" in refusal(folder)
    (folder / PICKLE).unlink()
    index = {"weight_map": {"a": "../pytorch_model.bin"}}
    (folder / f"{PICKLE}.index.json").write_text(json.dumps(index))
    assert "not of its folder" in refusal(folder)


def test_a_folder_without_pickles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="has no pickled weights"):
        vt.convert_model(tmp_path)
    with pytest.raises(EncoderError, match="is no directory"):
        vt.convert_model(tmp_path / "nowhere")
    save_file({"a": torch.ones(3)}, tmp_path / WHOLE)
    with pytest.raises(EncoderError, match="has safetensors already"):
        vt.convert_model(tmp_path)
