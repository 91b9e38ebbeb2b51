"""Masked-language modelling: a text encoder learns a catalogue's language by guessing words.

(Devlin et al., "BERT", 2019.) Of each text a share of the tokens is hidden, anew in every pass, and
the network says what stood there. The softmax over a vocabulary of tens of thousands would cost
more than the network itself; it is taken over the right words and a sample of others instead
(Jean et al., "On using very large target vocabulary", 2015), and in full only for the score.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch.nn import functional as fn

from vitrina.embedder.finetuning.groups import by_depth
from vitrina.embedder.finetuning.text_network import TrainableText
from vitrina.embedder.finetuning.tokens import TokenLists
from vitrina.embedder.precision import training_dtype
from vitrina.embedder.weight_files import WAY_OUT, read_header
from vitrina.errors import EncoderError
from vitrina.store.damage import blamed_on
from vitrina.training.config import Recipe
from vitrina.training.loop import BatchPart
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.types import Codes

SHARE = 0.15
"""Of a text's tokens, those that are to be guessed."""
MASKED, RANDOM = 0.8, 0.1
"""Of these, the share that is hidden, and the one that is replaced by chance; the rest stays."""
SAMPLED = 2048
"""Wrong words that the right one is told from."""
POWER = 0.75
"""Words are sampled by their frequency to this power."""

BESIDE, WEIGHTS = "masked-words.safetensors", "model.safetensors"
THEIRS = (
    {
        "dense.weight": "cls.predictions.transform.dense.weight",
        "dense.bias": "cls.predictions.transform.dense.bias",
        "norm.weight": "cls.predictions.transform.LayerNorm.weight",
        "norm.bias": "cls.predictions.transform.LayerNorm.bias",
        "bias": "cls.predictions.bias",
    },
    {
        "dense.weight": "lm_head.dense.weight",
        "dense.bias": "lm_head.dense.bias",
        "norm.weight": "lm_head.layer_norm.weight",
        "norm.bias": "lm_head.layer_norm.bias",
        "bias": "lm_head.bias",
    },
)
"""What the parts are called in BERT's and in RoBERTa's weights."""


class MLMHead(torch.nn.Module):
    """From a hidden token's vector to one that is compared with the word table."""

    def __init__(self, dim: int, vocabulary: int, epsilon: float) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(dim, dim)
        self.norm = torch.nn.LayerNorm(dim, eps=epsilon)
        torch.nn.init.normal_(self.dense.weight, std=0.02)
        torch.nn.init.zeros_(self.dense.bias)
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(n, dim) to (n, dim)."""
        out: torch.Tensor = self.norm(fn.gelu(self.dense(vectors)))
        return out

    def load_beside(self, folder: Path, *, from_scratch: bool) -> None:
        """Go on from what lies beside a model's weights, here or as BERT and RoBERTa keep it; where
        there is none, what was drawn stays. from_scratch: look for none.

        Raises EncoderError for one that does not fit the model.
        """
        if from_scratch:
            return
        for name, choices in ((BESIDE, [None]), (WEIGHTS, [*THEIRS])):
            path = folder / name
            if not path.exists():
                continue
            there = set(read_header(path))
            for names in choices:
                taken = names or {one: one for one in there}
                if there.issuperset(taken.values()):
                    with (
                        blamed_on(str(path), WAY_OUT, EncoderError),
                        safe_open(path, "pt") as file,
                    ):
                        self.load_state_dict(
                            {own: file.get_tensor(one) for own, one in taken.items()}
                        )
                    return

    def save_beside(self, folder: Path) -> None:
        """Keep it, so that pre-training can go on some day."""
        save_file(
            {name: one.contiguous() for name, one in self.state_dict().items()}, folder / BESIDE
        )


@dataclass(eq=False)
class MaskedWords:
    """The task of guessing hidden words. rows: of `tokens`, to train on. held: to score on."""

    network: TrainableText
    tokens: TokenLists
    rows: Codes
    held: Codes
    seed: int = 0
    guesser: MLMHead = field(init=False)

    def __post_init__(self) -> None:
        """Learn the words' frequencies. Raises ValueError for a tokenizer without a mask."""
        if self.network.mask is None:
            raise ValueError("its tokenizer has no mask token")
        epsilon = float(getattr(self.network.body.config, "layer_norm_eps", 1e-12))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.guesser = MLMHead(self.network.width, self.network.vocabulary, epsilon)
        self.guesser.to(self.network.device)
        counts = np.bincount(self.tokens.flat, minlength=self.network.vocabulary).astype(float)
        counts[self.network.special] = 0
        # Only words that the texts have: no other can be right.
        self._words = np.flatnonzero(counts)
        weights = counts[self._words] ** POWER
        odds = np.full(self.network.vocabulary, 1e-12)
        odds[self._words] = SAMPLED * weights / weights.sum()
        self._expected = torch.from_numpy(np.log(odds)).float()
        self._cumulated = np.cumsum(weights / weights.sum())

    def optimiser(self, recipe: Recipe, steps: int) -> Optimiser:
        """As `Task.optimiser`."""
        dtype = training_dtype(self.network.device, transformer=True)
        table = self.network.begin(dtype, averaged=bool(recipe.average))
        groups = [*grouped(self.guesser), *by_depth(self.network.body, 1.0)]
        return Optimiser(groups, [table], recipe, steps)

    @property
    def workers(self) -> int:
        """As `Task.workers`."""
        return self.network.workers

    def parts(self, rows: Codes, rng: np.random.Generator) -> list[BatchPart]:
        """As `Task.parts`: texts of like length."""
        self.network.train()
        lengths = self.tokens.lengths_of(rows)
        hidden = [self._hide(rows[chosen], rng) for chosen in self.network.batches(lengths)]
        drawn = np.searchsorted(self._cumulated, rng.random(SAMPLED), side="right")
        others = torch.from_numpy(self._words[np.minimum(drawn, len(self._words) - 1)])
        used = [others, *(one.flatten() for part in hidden for one in (part[0], part[3]))]
        self.network.table.open(torch.cat(used).to(self.network.device))
        total = sum(len(part[3]) for part in hidden)
        return [
            BatchPart(len(part[3]) / total, partial(self._loss, part, others))
            for part in hidden
            if len(part[3])
        ]

    def _loss(self, part: tuple[torch.Tensor, ...], others: torch.Tensor) -> torch.Tensor:
        ids, there, hidden, words = part
        return self._sampled_loss(self._vectors(ids, there, hidden), words, others)

    def score(self) -> float:
        """The mean log-likelihood of the hidden words of the held texts, over the whole
        vocabulary; always the same words are hidden."""
        if not len(self.held):
            return float("nan")
        self.network.eval()
        table = self.network.table
        lengths = self.tokens.lengths_of(self.held)
        rng = np.random.default_rng(0)
        total, count = 0.0, 0
        with torch.inference_mode():
            for part in self.network.batches(lengths):
                ids, there, hidden, words = self._hide(self.held[part], rng)
                if not len(words):
                    continue
                vectors = self._vectors(ids, there, hidden).float()
                logits = vectors @ table.weight.T + self.guesser.bias.float()
                total -= float(fn.cross_entropy(logits, words.to(logits.device), reduction="sum"))
                count += len(words)
        return total / max(1, count)

    def _hide(self, rows: Codes, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Padded lists with some tokens hidden, which are tokens, which are to be guessed, and
        what they are: (n, longest) int64, bool, bool, (guessed,) int64."""
        ids, there = self.tokens.padded(rows, self.network.pad)
        free = there & ~torch.isin(ids, torch.tensor(self.network.special))
        draws = torch.from_numpy(rng.random(ids.shape))
        hidden = free & (draws < SHARE)
        # A short text has one word hidden at least, or it would teach nothing.
        least = draws.masked_fill(~free, 2.0).argmin(dim=1)
        none = ~hidden.any(dim=1) & free.any(dim=1)
        hidden[none.nonzero().squeeze(1), least[none]] = True
        words = ids[hidden]
        fate = torch.from_numpy(rng.random(len(words)))
        by_chance = torch.from_numpy(self._words[rng.integers(len(self._words), size=len(words))])
        assert self.network.mask is not None
        replaced = torch.where(fate < MASKED, self.network.mask, words)
        replaced = torch.where(fate >= 1 - RANDOM, by_chance, replaced)
        shown = ids.clone()
        shown[hidden] = replaced
        return shown, there, hidden, words

    def _vectors(
        self, ids: torch.Tensor, there: torch.Tensor, hidden: torch.Tensor
    ) -> torch.Tensor:
        states = self.network.hidden(ids, there)
        vectors: torch.Tensor = self.guesser(states[hidden.to(states.device)].float())
        return vectors

    def _sampled_loss(
        self, vectors: torch.Tensor, words: torch.Tensor, others: torch.Tensor
    ) -> torch.Tensor:
        """vectors: (m, dim). words: (m,) what is right. others: (s,) drawn by their frequency."""
        device = vectors.device
        table, bias = self.network.table, self.guesser.bias
        right, wrong = words.to(device), others.to(device)
        dtype = table.look_up(wrong[:1]).dtype
        # Each stands for so many as its frequency in the sample is short of one: the sum over the
        # sample is then what the sum over all words would be, on average.
        expected = self._expected.to(device)
        own = (vectors.to(dtype) * table.look_up(right)).float().sum(dim=1)
        own = own + bias[right]
        rest = (vectors.to(dtype) @ table.look_up(wrong).T).float()
        rest = rest + bias[wrong] - expected[wrong]
        # The right word among the sampled ones is not wrong.
        rest = rest.masked_fill(right[:, None] == wrong[None, :], -torch.inf)
        logits = torch.cat([own[:, None], rest], dim=1)
        return fn.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=device))
