"""Record a short run that ends with the weights it was given: an example of a history.

Methods that read histories are tried on a model whose training nobody recorded. So a copy is
trained for an epoch, and its state is put back after the last step, unseen by torch, as if the run
had ended there.
"""

from copy import deepcopy
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD

from expunge.batching import Batches
from expunge.history.heading import Gradients
from expunge.recording.tape import record
from expunge.splitting import Data, Part
from expunge.tasks import Task


def pretended(  # noqa: PLR0913 - a training run in one line has this many parts
    model: nn.Module,
    data: Data,
    task: Task,
    to: Path,
    *,
    batch: int = 23,
    lr: float = 0.01,
    momentum: float = 0.0,
    gradients: Gradients = "none",
    shrunk: float = 1.0,
    mode: bool = True,
) -> Path:
    """An epoch of SGD, recorded in a folder; it begins where weights are so much smaller.

    Without the mode of training, BatchNorm and dropout stand still in it.
    """
    run, state = deepcopy(model).train(mode), deepcopy(model.state_dict())
    learning = [p for p in run.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter in learning:
            parameter.mul_(shrunk)
    optimizer = SGD(learning, lr=lr, momentum=momentum)
    with record(run, optimizer, to=to, keep=11, gradients=gradients) as tape:
        for some in tape.watch(Batches(Part.whole(data), batch)):
            optimizer.zero_grad()
            task.loss(run, some).mean().backward()
            optimizer.step()
        for name, value in run.state_dict(keep_vars=True).items():
            value.data.copy_(state[name])
    return to
