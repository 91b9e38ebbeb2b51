"""Masked-language modelling of a catalogue's texts (Devlin et al., "BERT", 2019).

In every pass a share of each text's tokens is masked at random, and the network predicts them. A
softmax over a vocabulary of tens of thousands would cost more than the network itself. Training
therefore uses a sampled softmax over the true token and a sample of others (Jean et al., "On using
very large target vocabulary", 2015). The score uses the full softmax.
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
from vitrina.training.config import TrainingConfig
from vitrina.training.loop import BatchPart
from vitrina.training.optimiser import Optimiser, grouped
from vitrina.types import Codes

SHARE = 0.15
"""Share of a text's tokens to predict."""
MASKED, RANDOM = 0.8, 0.1
"""Of these, the shares replaced by the mask token and by a random token; the rest stays."""
SAMPLED = 2048
"""Negative samples of the sampled softmax."""
POWER = 0.75
"""Negatives are sampled in proportion to their frequency to this power."""

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
"""Names of the head's parameters in BERT's and in RoBERTa's weights."""


class MLMHead(torch.nn.Module):
    """Maps a masked token's vector to one that is compared with the word embedding."""

    def __init__(self, dim: int, vocabulary: int, epsilon: float) -> None:
        super().__init__()
        self.dense = torch.nn.Linear(dim, dim)
        self.norm = torch.nn.LayerNorm(dim, eps=epsilon)
        torch.nn.init.normal_(self.dense.weight, std=0.02)
        torch.nn.init.zeros_(self.dense.bias)
        self.bias = torch.nn.Parameter(torch.zeros(vocabulary))

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """Transform vectors, (n, dim) to (n, dim)."""
        out: torch.Tensor = self.norm(fn.gelu(self.dense(vectors)))
        return out

    def load_beside(self, folder: Path, *, from_scratch: bool) -> None:
        """Load head weights from a model's folder, in this class's, BERT's or RoBERTa's format.

        Without such weights, or `from_scratch`, the random initial weights stay. Raises
        EncoderError for weights that do not fit the model.
        """
        if from_scratch:
            return
        for name, choices in ((BESIDE, [None]), (WEIGHTS, [*THEIRS])):
            path = folder / name
            if not path.exists():
                continue
            there = set(read_header(path))
            for names in choices:
                stored_names = names or {one: one for one in there}
                if there.issuperset(stored_names.values()):
                    with (
                        blamed_on(str(path), WAY_OUT, EncoderError),
                        safe_open(path, "pt") as file,
                    ):
                        self.load_state_dict(
                            {own: file.get_tensor(one) for own, one in stored_names.items()}
                        )
                    return

    def save_beside(self, folder: Path) -> None:
        """Write the head's weights next to the model, for later pre-training."""
        save_file(
            {name: one.contiguous() for name, one in self.state_dict().items()}, folder / BESIDE
        )


@dataclass(eq=False)
class MaskedWords:
    """Masked-language modelling; a `Task`. rows: training rows of `tokens`. held: held-out rows."""

    network: TrainableText
    tokens: TokenLists
    rows: Codes
    held_out: Codes
    seed: int = 0
    guesser: MLMHead = field(init=False)

    def __post_init__(self) -> None:
        """Count token frequencies. Raises ValueError for a tokenizer without a mask token."""
        if self.network.mask is None:
            raise ValueError("its tokenizer has no mask token")
        epsilon = float(getattr(self.network.body.config, "layer_norm_eps", 1e-12))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            self.guesser = MLMHead(self.network.width, self.network.vocabulary, epsilon)
        self.guesser.to(self.network.device)
        counts = np.bincount(self.tokens.flat, minlength=self.network.vocabulary).astype(float)
        counts[self.network.special] = 0
        # Only tokens in the texts: no other can be the true one.
        self._words = np.flatnonzero(counts)
        weights = counts[self._words] ** POWER
        odds = np.full(self.network.vocabulary, 1e-12)
        odds[self._words] = SAMPLED * weights / weights.sum()
        self._expected = torch.from_numpy(np.log(odds)).float()
        self._cumulated = np.cumsum(weights / weights.sum())

    def optimiser(self, recipe: TrainingConfig, steps: int) -> Optimiser:
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
        """As `Task.parts`: parts of texts of similar length."""
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
        """Mean log-likelihood of masked tokens in held-out texts, over the whole vocabulary. The
        masks are the same in every call. NaN without held-out texts."""
        if not len(self.held_out):
            return float("nan")
        self.network.eval()
        table = self.network.table
        lengths = self.tokens.lengths_of(self.held_out)
        rng = np.random.default_rng(0)
        total, count = 0.0, 0
        with torch.inference_mode():
            for part in self.network.batches(lengths):
                ids, there, hidden, words = self._hide(self.held_out[part], rng)
                if not len(words):
                    continue
                vectors = self._vectors(ids, there, hidden).float()
                logits = vectors @ table.weight.T + self.guesser.bias.float()
                total -= float(fn.cross_entropy(logits, words.to(logits.device), reduction="sum"))
                count += len(words)
        return total / max(1, count)

    def _hide(self, rows: Codes, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Mask tokens of padded lists. Returns the masked ids, (n, longest) int64; the masks of
        tokens and of positions to predict, bool each; the true tokens there, (predicted,) int64."""
        ids, there = self.tokens.padded(rows, self.network.pad)
        free = there & ~torch.isin(ids, torch.tensor(self.network.special))
        draws = torch.from_numpy(rng.random(ids.shape))
        hidden = free & (draws < SHARE)
        # Mask at least one token per text, or a short text would give no loss.
        least = draws.masked_fill(~free, 2.0).argmin(dim=1)
        none = ~hidden.any(dim=1) & free.any(dim=1)
        hidden[none.nonzero().squeeze(1), least[none]] = True
        words = ids[hidden]
        fate = torch.from_numpy(rng.random(len(words)))
        random_words = torch.from_numpy(
            self._words[rng.integers(len(self._words), size=len(words))]
        )
        assert self.network.mask is not None
        replaced = torch.where(fate < MASKED, self.network.mask, words)
        replaced = torch.where(fate >= 1 - RANDOM, random_words, replaced)
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
        """Sampled softmax. vectors: (m, dim). words: (m,) true tokens. others: (s,) negatives."""
        device = vectors.device
        table, bias = self.network.table, self.guesser.bias
        right, wrong = words.to(device), others.to(device)
        dtype = table.look_up(wrong[:1]).dtype
        # Subtracting the log of the expected count in the sample makes the sum over the sample an
        # unbiased estimate of the sum over all tokens.
        expected = self._expected.to(device)
        own = (vectors.to(dtype) * table.look_up(right)).float().sum(dim=1)
        own = own + bias[right]
        rest = (vectors.to(dtype) @ table.look_up(wrong).T).float()
        rest = rest + bias[wrong] - expected[wrong]
        # The true token is no negative if it is sampled too.
        rest = rest.masked_fill(right[:, None] == wrong[None, :], -torch.inf)
        logits = torch.cat([own[:, None], rest], dim=1)
        return fn.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long, device=device))
