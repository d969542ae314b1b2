"""Three small models, the plain loops that train them, and the histories that those leave."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset, TensorDataset

from expunge import Classification, Regression, Request, Samples, split
from expunge.methods.mini import Mini
from expunge.recording import record
from expunge.unlearning import unlearn

N, D, C, L2 = 110, 5, 3, 0.05
GONE = (3, 5, 8, 13, 21, 34, 55, 89)
MANY = tuple(range(0, N, 2))


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def blobs(dtype=torch.double):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(N, D, generator=generator).to(dtype)
    noise = 0.5 * torch.randn(N, C, generator=generator).to(dtype)
    return TensorDataset(
        x, (x @ torch.randn(D, C, generator=generator).to(dtype) + noise).argmax(1)
    )


def lines():
    """Numbers for ridge regression."""
    x, _ = blobs().tensors
    generator = torch.Generator().manual_seed(1)
    return TensorDataset(x, x[:, :1] - 2 * x[:, 1:2] + torch.randn(N, 1, generator=generator))


@dataclass(frozen=True)
class Run:
    """How a model was trained; anybody can train it again."""

    data: Dataset
    build: object
    loss: object = F.cross_entropy
    optimizer: object = lambda p: SGD(p, lr=0.4, weight_decay=L2)
    batch: int = 25
    epochs: int = 12

    size, decay, gone, many = N, L2, GONE, MANY

    def order(self):
        generator = torch.Generator().manual_seed(2)
        for _ in range(self.epochs):
            yield from torch.randperm(N, generator=generator).split(self.batch)

    def fresh(self):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = self.build()
        return model, self.optimizer([*model.parameters()])

    def again(self, gone=GONE, chunks=1, start=None, first=0, each=None):
        """The oracle: a plain loop without the forgotten samples."""
        model, optimizer = start or self.fresh()
        for at, ids in enumerate([*self.order()][first:]):
            if each is not None:
                each(model, at)
            stays = [
                part[~torch.isin(part, torch.tensor(gone))] for part in ids.tensor_split(chunks)
            ]
            total = sum(map(len, stays))
            if not total:
                continue
            optimizer.zero_grad()
            for some in filter(len, stays):
                x, y = (t[some] for t in self.data.tensors)
                (self.loss(model(x), y) * (len(some) / total)).backward()
            optimizer.step()
        return model.eval()

    def recorded(self, folder, chunks=1, each=None, **settings):
        """Train on everybody with a tape; only the two lines of it differ from any loop."""
        model, optimizer = self.fresh()
        parts = [part.tolist() for ids in self.order() for part in ids.tensor_split(chunks)]
        loader = DataLoader(self.data, batch_sampler=parts)
        with record(model, optimizer, to=folder, **{"keep": 1000, **settings}) as tape:
            for done, (x, y) in enumerate(tape.watch(loader), 1):
                if each is not None:
                    each(model, done - 1)
                (self.loss(model(x), y) / chunks).backward()
                if done % chunks == 0:
                    optimizer.step()
                    optimizer.zero_grad()
        return Recorded(self, model.eval(), folder)


@dataclass(frozen=True)
class Recorded:
    """A model that was trained with a tape, and the history that the tape left."""

    run: Run
    model: nn.Module
    folder: Path

    def unlearned(self, gone=GONE, *, request=None, seed=0, **settings):
        """The outcome of Mini with these settings."""
        request = Request(Samples(tuple(gone))) if request is None else request
        parts = split(self.run.data, request, test=self.run.data)
        task = Regression() if self.run.loss is F.mse_loss else Classification()
        return unlearn(self.model, parts, Mini(self.folder, **settings), task=task, seed=seed)


def network(*middle):
    return nn.Sequential(nn.Linear(D, 7), *middle, nn.ReLU(), nn.Linear(7, C))


@pytest.fixture(scope="session")
def logistic(tmp_path_factory):
    run = Run(blobs(), lambda: nn.Linear(D, C).double())
    return run.recorded(tmp_path_factory.mktemp("logistic") / "history", gradients="fp32")


@pytest.fixture(scope="session")
def ridge(tmp_path_factory):
    run = Run(
        lines(), lambda: nn.Linear(D, 1).double(), F.mse_loss,
        lambda p: SGD(p, 0.1, weight_decay=L2),
    )  # fmt: skip
    return run.recorded(tmp_path_factory.mktemp("ridge") / "history", gradients="fp32")


@pytest.fixture(scope="session")
def deep(tmp_path_factory):
    run = Run(blobs(torch.float), network, optimizer=lambda p: SGD(p, 0.1, momentum=0.9))
    return run.recorded(tmp_path_factory.mktemp("deep") / "history", keep=10)


@pytest.fixture(params=[GONE, MANY], ids=["few", "many"])
def gone(request):
    """Samples to be forgotten."""
    return request.param


def _flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def _apart(a, b):
    return (_flat(a) - _flat(b)).norm().item()


def _same(a, b):
    return all(torch.equal(v, b.state_dict()[n]) for n, v in a.state_dict().items())


def _told(outcome, text):
    return any(text in note for note in outcome.notes)


@pytest.fixture(scope="session")
def flat():
    """All weights of a model, end to end."""
    return _flat


@pytest.fixture(scope="session")
def apart():
    """How far the weights of two models are apart."""
    return _apart


@pytest.fixture(scope="session")
def same():
    """Whether two models agree bit for bit."""
    return _same


@pytest.fixture(scope="session")
def told():
    """Whether a note of an outcome says this."""
    return _told
