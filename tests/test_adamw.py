"""Optimisers of heads give torch's own numbers."""

import numpy as np
import torch

from vitrina.training.adamw import FusedAdamW, PlainLBFGS
from vitrina.training.config import rate_at
from vitrina.training.dropout import Dropout, drawing


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
        loss_of(ours, step).backward()
        optimiser.step(2e-3 * rate_at(step, 30))
        other.zero_grad()
        loss_of(theirs, step).backward()
        other.step()
        schedule.step()
    assert all(one.grad is None for one in ours.parameters())
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(next(ours.parameters()), next(network().parameters()))


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
