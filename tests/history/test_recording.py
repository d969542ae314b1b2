"""The tape: whatever the loop does is told, and the loop is not changed."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.optim import SGD, Adam, AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torch.optim.optimizer import _global_optimizer_pre_hooks as everywhere

from expunge import record
from expunge.errors import MissingInput
from expunge.history import History
from expunge.history.carrying import restore
from expunge.recording.following import tune
from expunge.storing import digest_tensors


def groups(model):
    biases = [p for p in model.parameters() if p.ndim == 1]
    weights = [p for p in model.parameters() if p.ndim > 1]
    return [{"params": weights}, {"params": biases, "weight_decay": 0.0, "lr": 0.03}]


OPTIMIZERS = {
    "plain": lambda model: SGD(model.parameters(), lr=0.1),
    "nesterov": lambda model: SGD(
        model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-2
    ),
    "dampened": lambda model: SGD(model.parameters(), lr=0.1, momentum=0.8, dampening=0.3),
    "grouped": lambda model: SGD(groups(model), lr=0.1, momentum=0.9, weight_decay=1e-2),
    "fused": lambda model: SGD(model.parameters(), lr=0.1, momentum=0.9, fused=True),
    "adamw": lambda model: AdamW(model.parameters(), lr=0.01, betas=(0.8, 0.95), amsgrad=True),
    "decoupled": lambda model: Adam(model.parameters(), lr=0.01, decoupled_weight_decay=True),
}


def replayed(loop, history, number, build, *, until=None, normalised=False):
    """Make the steps after a start again, with nothing but torch and what the history tells."""
    model = loop.network(normalised=normalised)
    optimizer, start = build(model), history.start(number)
    model.load_state_dict(start.model)
    restore(optimizer, start.optimizer)
    for step in history.steps[number - history.steps[0].number :]:
        if step.number == until:
            break
        tune(optimizer, step.settings)
        optimizer.zero_grad()
        for ids in step.ids:
            x, y = loop.data[ids]
            cross_entropy(model(x), y).backward()
        optimizer.step()
    return model


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("normalised", [False, True])
def test_what_was_recorded_can_be_trained_again_bit_for_bit(name, normalised, loop):
    model, build = loop.network(normalised=normalised), OPTIMIZERS[name]
    history = loop.recorded(model, build(model), keep=5)
    assert history.starts == (5, 10)
    for number in history.starts:
        found = replayed(loop, history, number, build, normalised=normalised)
        assert loop.same(found, model)


def test_a_schedule_of_rates_and_momenta_is_followed(folder, loop):
    def build(model):
        return SGD(model.parameters(), lr=0.1, momentum=0.9)

    model = loop.network()
    optimizer = build(model)
    schedule = OneCycleLR(optimizer, max_lr=0.3, total_steps=13)
    with record(model, optimizer, to=folder) as tape:
        loop.train(model, optimizer, tape=tape, schedule=schedule)
    history = History.open(folder)
    assert len({step.settings[0]["lr"] for step in history.steps}) == 12
    assert len({step.settings[0]["momentum"] for step in history.steps}) == 12
    assert loop.same(replayed(loop, history, 0, build), model)


@pytest.mark.parametrize("name", ["nesterov", "adamw"])
def test_the_settings_of_a_step_are_told_by_name(name, loop):
    model = loop.network()
    history = loop.recorded(model, OPTIMIZERS[name](model), epochs=1)
    told = {
        "nesterov": {
            "lr": 0.1, "momentum": 0.9, "dampening": 0.0, "nesterov": 1.0, "weight_decay": 0.01,
        },
        "adamw": {"lr": 0.01, "eps": 1e-8, "weight_decay": 0.01, "beta1": 0.8, "beta2": 0.95},
    }  # fmt: skip
    assert all(step.settings == (told[name],) for step in history.steps)
    assert history.optimizer == ("adamw" if name == "adamw" else "sgd")


def test_recording_changes_neither_the_weights_nor_the_dice(folder, loop):
    found = []
    for taped in (True, False):
        model = loop.network(normalised=True)
        optimizer = OPTIMIZERS["nesterov"](model)
        with record(model, optimizer, to=folder) if taped else nullcontext() as tape:
            loop.train(model, optimizer, tape=tape)
            found.append((model, torch.rand(3)))
    (a, dice), (b, others) = found
    assert loop.same(a, b)
    assert torch.equal(dice, others)


@pytest.mark.parametrize("keep", [1, 3, 5])
def test_between_keep_and_twice_as_many_steps_can_be_read(keep, folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder, keep=keep, gradients="bf16") as tape:
        for made, batch in enumerate(tape.watch(loop.loader(shuffle=True)), start=1):
            loop.descend(model, optimizer, batch)
            steps = History.open(folder).steps
            numbers = [step.number for step in steps]
            assert numbers == [*range(made - len(steps), made)]
            assert min(made, keep) <= len(steps) <= 2 * keep
            assert all(step.gradient() is not None for step in steps)


@pytest.mark.parametrize(("kind", "bound"), [("fp32", 0.0), ("bf16", 2**-8)])
def test_gradients_are_those_of_the_loss_without_weight_decay(kind, bound, loop):
    model = loop.network()
    optimizer = SGD(groups(model), lr=0.1, weight_decay=0.5, momentum=0.9, nesterov=True)
    history = loop.recorded(model, optimizer, gradients=kind)

    def build(model):
        return SGD(groups(model), lr=0.1, weight_decay=0.5, momentum=0.9, nesterov=True)

    for step in history.steps:
        there = replayed(loop, history, 0, build, until=step.number)
        x, y = loop.data[step.ids[0]]
        true = torch.autograd.grad(cross_entropy(there(x), y), [*there.parameters()])
        told = step.gradient()
        assert {name for group in history.groups for name in group} == told.keys()
        for (name, _), value in zip(there.named_parameters(), true, strict=True):
            assert told[name].dtype == torch.float32
            assert ((told[name] - value).abs() <= bound * value.abs()).all()
    assert history.gradients == kind


def test_a_gradient_in_bf16_errs_by_less_than_four_thousandths_in_all(folder, loop):
    exact, rounded = (
        loop.recorded(to=folder / kind, gradients=kind).steps for kind in ("fp32", "bf16")
    )
    for pair in zip(exact, rounded, strict=True):
        a, b = (torch.cat([g.flatten() for g in step.gradient().values()]) for step in pair)
        assert 0 < (a - b).norm() < 4e-3 * a.norm()


def test_without_gradients_none_are_told(loop):
    history = loop.recorded()
    assert history.gradients is None
    assert {step.gradient() for step in history.steps} == {None}


def test_a_parameter_without_a_gradient_is_not_among_the_gradients(loop):
    model = loop.network()
    model[0].weight.requires_grad_(requires_grad=False)
    history = loop.recorded(model, gradients="fp32", epochs=1)
    assert history.steps[0].gradient().keys() == {"0.bias", "2.weight", "2.bias"}
    assert history.parameters == 66


def test_accumulated_gradients_are_of_all_their_batches(folder, loop):
    model = loop.network()
    optimizer = OPTIMIZERS["nesterov"](model)
    drawn = []
    with record(model, optimizer, to=folder) as tape:
        for number, (x, y) in enumerate(
            tape.watch(loop.loader(shuffle=True, batch_size=4)), start=1
        ):
            drawn.append(x)
            cross_entropy(model(x), y).backward()
            if number % 3 == 0 or number == 8:
                optimizer.step()
                optimizer.zero_grad(set_to_none=number != 3)
    history = History.open(folder)
    told = [[loop.data[ids][0] for ids in step.ids] for step in history.steps]
    assert [len(passes) for passes in told] == [3, 3, 2]
    assert all(map(torch.equal, [x for passes in told for x in passes], drawn))
    assert loop.same(replayed(loop, history, 0, OPTIMIZERS["nesterov"]), model)


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_a_scaler_leaves_out_leaves_no_ids(fused, folder, loop):
    def build(model):
        return SGD(model.parameters(), lr=0.1, momentum=0.9, fused=fused)

    model = loop.network()
    optimizer = build(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    with record(model, optimizer, to=folder, gradients="fp32") as tape:
        for number, (x, y) in enumerate(tape.watch(loop.loader(batch_size=6))):
            optimizer.zero_grad()
            loss = cross_entropy(model(x), y) * (torch.inf if number == 2 else 1.0)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    history = History.open(folder)
    first = [int(step.ids[0][0]) for step in history.steps]
    assert first == [0, 6, 18, 24]
    x, y = loop.data[:6]
    begun = loop.network()
    true = torch.autograd.grad(cross_entropy(begun(x), y), [*begun.parameters()])
    for told, value in zip(history.steps[0].gradient().values(), true, strict=True):
        torch.testing.assert_close(told, value)


def test_a_batch_that_was_passed_over_is_of_no_step(folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        for number, batch in enumerate(tape.watch(loop.loader())):
            if number != 1:
                loop.descend(model, optimizer, batch)
    assert [int(step.ids[0][0]) for step in History.open(folder).steps] == [0, 16, 24]


def test_a_closure_is_looked_at_after_it_ran(folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder, gradients="fp32") as tape:
        for x, y in tape.watch(loop.loader()):

            def closure(x=x, y=y):
                optimizer.zero_grad()
                loss = cross_entropy(model(x), y)
                loss.backward()
                return loss

            optimizer.step(closure)
    history = History.open(folder)
    assert len(history.steps) == 4
    assert loop.same(replayed(loop, history, 0, OPTIMIZERS["plain"]), model)


def test_the_summary_tells_what_is_kept(folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder, keep=2) as tape:
        assert str(tape.summary) == "0 steps in 0.0 MB, 0% of samples seen"
        loop.train(model, optimizer, tape=tape, epochs=1)
    told = tape.summary
    assert (told.steps, told.share, told.stopped) == (2, 13 / 29, None)
    assert told.bytes == sum(path.stat().st_size for path in folder.iterdir())


def test_the_end_is_told_by_the_digest_of_the_weights(loop):
    model = loop.network()
    history = loop.recorded(model)
    assert history.ended == digest_tensors(model.state_dict())


def _train_until_it_fails(loop, model, optimizer, batches, tape):
    with tape:
        for batch in tape.watch(batches):
            loop.descend(model, optimizer, batch)
            _ = 1 / 0


def test_an_error_in_the_loop_goes_through_and_the_tape_is_closed(folder, loop):
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    batches = loop.loader()
    tape = record(model, optimizer, to=folder)
    with pytest.raises(ZeroDivisionError):
        _train_until_it_fails(loop, model, optimizer, batches, tape)
    assert len(History.open(folder).steps) == 1
    assert History.open(folder).ended
    with pytest.raises(MissingInput, match="not recording"):
        tape.watch(batches)


def test_no_hook_is_left_behind(folder, loop):
    before = len(everywhere)
    model = loop.network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with record(model, optimizer, to=folder) as tape:
        loop.train(model, optimizer, tape=tape, epochs=1)
        assert len(everywhere) == before + 1
    assert len(everywhere) == before
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    assert not any(parameter._backward_hooks for parameter in model.parameters())
    loop.train(model, optimizer, epochs=1)
    assert len(History.open(folder).steps) == 4
