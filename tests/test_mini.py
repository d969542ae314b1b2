"""Mini-Unlearning: replay is retraining, what is carried is replay, and nothing is hidden."""

import copy
from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader, Dataset, TensorDataset

from expunge import Classes, Classification, Regression, Request, Samples, split
from expunge.algebra.noise import analytic_sigma
from expunge.errors import BadSetting, CannotRead, HistoryDoesNotFit
from expunge.fitting import Fit
from expunge.history import History
from expunge.methods.mini import Mini
from expunge.recording import record
from expunge.unlearning import seeded, unlearn

N, D, C, L2 = 110, 5, 3, 0.05
GONE = (3, 5, 8, 13, 21, 34, 55, 89)
MANY = tuple(range(0, N, 2))


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

    def order(self):
        generator = torch.Generator().manual_seed(2)
        for _ in range(self.epochs):
            yield from torch.randperm(N, generator=generator).split(self.batch)

    def fresh(self):
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = self.build()
        return model, self.optimizer([*model.parameters()])

    def again(self, gone, chunks=1, start=None, first=0):
        """The oracle: a plain loop without the forgotten samples."""
        model, optimizer = start or self.fresh()
        for ids in [*self.order()][first:]:
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

    def recorded(self, folder, chunks=1, **settings):
        """Train on everybody with a tape; only the two lines of it differ from any loop."""
        model, optimizer = self.fresh()
        parts = [part.tolist() for ids in self.order() for part in ids.tensor_split(chunks)]
        loader = DataLoader(self.data, batch_sampler=parts)
        with record(model, optimizer, to=folder, **{"keep": 1000, **settings}) as tape:
            for done, (x, y) in enumerate(tape.watch(loader), 1):
                (self.loss(model(x), y) / chunks).backward()
                if done % chunks == 0:
                    optimizer.step()
                    optimizer.zero_grad()
        return model.eval()


LOGISTIC = Run(blobs(), lambda: nn.Linear(D, C).double())
RIDGE = Run(
    lines(), lambda: nn.Linear(D, 1).double(), F.mse_loss, lambda p: SGD(p, 0.1, weight_decay=L2)
)


def network(*middle):
    return nn.Sequential(nn.Linear(D, 7), *middle, nn.ReLU(), nn.Linear(7, C))


DEEP = Run(blobs(torch.float), network, optimizer=lambda p: SGD(p, 0.1, momentum=0.9))


def parts(run, gone=GONE, **given):
    return split(run.data, Request(Samples(tuple(gone))), test=run.data, **given)


def forgotten(run, model, method, gone=GONE, **given):
    task = Regression() if run.loss is F.mse_loss else Classification()
    return unlearn(model, parts(run, gone), method, task=task, **given)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def apart(a, b):
    return (flat(a) - flat(b)).norm().item()


def same(a, b):
    return all(torch.equal(v, b.state_dict()[n]) for n, v in a.state_dict().items())


def told(outcome, text):
    return any(text in note for note in outcome.notes)


@pytest.fixture(scope="module")
def logistic(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logistic") / "history"
    return LOGISTIC.recorded(folder, gradients="fp32"), folder


@pytest.fixture(scope="module")
def ridge(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ridge") / "history"
    return RIDGE.recorded(folder, gradients="fp32"), folder


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deep") / "history"
    return DEEP.recorded(folder, keep=10), folder


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: SGD(p, 0.1),
        lambda p: SGD(p, 0.05, momentum=0.8, nesterov=True, weight_decay=0.01),
        lambda p: SGD([{"params": p[:1], "lr": 0.01}, {"params": p[1:]}], 0.1, momentum=0.5),
        lambda p: AdamW(p, 0.01, betas=(0.8, 0.9), weight_decay=0.1),
    ],
    ids=["plain", "nesterov", "groups", "adamw"],
)
def test_replay_of_the_whole_run_is_retraining_bit_for_bit(tmp_path, optimizer):
    run = replace(DEEP, optimizer=optimizer)
    model = run.recorded(tmp_path / "history")
    outcome = forgotten(run, model, Mini(tmp_path / "history"))
    assert same(outcome.after, run.again(GONE))
    assert apart(outcome.after, model) > 0.01
    assert told(outcome, "mode replay: ")


def test_replay_follows_accumulated_gradients_bit_for_bit(tmp_path):
    model = DEEP.recorded(tmp_path / "history", chunks=2)
    after = forgotten(DEEP, model, Mini(tmp_path / "history"), MANY).after
    assert same(after, DEEP.again(MANY, chunks=2))


def test_replay_of_fit_has_the_same_draws_of_augmentation(tmp_path):
    def noisy(batch):
        x, y = batch
        return x + 0.3 * torch.randn_like(x), y

    def shuffled(keep):
        """Fit, but for what it learns from."""
        model = network()
        optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, fused=True)
        for _ in range(3):
            for ids in torch.randperm(N).tensor_split(5):
                x, y = noisy([t[ids] for t in DEEP.data.tensors])
                stays = ~torch.isin(ids, torch.tensor(keep))
                optimizer.zero_grad()
                F.cross_entropy(model(x[stays]), y[stays]).backward()
                optimizer.step()
        return model

    fit = Fit(3, batch=22, schedule="constant", augment=noisy, record=tmp_path / "history")
    with seeded(4):
        model = fit(network(), DEEP.data)
    with seeded(4):
        wanted = shuffled(GONE)
    mini = Mini(tmp_path / "history", augment=noisy)
    assert same(forgotten(DEEP, model, mini).after, wanted)


class Spied(Dataset):
    """A dataset that remembers who was read."""

    def __init__(self, data):
        self.data, self.read = data, set()

    def __len__(self):
        return len(self.data)

    def __getitem__(self, at):
        self.read.add(int(at))
        return self.data[at]


@pytest.mark.parametrize("augment", [None, lambda batch: batch], ids=["plain", "augmented"])
def test_replay_reads_no_forgotten_sample(deep, augment):
    model, folder = deep
    spied = Spied(DEEP.data)
    cut = split(spied, Request(Samples(GONE)), test=DEEP.data)
    unlearn(model, cut, Mini(folder, augment=augment), task=Classification())
    assert spied.read == set(range(N)) - set(GONE)


def test_a_replay_begins_where_a_start_was_kept(deep):
    model, folder = deep
    history = History.open(folder)
    outcome = forgotten(DEEP, model, Mini(folder, window=5))
    first, end = max(s for s in history.starts if s <= 55), 60
    assert told(outcome, f"window: the last {end - first} of {end} steps (where a start was kept)")
    assert len(outcome.traces["loss"]) == end - first
    model, optimizer = DEEP.fresh()
    start = history.start(first)
    model.load_state_dict(start.model)
    optimizer.load_state_dict(start.optimizer)
    assert same(outcome.after, DEEP.again(GONE, start=(model, optimizer), first=first))


def test_a_step_of_which_nothing_stays_is_left_out(tmp_path):
    run = replace(DEEP, batch=4)
    gone = tuple({i for ids in [*run.order()][3:30:9] for i in ids.tolist()})
    model = run.recorded(tmp_path / "history")
    outcome = forgotten(run, model, Mini(tmp_path / "history"), gone)
    assert same(outcome.after, run.again(gone))
    assert told(outcome, "steps were left out: too little stays")


def normalised(folder):
    run = replace(DEEP, build=lambda: network(nn.BatchNorm1d(7)))
    return run, run.recorded(folder)


def test_statistics_of_a_replay_are_those_of_retained_samples_alone(tmp_path):
    run, model = normalised(tmp_path / "history")
    after = forgotten(run, model, Mini(tmp_path / "history")).after
    kept = torch.tensor(sorted(set(range(N)) - set(GONE)))
    said = after[0](run.data.tensors[0][kept])
    torch.testing.assert_close(after[1].running_mean, said.mean(0), rtol=0.02, atol=0.02)
    torch.testing.assert_close(after[1].running_var, said.var(0), rtol=0.3, atol=0.02)


def test_statistics_that_training_left_alone_stay_as_they_are(tmp_path):
    def frozen():
        model = network(nn.BatchNorm1d(7))
        model[1].eval()
        return model

    run = replace(DEEP, build=frozen)
    model = run.recorded(tmp_path / "history")
    outcome = forgotten(run, model, Mini(tmp_path / "history"))
    assert same(outcome.after, run.again(GONE))


def test_a_batch_of_one_cannot_be_normalised_and_is_left_out(tmp_path):
    run, model = normalised(tmp_path / "history")
    ids = [*run.order()][2].tolist()
    outcome = forgotten(run, model, Mini(tmp_path / "history"), ids[1:])
    assert told(outcome, "1 steps were left out")


@pytest.mark.parametrize("window", [4, 60])
@pytest.mark.parametrize("gone", [GONE, MANY], ids=["few", "many"])
def test_on_ridge_what_is_carried_is_what_a_replay_finds(ridge, window, gone):
    """A replay from the model that the path goes through; gradients were rounded to fp32."""
    model, folder = ridge
    outcome = forgotten(RIDGE, model, Mini(folder, "linear", window, tail=False, polish=0), gone)
    wanted = _from_middle(gone, 60 - window)
    assert apart(outcome.after, wanted) < 1e-6
    assert apart(model, wanted) > 1e-3


def _from_middle(gone, first):
    model, optimizer = RIDGE.fresh()
    for ids in [*RIDGE.order()][:first]:
        optimizer.zero_grad()
        x, y = (t[ids] for t in RIDGE.data.tensors)
        F.mse_loss(model(x), y).backward()
        optimizer.step()
    return RIDGE.again(gone, start=(model, optimizer), first=first)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ({"mode": "linear"}, 2e-3),
        ({"mode": "linear", "curvature": "ggn"}, 2e-3),
        ({"mode": "linear", "curvature": "hessian"}, 0.1),
        ({"mode": "linear", "curvature": "lbfgs"}, 0.7),
        ({"mode": "delta"}, 0.7),
    ],
    ids=str,
)
def test_every_curvature_comes_as_near_to_retraining_as_it_can(logistic, settings, most):
    model, folder = logistic
    wanted = LOGISTIC.again(GONE)
    after = forgotten(LOGISTIC, model, Mini(folder, polish=0, tail=False, **settings)).after
    assert apart(after, wanted) < most * apart(model, wanted)


def test_gradients_that_are_only_added_back_are_a_warning(logistic):
    model, folder = logistic
    wanted = LOGISTIC.again(GONE)
    outcome = forgotten(LOGISTIC, model, Mini(folder, "none"))
    assert apart(outcome.after, wanted) > 2 * apart(model, wanted)
    assert told(outcome, "worse than doing nothing")


def test_a_tail_stands_for_what_lies_before_the_window(tmp_path):
    run = replace(RIDGE, batch=N, epochs=50, optimizer=lambda p: SGD(p, 0.2, weight_decay=L2))
    model = run.recorded(tmp_path / "history", keep=3, gradients="fp32")
    wanted, short = run.again(GONE), Mini(tmp_path / "history", "linear", window=3, polish=0)
    with_tail, without = (
        apart(forgotten(run, model, replace(short, tail=tail)).after, wanted)
        for tail in (True, False)
    )
    assert with_tail < 1e-5 < 0.01 * without


def test_workers_find_what_one_process_finds(logistic):
    model, folder = logistic
    for gone in (GONE, MANY):
        alone, together = (
            forgotten(LOGISTIC, model, Mini(folder, "linear", polish=0, workers=count), gone)
            for count in (1, 3)
        )
        assert apart(alone.after, together.after) < 1e-12
        assert alone.notes == together.notes


def test_gradients_in_bf16_lead_almost_to_the_same_place(logistic, tmp_path):
    model, folder = logistic
    LOGISTIC.recorded(tmp_path / "history", gradients="bf16")
    fine, coarse = (
        forgotten(LOGISTIC, model, Mini(where, "linear", polish=0, tail=False)).after
        for where in (folder, tmp_path / "history")
    )
    assert 0 < apart(fine, coarse) < 0.02 * apart(fine, model)


def optimum(kept):
    """Where the retained loss is least, by Newton's method of torch's own."""
    model = nn.Linear(D, C).double()
    x, y = (t[kept] for t in LOGISTIC.data.tensors)
    finder = torch.optim.LBFGS(model.parameters(), 1, 200, tolerance_grad=1e-12, tolerance_change=0)

    def closure():
        finder.zero_grad()
        loss = F.cross_entropy(model(x), y) + L2 / 2 * sum(
            p.square().sum() for p in model.parameters()
        )
        loss.backward()
        return loss

    finder.step(closure)
    return model


@pytest.mark.parametrize(
    "settings", [{}, {"mode": "replay"}, {"mode": "delta"}, {"subsample": 40}], ids=str
)
@pytest.mark.parametrize("gone", [GONE, MANY], ids=["few", "many"])
def test_polish_ends_within_the_certificate_of_the_retrained_optimum(logistic, settings, gone):
    model, folder = logistic
    outcome = forgotten(LOGISTIC, model, Mini(folder, **settings), gone)
    best = optimum(sorted(set(range(N)) - set(gone)))
    trace = [value for _, value in outcome.traces["certificate"]]
    assert apart(outcome.after, best) <= trace[-1] <= 0.01 * trace[0]
    assert apart(model, best) <= trace[0]
    assert told(outcome, f"the retrained optimum is at most {trace[-1]:.3g} away")


def test_a_certificate_that_was_not_reached_is_told(logistic):
    model, folder = logistic
    outcome = forgotten(LOGISTIC, model, Mini(folder, "linear", polish=0))
    assert told(outcome, "0 steps of polish did not reach a certificate of ")


def test_the_window_is_as_long_as_the_bound_asks(logistic):
    model, folder = logistic
    outcome = forgotten(LOGISTIC, model, Mini(folder, tolerance=0.6))
    count = next(k for k in range(1, 61) if (1 - 0.4 * L2) ** k <= 0.6)
    assert told(outcome, f"window: the last {count} of 60 steps (as many as the bound asks)")
    assert told(outcome, "it stays in the model")
    short = forgotten(LOGISTIC, model, Mini(folder, tolerance=0.01))
    assert told(short, "window: the last 60 of 60 steps (the bound asks for more)")
    assert told(short, "a tail stands for it")


def test_auto_mode_follows_model_and_share_and_says_why(logistic, deep, tmp_path):
    model, folder = logistic
    assert told(forgotten(LOGISTIC, model, Mini(folder)), "mode linear: the model is convex")
    many = forgotten(LOGISTIC, model, Mini(folder), MANY)
    assert told(many, "mode replay: 50% of the samples leave")
    assert told(forgotten(DEEP, *deep_of(deep)), "mode replay: the history keeps no gradients")
    kept = DEEP.recorded(tmp_path / "history", gradients="fp32")
    outcome = forgotten(DEEP, kept, Mini(tmp_path / "history"))
    assert told(outcome, "mode replay: the model is not convex in its parameters")
    assert told(outcome, "no certificate exists: the model is not convex")


def deep_of(deep):
    model, folder = deep
    return model, Mini(folder)


def test_steps_that_do_not_contract_are_said_aloud(tmp_path):
    run = replace(RIDGE, optimizer=lambda p: SGD(p, 1.6, weight_decay=L2), epochs=2)
    model = run.recorded(tmp_path / "history", gradients="fp32")
    outcome = forgotten(run, model, Mini(tmp_path / "history", "linear", tail=False, polish=0))
    assert told(outcome, "the steps did not contract")
    assert max(value for _, value in outcome.traces["contraction"]) > 1


def test_traces_tell_of_every_step(logistic):
    model, folder = logistic
    traces = forgotten(LOGISTIC, model, Mini(folder, "linear", tail=False, polish=0)).traces
    assert [step for step, _ in traces["displacement"]] == list(range(60))
    assert all(0 < factor < 1 for _, factor in traces["contraction"])


def test_noise_hides_the_declared_distance_and_never_a_measured_one(logistic):
    model, folder = logistic
    mini = Mini(folder, radius=0.01, epsilon=1.0)
    first, again = (forgotten(LOGISTIC, model, mini, seed=7) for _ in range(2))
    assert not same(first.after, again.after)
    sigma = analytic_sigma(0.02, epsilon=1.0, delta=1e-5)
    assert told(first, f"noise of sigma {sigma:.3g} on every number")
    assert told(first, "assumption_declared: (1.0, 1e-05)")
    spread = (flat(first.after) - flat(again.after)).std().item()
    assert spread == pytest.approx(sigma * 2**0.5, rel=0.5)


def test_noise_without_its_certificate_is_called_no_guarantee(logistic):
    model, folder = logistic
    outcome = forgotten(LOGISTIC, model, Mini(folder, radius=1e-7, epsilon=1.0, polish=0))
    assert told(outcome, "heuristic noise, no guarantee")
    assert not told(outcome, "assumption_declared")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"epsilon": 1.0}, "declared beforehand, and none was"),
        ({"epsilon": 0.0, "radius": 0.1}, "epsilon is 0"),
        ({"epsilon": 1.0, "radius": 0.1, "delta": 1.0}, "delta 1.0"),
        ({"epsilon": 1.0, "radius": 0.1}, "can promise nothing: the model is not convex"),
        ({"window": 0}, "must be positive"),
        ({"tail": True, "mode": "replay"}, "reads no forgotten sample"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(deep, settings, text):
    model, folder = deep
    with pytest.raises(BadSetting, match=text):
        forgotten(DEEP, model, Mini(folder, **settings))


def test_frozen_parameters_leave_nothing_to_promise(tmp_path):
    def frozen():
        model = nn.Sequential(nn.Linear(D, 7), nn.ReLU(), nn.Linear(7, C)).double()
        return model, [*model[2].parameters()]

    model, head = frozen()
    optimizer = SGD(head, 0.3, weight_decay=L2)
    loader = DataLoader(LOGISTIC.data, batch_size=40)
    with record(model, optimizer, to=tmp_path / "h", gradients="fp32") as tape:
        for x, y in tape.watch(loader):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            optimizer.step()
    outcome = forgotten(LOGISTIC, model, Mini(tmp_path / "h"))
    assert told(outcome, "the retrained optimum is at most")  # of the head
    assert torch.equal(outcome.after[0].weight, model[0].weight)
    with pytest.raises(BadSetting, match="were not trained in the history"):
        forgotten(LOGISTIC, model, Mini(tmp_path / "h", radius=0.1, epsilon=1.0))


def test_without_decay_there_is_no_certificate(tmp_path):
    run = replace(LOGISTIC, optimizer=lambda p: SGD(p, 0.3), epochs=2)
    model = run.recorded(tmp_path / "history", gradients="fp32")
    outcome = forgotten(run, model, Mini(tmp_path / "history"))
    assert told(outcome, "no certificate exists: not every parameter decays")
    assert "certificate" not in outcome.traces


def test_a_missing_history_is_told(deep, tmp_path):
    with pytest.raises(CannotRead, match="holds no history"):
        forgotten(DEEP, deep[0], Mini(tmp_path / "nowhere"))


def test_a_history_of_another_model_is_refused(deep):
    model, folder = deep
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved[0].bias.add_(1e-3)
    with pytest.raises(HistoryDoesNotFit, match="other weights"):
        forgotten(DEEP, moved, Mini(folder))
    with pytest.raises(HistoryDoesNotFit, match="recorded 4 tensors of 66 numbers"):
        forgotten(DEEP, nn.Linear(D, C), Mini(folder))


def test_a_history_of_another_dataset_is_refused(deep):
    model, folder = deep
    less = TensorDataset(*(t[:-1] for t in DEEP.data.tensors))
    with pytest.raises(HistoryDoesNotFit, match="on 110 samples, the training set has 109"):
        forgotten(replace(DEEP, data=less), model, Mini(folder))


def test_samples_that_are_older_than_the_window_are_told_or_refused(tmp_path):
    run = replace(DEEP, epochs=1)
    model = run.recorded(tmp_path / "history", keep=2)
    early, late = ([*run.order()][at].tolist() for at in (0, -1))
    with pytest.raises(HistoryDoesNotFit, match="none of the 7 forget samples is in the last"):
        forgotten(run, model, Mini(tmp_path / "history"), early[:7])
    outcome = forgotten(run, model, Mini(tmp_path / "history"), [*early[:2], *late[:1]])
    assert told(outcome, "2 of 3 forget samples are in no step of the window")


@pytest.mark.parametrize("mode", ["linear", "replay"])
def test_another_loss_than_the_one_that_was_trained_is_refused(tmp_path, mode):
    def summed(logits, labels):
        return F.cross_entropy(logits, labels, reduction="sum")

    run = replace(LOGISTIC, loss=summed, optimizer=lambda p: SGD(p, 0.01, weight_decay=L2))
    model = run.recorded(tmp_path / "history", gradients="bf16")
    with pytest.raises(HistoryDoesNotFit, match="the task's loss has a gradient of length"):
        forgotten(run, model, Mini(tmp_path / "history", mode), GONE[:2])


def test_what_needs_gradients_says_so(deep, tmp_path):
    model, folder = deep
    with pytest.raises(HistoryDoesNotFit, match="keeps no gradient of step"):
        forgotten(DEEP, model, Mini(folder, "linear"))
    run = replace(DEEP, optimizer=lambda p: AdamW(p, 0.01), epochs=1)
    adam = run.recorded(tmp_path / "history", gradients="fp32")
    with pytest.raises(BadSetting, match="cannot follow AdamW"):
        forgotten(run, adam, Mini(tmp_path / "history", "linear"))


def test_a_window_longer_than_the_history_is_refused(deep):
    model, folder = deep
    held = len(History.open(folder).steps)
    with pytest.raises(HistoryDoesNotFit, match=f"window=61, but history .* holds {held} steps"):
        forgotten(DEEP, model, Mini(folder, window=61))


def test_a_run_that_was_killed_is_followed_if_it_leads_to_the_model(tmp_path):
    run = replace(LOGISTIC, epochs=2)
    model = run.recorded(tmp_path / "history", gradients="fp32")
    header = tmp_path / "history" / "history.json"
    ended = History.open(tmp_path / "history").ended
    header.write_text(header.read_text().replace(f'"{ended}"', "null"))
    outcome = forgotten(run, model, Mini(tmp_path / "history", "linear"))
    assert told(outcome, "whether the recorded run ended with this model is not known")
    other = nn.Linear(D, C).double()
    with pytest.raises(HistoryDoesNotFit, match="the recorded steps end"):
        forgotten(run, other, Mini(tmp_path / "history", "linear"))


def test_classes_leave_as_well(deep):
    model, folder = deep
    cut = split(DEEP.data, Request(Classes((1,))), test=DEEP.data)
    outcome = unlearn(model, cut, Mini(folder), task=Classification())
    x = DEEP.data.tensors[0][cut.forget.indices]
    before, after = ((m(x).argmax(1) == 1).double().mean() for m in (model, outcome.after))
    assert after < before - 0.2


def test_what_it_cost_is_told(deep):
    model, folder = deep
    outcome = forgotten(DEEP, model, Mini(folder))
    history = History.open(folder)
    read = sum(
        int((~torch.isin(torch.cat(s.ids), torch.tensor(GONE))).sum()) for s in history.steps
    )
    assert told(outcome, f"{read:,} gradients of samples and 0 products with their curvature")
