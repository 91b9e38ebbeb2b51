"""The training loop, its optimiser, its losses: against what they should come to by hand."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from vitrina.errors import TrainingError
from vitrina.training import loop
from vitrina.training.checkpoint import Checkpoint
from vitrina.training.config import TrainingConfig, rate_at
from vitrina.training.dropout import Dropout, drawing, with_quick_dropout
from vitrina.training.loop import BatchPart, Watch, fit
from vitrina.training.loss import ClassLoss
from vitrina.training.optimiser import Optimiser, ParameterGroup, grouped
from vitrina.training.sparse_embedding import SparseEmbedding
from vitrina.types import Balance

pytestmark = pytest.mark.usefixtures("own_cache")

RECIPE = TrainingConfig(epochs=3, batch_rows=8, rate=0.05, weight_decay=0.0, clip=0.0)


class Words:
    """Tells which of three classes a list of words belongs to: a table, a mean, a linear layer."""

    def __init__(self, *, rows=60, dropout=0.3, scores=None, dtype=torch.float32):
        rng = np.random.default_rng(0)
        self.words = torch.from_numpy(rng.integers(0, 30, size=(rows, 4)))
        self.labels = (self.words[:, 0] % 3).long()
        self.rows = np.arange(rows)
        torch.manual_seed(1)
        self.start = torch.randn(30, 6)
        self.layer = torch.nn.Linear(6, 3)
        self.drop, self.dtype, self.scores = Dropout(dropout), dtype, scores
        self.batches, self.asked = [], 0

    workers = 2

    def optimiser(self, recipe, steps):
        self.table = SparseEmbedding(self.start, self.dtype, averaged=bool(recipe.average))
        self.layer.to(self.dtype)
        return Optimiser(grouped(self.layer), [self.table], recipe, steps)

    def parts(self, rows, rng):
        self.batches.append((rows.copy(), rng.random()))
        self.table.open(self.words[rows].flatten())
        return [
            BatchPart(len(part) / len(rows), partial(self.loss_of, part))
            for part in np.array_split(rows, 3)
            if len(part)
        ]

    def loss_of(self, part):
        return torch.nn.functional.cross_entropy(self.logits(part), self.labels[part])

    def logits(self, rows):
        return self.layer(self.drop(self.table.look_up(self.words[rows]).mean(dim=1))).float()

    def score(self):
        if self.scores is not None:
            self.asked += 1
            return self.scores[self.asked - 1]
        self.drop.eval()
        with torch.no_grad():
            right = self.logits(self.rows).argmax(dim=1) == self.labels
        self.drop.train()
        return float(right.float().mean())

    def weights(self):
        return [self.table.weight, *self.layer.state_dict().values()]


def same(one, other):
    return all(torch.equal(a, b) for a, b in zip(one.weights(), other.weights(), strict=True))


# -- the recipe -----------------------------------------------------------------------------------


def test_the_rate_rises_and_falls():
    rates = [rate_at(step, 100, 0.1) for step in range(101)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0.0)
    assert max(rates) == rates[9] == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.09)))
    assert all(a < b for a, b in pairwise(rates[:10]))
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert rate_at(0, 3, 0.0) == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "at least one epoch"),
        ({"batch_rows": 0}, "at least one epoch of batches of one row"),
        ({"rate": 0.0}, "learning rate must be above 0"),
        ({"rate": math.nan}, "learning rate must be above 0"),
        ({"warm_up": 1.0}, "warm-up must be between 0 and 1"),
        ({"average": -0.1}, "average must be between 0 and 1"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(TrainingError, match=message):
        TrainingConfig(**{"epochs": 1, "batch_rows": 1, "rate": 1.0, **wrong})


# -- the optimiser --------------------------------------------------------------------------------


def by_torch(task, recipe, steps, decay=0.0):
    """The same batches by PyTorch's own AdamW over the whole table."""
    table, layer = task.start.clone().requires_grad_(), task.layer
    adam = torch.optim.AdamW(
        [
            {"params": [table], "weight_decay": 0.0},
            {"params": [layer.weight], "weight_decay": decay},
            {"params": [layer.bias], "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
    for step in range(steps):
        for group in adam.param_groups:
            group["lr"] = recipe.rate * rate_at(step, steps, recipe.warm_up)
        logits = layer(table[task.words].mean(dim=1))
        torch.nn.functional.cross_entropy(logits, task.labels).backward()
        if recipe.clip:
            torch.nn.utils.clip_grad_norm_([table, *layer.parameters()], recipe.clip)
        adam.step()
        adam.zero_grad()
        yield table.detach(), layer.weight.detach(), layer.bias.detach()


@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_steps_are_those_of_adamw(clip):
    recipe = TrainingConfig(
        epochs=20, batch_rows=60, rate=0.05, weight_decay=0.1, clip=clip, average=0.9, seed=0
    )
    ours, theirs = Words(dropout=0.0), Words(dropout=0.0)
    optimiser = ours.optimiser(recipe, 20)
    averages = None
    for number, right in enumerate(by_torch(theirs, recipe, 20, decay=0.1), start=1):
        loop._step(ours, optimiser, ours.rows, recipe)
        for mine, other in zip(
            (ours.table.weight, ours.layer.weight, ours.layer.bias), right, strict=True
        ):
            torch.testing.assert_close(mine.detach(), other, rtol=2e-4, atol=2e-5)
        if averages is None:
            averages = [ours.start.clone(), Words().layer.weight.clone()]
        decay = min(0.9, (1 + number) / (10 + number))
        averages = [old.lerp(new, 1 - decay) for old, new in zip(averages, right[:2], strict=True)]
    kept = optimiser.weights()
    torch.testing.assert_close(kept["table.0"], averages[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(kept["weight.0"], averages[1].detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("average", [0.0, 0.99])
def test_rows_go_where_adam_over_the_whole_table_would_take_them(average):
    steps = 500
    recipe = TrainingConfig(epochs=1, batch_rows=1, rate=0.01, average=average)
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(40, 4)) + rng.normal(size=(steps, 40, 4))
    pulls = torch.from_numpy(drawn).float()
    # Of 40 rows some are used in every other step, some every hundred steps, one in the first
    # half alone, and one never.
    uses = rng.random((steps, 40)) < np.geomspace(0.5, 0.01, 40)
    uses[steps // 2 :, 10] = False
    uses[:, 20] = False
    table = SparseEmbedding(torch.ones(40, 4), torch.float32, averaged=bool(average))
    optimiser = Optimiser([], [table], recipe, steps)
    right = torch.ones(40, 4, requires_grad=True)
    adam = torch.optim.Adam([right], lr=recipe.rate, betas=(0.9, 0.999), eps=1e-8)
    mean = torch.ones(40, 4)
    for step in range(steps):
        ids = torch.from_numpy(uses[step].nonzero()[0])
        table.open(ids)
        torch.testing.assert_close(table.rows, right[ids].detach(), rtol=0, atol=1e-4)
        optimiser.add([0.01 * pulls[step][ids]])
        optimiser.step()
        right.grad = torch.zeros(40, 4)
        right.grad[ids] = 0.01 * pulls[step][ids]
        adam.param_groups[0]["lr"] = recipe.rate * rate_at(step, steps, recipe.warm_up)
        adam.step()
        mean.lerp_(right.detach(), 1 - min(average, (2 + step) / (11 + step)))
    kept = optimiser.weights()["table.0"]
    torch.testing.assert_close(table.weight, right.detach(), rtol=0, atol=1e-4)
    assert (table.weight - 1).abs().max() > 0.3
    # What an average lags behind by, while a row goes on, is left out.
    torch.testing.assert_close(kept, mean, rtol=0, atol=0.02)
    assert (kept[20] == 1).all()


def test_a_network_in_bfloat16_keeps_steps_that_its_own_numbers_would_lose():
    layer = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.ones_(layer.weight)
    layer.to(torch.bfloat16)
    recipe = TrainingConfig(epochs=1, batch_rows=1, rate=1e-4, warm_up=0.0, weight_decay=0.0)
    optimiser = Optimiser([ParameterGroup((layer.weight,))], [], recipe, 10**6)
    for _ in range(100):
        out = layer(torch.ones(1, 1, dtype=torch.bfloat16)).sum()
        optimiser.add(torch.autograd.grad(out, optimiser.leaves))
        optimiser.step()
    # A hundred steps of 1e-4, each far below the 1/256 that bfloat16 tells from 1.
    assert layer.weight.item() == pytest.approx(0.99, abs=0.003)
    optimiser.finish(optimiser.weights())
    assert layer.weight.dtype == torch.float32
    assert layer.weight.item() == pytest.approx(0.99, abs=1e-4)


def test_matrices_decay_and_vectors_do_not():
    layer = torch.nn.Linear(2, 2)
    frozen = torch.nn.Linear(2, 2)
    frozen.requires_grad_(False)
    groups = grouped(torch.nn.Sequential(layer, frozen), 0.5)
    assert [(group.parameters, group.factor, group.decay) for group in groups] == [
        ((layer.weight,), 0.5, True),
        ((layer.bias,), 0.5, False),
    ]


# -- the loop -------------------------------------------------------------------------------------


def test_it_learns():
    task = Words(dropout=0.0)
    told = []
    recipe = TrainingConfig(epochs=40, batch_rows=8, rate=0.05, average=0.9)
    history = fit(task, recipe, watch=Watch(epoch=told.append))
    assert task.score() == max(epoch.score for epoch in history.epochs) == 1.0
    assert history.epochs == tuple(told)
    assert history.epochs[-1].loss < 0.1 * history.epochs[0].loss
    assert history.rows == 40 * 60


def test_every_epoch_goes_through_all_rows_in_another_order():
    task, seen = Words(), []
    fit(task, RECIPE, watch=Watch(seen.append))
    assert sum(seen) == 180
    assert max(seen) == 8
    orders = np.concatenate([rows for rows, _ in task.batches]).reshape(3, 60)
    assert (np.sort(orders, axis=1) == np.arange(60)).all()
    assert len({tuple(order) for order in orders}) == 3
    again = Words()
    fit(again, RECIPE)
    np.testing.assert_array_equal(
        np.concatenate([rows for rows, _ in again.batches]), orders.flatten()
    )


def test_the_best_weights_are_kept_and_patience_ends():
    task = Words(scores=[0.2, 0.6, 0.5, 0.6, 0.9])
    recipe = TrainingConfig(epochs=9, batch_rows=60, rate=0.05, patience=2)
    history = fit(task, recipe)
    assert [epoch.score for epoch in history.epochs] == [0.2, 0.6, 0.5, 0.6]
    assert history.best == 1
    # The schedule is that of nine epochs in both, but only the first two count.
    shorter = Words(scores=[0.2, 0.6, 0.1, 0.1])
    fit(shorter, recipe)
    assert same(task, shorter)


def test_without_a_score_the_last_weights_are_kept():
    nan = float("nan")
    task = Words(scores=[nan] * 3)
    history = fit(task, TrainingConfig(epochs=3, batch_rows=8, rate=0.05, patience=1))
    assert (history.best, len(history.epochs)) == (2, 3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("stop_after", [1, 7, 8, 9, 15, 20])
def test_a_run_that_was_killed_ends_as_one_that_was_not(monkeypatch, dtype, stop_after):
    monkeypatch.setattr(loop, "SECONDS_BETWEEN_CHECKPOINTS", -1.0)
    recipe = TrainingConfig(epochs=3, batch_rows=8, rate=0.05, average=0.9)
    whole = Words(dtype=dtype)
    expected = fit(whole, recipe)
    checkpoint = Checkpoint({"task": "words"})

    done = []

    def killed(rows):
        done.append(rows)
        if len(done) == stop_after:
            raise KeyboardInterrupt

    first = Words(dtype=dtype)
    with pytest.raises(KeyboardInterrupt):
        fit(first, recipe, checkpoint=checkpoint, watch=Watch(killed))
    second, seen = Words(dtype=dtype), []
    history = fit(second, recipe, checkpoint=checkpoint, watch=Watch(seen.append, seen.append))
    assert same(whole, second)
    assert [(epoch.loss, epoch.score) for epoch in history.epochs] == [
        (epoch.loss, epoch.score) for epoch in expected.epochs
    ]
    assert history.best == expected.best
    assert sum(seen) == 180
    # The batch that was under way is done again, none before it.
    assert len(second.batches) == 24 - (stop_after - 1)
    assert not checkpoint.path.exists()


def test_a_checkpoint_of_another_training_or_a_damaged_one_is_not_taken(tmp_path):
    ours, other = Checkpoint({"rate": 1}), Checkpoint({"rate": 2})
    assert ours.path != other.path
    ours.write({"epoch": 1}, 5, {"state.a": torch.arange(3)})
    found = ours.read()
    assert (found.told, found.step) == ({"epoch": 1}, 5)
    assert found.part("state")["a"].tolist() == [0, 1, 2]
    assert other.read() is None
    ours.path.write_bytes(ours.path.read_bytes()[:20])
    assert ours.read() is None
    ours.delete()
    assert list((tmp_path / "cache" / "training").iterdir()) == []


def test_a_batch_without_anything_to_learn_changes_nothing():
    class Silent(Words):
        def parts(self, rows, rng):
            super().parts(rows, rng)
            return []

    task = Silent()
    before = [task.start.clone(), task.layer.weight.detach().clone()]
    fit(task, TrainingConfig(epochs=1, batch_rows=30, rate=0.1, weight_decay=0.0, average=0.9))
    assert torch.equal(task.table.weight, before[0])
    assert torch.equal(task.layer.weight, before[1])


# -- losses ---------------------------------------------------------------------------------------

LABELS = np.array([0] * 90 + [1] * 9 + [2])


def test_plain_loss_is_cross_entropy_with_smoothing():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    loss = ClassLoss.of(LABELS, 3, Balance.NONE, 0.2)(logits, labels)
    logs = logits.log_softmax(dim=1)
    spread = 0.8 * logs[range(5), labels] + 0.2 * logs.mean(dim=1)
    torch.testing.assert_close(loss, -spread.mean())


def test_weights_raise_rare_classes_and_keep_the_mean():
    loss = ClassLoss.of(LABELS, 3, Balance.WEIGHTS)
    ratio = loss.weights / loss.weights[0]
    torch.testing.assert_close(ratio, torch.tensor([1.0, math.sqrt(10), math.sqrt(90)]))
    assert float(loss.weights[LABELS].mean()) == pytest.approx(1)
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 2])
    expected = math.log(3) * float(loss.weights[0] + loss.weights[2]) / 2
    assert float(loss(logits, labels)) == pytest.approx(expected, rel=1e-5)


def test_prior_shifts_logits_by_the_logarithm_of_the_share():
    loss = ClassLoss.of(LABELS, 4, Balance.PRIOR)
    shift = torch.log(torch.tensor([0.90, 0.09, 0.01, 0.01]))
    torch.testing.assert_close(loss.shift, shift)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 0, 1, 2])
    torch.testing.assert_close(
        loss(logits, labels), torch.nn.functional.cross_entropy(logits + shift, labels)
    )


# -- dropout --------------------------------------------------------------------------------------


def test_dropout_drops_its_share_and_keeps_the_mean():
    dropout, x = Dropout(0.25), torch.ones(200, 500)
    with drawing(1, 2):
        first, second = dropout(x), dropout(x)
    with drawing(1, 2):
        torch.testing.assert_close(dropout(x), first)
    with drawing(1, 3):
        assert not torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert float((first == 0).float().mean()) == pytest.approx(0.25, abs=0.01)
    assert set(first.unique().tolist()) == {0.0, float(torch.tensor(4 / 3))}
    assert torch.equal(dropout.eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_a_network_gets_quick_dropout_in_all_its_depth():
    inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.2))
    network = torch.nn.Sequential(torch.nn.Dropout(0.1), inner).eval()
    with_quick_dropout(network)
    found = [part.p for part in network.modules() if isinstance(part, Dropout)]
    assert found == [0.1, 0.2]
    assert not any(isinstance(part, torch.nn.Dropout) for part in network.modules())
