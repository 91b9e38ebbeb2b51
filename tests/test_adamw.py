"""Gradients and optimisers of heads give torch's own numbers."""

import numpy as np
import pytest
import torch

from vitrina.classifier.card import HeadShape
from vitrina.classifier.gradients import loss_gradients
from vitrina.classifier.heads import Head
from vitrina.training.adamw import FusedAdamW, PlainLBFGS
from vitrina.training.config import rate_at
from vitrina.training.dropout import Dropout, drawing
from vitrina.training.loss import ClassLoss
from vitrina.types import Balance, HeadKind


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.GELU(), torch.nn.Linear(16, 3))


def loss_of(network, step=0):
    made = torch.Generator().manual_seed(step)
    inputs = torch.randn(20, 6, generator=made)
    labels = torch.randint(0, 3, (20,), generator=made)
    return torch.nn.functional.cross_entropy(network(inputs), labels)


def test_adamw_takes_the_steps_of_torch():
    ours, theirs = network(), network()
    optimiser = FusedAdamW(ours.parameters(), 0.05)
    other = torch.optim.AdamW(theirs.parameters(), lr=2e-3, weight_decay=0.05, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(other, lambda step: rate_at(step, 30))
    for step in range(30):
        gradients = [*torch.autograd.grad(loss_of(ours, step), [*ours.parameters()])]
        optimiser.step(gradients, 2e-3 * rate_at(step, 30))
        other.zero_grad()
        loss_of(theirs, step).backward()
        other.step()
        schedule.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(next(ours.parameters()), next(network().parameters()))


@pytest.mark.parametrize("kind", HeadKind)
@pytest.mark.parametrize("dims", [(24,), (24, 7)])
@pytest.mark.parametrize("balance", Balance)
@pytest.mark.parametrize("dropout", [0.3, 0.0])
def test_gradients_are_those_of_autograd(kind, dims, balance, dropout):
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    head = Head(HeadShape(kind, dims, (1.0,) * len(dims), 5, 40, dropout=dropout)).train()
    vectors = [torch.from_numpy(rng.standard_normal((9, dim), np.float32)) for dim in dims]
    present = [torch.from_numpy(rng.integers(0, 2, 9).astype(np.float32)) for _ in dims]
    labels = np.append(np.zeros(5, np.int64), rng.integers(0, 5, 4))
    loss_of = ClassLoss.of(labels, 5, balance)
    with drawing(1, 2):
        loss_of(head(vectors, present), torch.from_numpy(labels)).backward()
    inputs = head.inputs(vectors, present)
    with drawing(1, 2):
        found = loss_gradients(head.layers, inputs, torch.from_numpy(labels), loss_of)
    for one, gradient in zip(head.parameters(), found, strict=True):
        assert torch.equal(one.grad, gradient)


def test_the_gradient_of_a_smoothed_loss():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 0, 0])
    loss_of = ClassLoss.of(labels.numpy(), 4, Balance.WEIGHTS, smoothing=0.1)
    loss_of(logits, labels).backward()
    assert torch.allclose(loss_of.gradient(logits.detach(), labels), logits.grad, atol=1e-7)


def test_lbfgs_takes_the_steps_of_torch():
    found = []
    for kind in (PlainLBFGS, torch.optim.LBFGS):
        made = network()
        optimiser = kind(made.parameters(), max_iter=15, line_search_fn="strong_wolfe")

        def closure(made=made):
            for one in made.parameters():
                one.grad = None
            loss = loss_of(made)
            loss.backward()
            return loss

        optimiser.step(closure)
        found.append(torch.nn.utils.parameters_to_vector(made.parameters()))
    assert torch.equal(*found)


def test_dropout_keeps_the_expectation_and_is_drawn_anew():
    layer = Dropout(0.3).train()
    x = torch.ones(64, 512)
    with drawing(1, 2):
        first, second = layer(x), layer(x)
    with drawing(1, 2):
        again = layer(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    share = round(256 * 0.3) / 256
    assert set(np.unique(first.numpy())) == {np.float32(0), np.float32(1 / (1 - share))}
    assert abs(float(first.mean()) - 1) < 0.02
    with drawing(1, 2):
        assert layer(x.bfloat16()).dtype is torch.bfloat16
    assert torch.equal(layer.eval()(x), x)
