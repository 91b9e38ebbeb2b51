"""Model directories from a stranger: configuration, tokenizer, weights, and code beside them."""

from __future__ import annotations

import json
import os
import shutil
import struct
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutate import mutated, mutated_value, odd_value, written
from fuzz.odd_files import odd_safetensors
from fuzz.target import SOUND, Target, copy_files, expect, note, noted

TEXTS = ("кружка белая", "ваза синяя слово1", "лампа", "стол чёрная слово2 слово3", "кружка")
TOKENS = (
    b"{",
    b"}",
    b'"auto_map"',
    b'"model_type"',
    b"[UNK]",
    b"[PAD]",
    b"null",
    b"\\ud800",
    b"../",
)
EVIL = """
open({mark!r}, "w").write("ran")
from transformers import AutoTokenizer, BertConfig, BertModel, BertTokenizerFast
class A(BertConfig):
    model_type = "evil"
class M(BertModel):
    config_class = A
class T(BertTokenizerFast):
    pass
"""
IMAGES = ("timm", "open-clip", "hf-clip", "st-clip", "siglip", "dinov2", "vit")
TOWERS = ("clip-text", "siglip-text", "open-clip-text")
ONNX = ("onnx",) if all(map(find_spec, ("onnx", "onnxruntime"))) else ()
KINDS = ("bert", "bert-parts", "distilbert", "layers", "t5", "model2vec", *IMAGES, *TOWERS, *ONNX)
PACKED = ("bert", "bert-parts", "layers", *IMAGES[1:])
"""Kinds that run in int8."""
CODE = {
    "AutoConfig": "evil.A",
    "AutoModel": "evil.M",
    "AutoTokenizer": ["evil.T", "evil.T"],
    "AutoProcessor": "evil.T",
}


class Models(Target):
    name = "models"
    forms = (*KINDS, "code", "missing")

    def prepare(self, folder: Path) -> None:
        import numpy as np
        import torch
        from PIL import Image
        from transformers import DistilBertConfig, DistilBertModel

        from support.tuning import write_model
        from vitrina.embedder.text_config import TextForm, write_form
        from vitrina.types import Pooling

        write_model(folder / "bert")
        write_form(folder / "bert", TextForm(Pooling.MEAN, 32), 24)
        shutil.copytree(folder / "bert", folder / "bert-parts")
        from transformers import BertModel

        own = BertModel.from_pretrained(folder / "bert-parts")
        (folder / "bert-parts/model.safetensors").unlink()
        own.save_pretrained(folder / "bert-parts", max_shard_size="20KB")
        shutil.copytree(folder / "bert", folder / "distilbert")
        torch.manual_seed(1)
        config = json.loads((folder / "bert/config.json").read_text())
        small = DistilBertConfig(
            vocab_size=config["vocab_size"], dim=24, n_layers=2, n_heads=2, hidden_dim=48,
            max_position_embeddings=32,
        )  # fmt: skip
        DistilBertModel(small).save_pretrained(folder / "distilbert")
        from support.image_models import write_clip, write_timm
        from support.text_forms import labse, t5, write_model2vec
        from support.text_models import write_json

        prompts = {
            "prompts": {"query": "a: ", "document": "b: "},
            "default_prompt_name": "document",
        }
        labse(folder / "layers")
        write_json(
            folder / "layers/config_sentence_transformers.json", {**prompts, "truncate_dim": 20}
        )
        t5(folder / "t5")
        write_model2vec(folder / "model2vec", quantised=True)
        write_timm(folder / "timm")
        write_clip(folder / "open-clip")
        from support.clip_texts import WORDS_OF_OPEN_CLIP, write_clip_model, write_siglip_model
        from support.vision_models import dinov2, hf_clip, siglip, st_clip, vit

        hf_clip(folder / "hf-clip")
        st_clip(folder / "st-clip")
        siglip(folder / "siglip")
        dinov2(folder / "dinov2", registers=2)
        vit(folder / "vit")
        write_clip_model(folder / "clip-text")
        write_siglip_model(folder / "siglip-text")
        write_clip(folder / "open-clip-text", text_cfg=WORDS_OF_OPEN_CLIP)
        if ONNX:
            from support.onnx_forms import write_onnx

            written_here = folder / "onnx-and-weights"
            written_here.mkdir()
            shutil.copytree(write_onnx(written_here), folder / "onnx")
        rng = np.random.default_rng(0)
        for number in range(3):
            # Noise would be all alike to many a damaged model.
            colours = Image.fromarray(rng.integers(0, 255, (3, 3, 3)).astype("uint8"))
            colours.resize((40, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")

    def load(self) -> None:
        self._files = {
            kind: sorted(
                str(path.relative_to(self.seeds / kind))
                for path in (self.seeds / kind).rglob("*")
                if path.is_file()
            )
            for kind in KINDS
        }

    def warm_up(self) -> None:
        for kind in KINDS:
            for compute in ("float32", "int8"):
                try:
                    _use(self.seeds / kind, kind, compute, self.seeds)
                except Exception:
                    continue

    def make(self, form: str, draw: Random, folder: Path) -> str:
        kind = form if form in KINDS else draw.choice(KINDS)
        outside = str(folder / "outside")
        place = folder / "model"
        copy_files(self.seeds / kind, place)
        if form == SOUND:
            how = "left alone"
        elif form == "code":
            how = _with_code(kind, draw, place, folder)
        elif form == "missing":
            gone = draw.sample(
                self._files[kind], min(len(self._files[kind]), draw.choice((1, 1, 2, 3)))
            )
            for name in gone:
                if draw.random() < 0.7:
                    (place / name).unlink()
                else:
                    (place / name).write_bytes(
                        draw.choice((b"", b"{}", b"[]", b"null", b"\0" * 100))
                    )
            how = f"gone or empty: {', '.join(gone)}"
        else:
            how = "; ".join(
                self._changed(kind, draw, place, outside) for _ in range(draw.choice((1, 1, 2)))
            )
        compute = draw.choice(("float32", "float32", "float32", "int8"))
        if kind not in PACKED:
            compute = "float32"
        note(folder, kind=kind, compute=compute)
        return f"{kind} {compute}: {how}"

    def _changed(self, kind: str, draw: Random, place: Path, outside: str) -> str:
        name = draw.choice([one for one in self._files[kind] if (place / one).is_file()])
        if draw.random() < 0.3:
            configs = ("config.json", "open_clip_config.json", "tokenizer.json", "modules.json")
            configs += ("preprocessor_config.json",)
            named = [one for one in self._files[kind] if Path(one).name in configs]
            name = draw.choice(named or [name])
        path = place / name
        if not path.is_file():
            # The change before made a link or a pipe of it.
            return f"{name} left alone"
        data = path.read_bytes()
        if name.endswith(".json") and draw.random() < 0.75:
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                return f"{name} left alone"
            how = "values changed"
            if name.endswith("config.json") and draw.random() < 0.4 and isinstance(value, dict):
                how = _oddly_configured(value, draw, outside)
            elif name.endswith("index.json") and draw.random() < 0.5:
                files = value["weight_map"]
                key = draw.choice(list(files))
                files[key] = draw.choice(
                    ("../outside/victim.txt", f"{outside}/victim.txt", "/etc/passwd",
                    "x.safetensors",
                     "pytorch_model.bin", "config.json", "", ".", 7, None)
                )  # fmt: skip
                how = f"a part is {files[key]!r}"
            else:
                value = mutated_value(value, draw, outside)
            path.write_bytes(written(value, draw))
            return f"{name}: {how}"
        if name.endswith(".safetensors") and draw.random() < 0.7:
            try:
                content, how = odd_safetensors(data, draw, outside)
            except (ValueError, struct.error, LookupError, TypeError, AttributeError):
                return f"{name} left alone"
            except RecursionError:
                # An earlier change nested the header too deep.
                return f"{name} left alone"
            path.write_bytes(content)
            return f"{name}: {how}"
        if draw.random() < 0.05:
            # A link may lead anywhere: those of a hub's cache lead out of their folder.
            path.unlink()
            if draw.random() < 0.3:
                os.mkfifo(path)
                return f"{name}: a pipe"
            path.symlink_to(draw.choice(("/dev/zero", "/dev/null", "missing", path.name, ".")))
            return f"{name}: a link to {path.readlink()}"
        path.write_bytes(mutated(data, draw, [data], TOKENS))
        return f"{name}: bytes mutated"

    def run(self, form: str, folder: Path) -> None:
        told = noted(folder)
        try:
            _use(folder / "model", told["kind"], told["compute"], self.seeds)
        finally:
            expect(not (folder / "CODE-RAN").exists(), "code: a model's directory ran its own")


def _use(place: Path, kind: str, compute: str, seeds: Path) -> None:
    """Load a model and encode a few inputs."""
    import numpy as np

    from support.named_models import load_image, load_text
    from vitrina.types import Compute

    if kind in IMAGES:
        from PIL import Image

        encoder: Any = load_image(str(place), compute=Compute(compute))
        photos = [Image.open(seeds / f"{number}.png").convert("RGB") for number in range(3)]
        vectors = encoder.encode([encoder.prepare(photo) for photo in photos])
        count = len(photos)
    else:
        encoder = load_text(str(place), compute=Compute(compute))
        vectors = encoder.encode(list(TEXTS))
        count = len(TEXTS)
    expect(vectors.shape == (count, encoder.card.dim), f"shape: {vectors.shape}")
    expect(bool(np.isfinite(vectors).all()), "vectors: not finite")
    lengths = np.linalg.norm(vectors, axis=1)
    # Only a static model may know no token of a text.
    unit = (abs(lengths - 1) < 0.01) | ((kind == "model2vec") & (lengths == 0))
    expect(bool(unit.all()), f"vectors: lengths {lengths}")
    spread = float(abs(vectors - vectors[0]).max())
    expect(spread > 1e-6, "vectors: all alike")


def _oddly_configured(value: dict[str, Any], draw: Random, outside: str) -> str:
    """A configuration that asks for too much, for other code, or for files elsewhere."""
    key = draw.choice(
        (
            "num_hidden_layers", "n_layers", "hidden_size", "dim", "vocab_size",
            "num_attention_heads",
            "intermediate_size", "max_position_embeddings", "type_vocab_size", "hidden_act",
            "model_type", "architectures", "architecture", "_name_or_path", "torch_dtype", "dtype",
            "quantization_config", "attn_implementation", "_attn_implementation", "is_decoder",
            "add_cross_attention", "tokenizer_class", "tokenizer_file", "pad_token_id",
            "num_classes",
            "model_args", "pretrained_cfg", "pruned_heads", "chunk_size_feed_forward",
            "position_embedding_type", "output_hidden_states", "return_dict", "max_length",
            "model_max_length", "transformers_version", "auto_map", "id2label", "initializer_range",
            "in_features", "out_features", "activation_function", "use_residual", "pooling_mode",
            "max_seq_length", "do_lower_case", "prompts", "default_prompt_name", "truncate_dim",
        )
    )  # fmt: skip
    odd = draw.choice(
        (
            10**9, 10**6, 5000, 0, -1, 1, 3, "evil", "gpt2", "t5", "bert", "clip", "vit", "relu",
            "hf-hub:someone/model", "local-dir:/nowhere", f"{outside}/victim.json", "someone/model",
            {"file": f"{outside}/victim.txt"}, {"url": "http://127.0.0.1:9/x"},
            {"hf_hub_id": "someone/model"}, {"img_size": 10**6}, {"depth": 10**6},
            {"quant_method": "bitsandbytes", "load_in_4bit": True}, {"quant_method": "awq"},
            ["BertModel"], True, None, 0.5, "sdpa", "flash_attention_2", "eager", "float8_e4m3fn",
        )
    )  # fmt: skip
    if draw.random() < 0.1:
        odd = odd_value(draw, outside)
    if key == "pretrained_cfg" and isinstance(value.get(key), dict) and draw.random() < 0.7:
        inner = draw.choice(
            (*value[key], "file", "url", "hf_hub_id", "source", "custom_load", "state_dict",
             "input_size", "crop_pct", "mean", "std", "interpolation", "num_classes", "classifier",
             "first_conv")
        )  # fmt: skip
        value[key][inner] = odd
        return f"pretrained_cfg.{inner} = {odd!r}"
    nested = [value[one] for one in value if isinstance(value[one], dict)]
    if nested and draw.random() < 0.4:
        owner = draw.choice(nested)
        deeper = [one for one in owner.values() if isinstance(one, dict)]
        owner = draw.choice(deeper) if deeper and draw.random() < 0.7 else owner
        inner = draw.choice((*owner, key))
        owner[inner] = odd
        return f"…{inner} = {odd!r}"
    value[key] = odd
    return f"{key} = {odd!r}"


def _with_code(kind: str, draw: Random, place: Path, folder: Path) -> str:
    """Code beside the model, and configurations that name it."""
    mark = str(folder / "CODE-RAN")
    for name in ("evil.py", "modeling_evil.py", "tokenization_evil.py", "conftest.py", "setup.py"):
        (place / name).write_text(EVIL.format(mark=mark))
    told = []
    names = [
        one
        for one in ("config.json", "tokenizer_config.json", "open_clip_config.json", "modules.json")
        if (place / one).is_file()
    ]
    for name in draw.sample(names, min(len(names), draw.choice((1, 2)))):
        value = json.loads((place / name).read_bytes())
        if isinstance(value, list):
            value[draw.randrange(len(value))]["type"] = draw.choice(
                ("evil.A", "evil.Pooling", "os.system")
            )
        else:
            value["auto_map"] = draw.choice(
                (
                    CODE,
                    {key: f"../model--{one}" for key, one in CODE.items()},
                    {"AutoModel": "x/y--evil.M"},
                )
            )
            if draw.random() < 0.6:
                value["model_type"] = draw.choice(("evil", "custom", "bert-evil"))
            if draw.random() < 0.4:
                value["tokenizer_class"] = draw.choice(("T", "EvilTokenizerFast", "evil.T"))
            if draw.random() < 0.3:
                value["trust_remote_code"] = True
            if draw.random() < 0.3 and kind == "timm":
                value["architecture"] = draw.choice(("evil.M", "os.system", "__import__"))
            if draw.random() < 0.3 and kind == "open-clip":
                value["model_cfg"]["text_cfg"] = draw.choice(
                    ({"hf_model_name": str(place), "hf_tokenizer_name": str(place)},
                     {"hf_model_name": "someone/model"})
                )  # fmt: skip
        (place / name).write_bytes(written(value))
        told.append(name)
    if draw.random() < 0.3:
        # Weights that are a pickle, of which loading would run code.
        pickled = b"cbuiltins\nexec\n(S'open(\"" + mark.encode() + b'","w").write("x")\'\ntR.'
        for path in place.glob("*.safetensors*"):
            path.unlink()
        for name in ("pytorch_model.bin", "open_clip_pytorch_model.bin", "model.pth"):
            (place / name).write_bytes(pickled)
        told.append("a pickle for weights")
    return f"code named by {', '.join(told)}"


TARGET = Models()
