"""Digits in colour: the colour is in the picture, and nowhere in the label."""

import torch

from expunge.problems.coloured_digits import COLOURS, colour_of, coloured_digits, inked
from expunge.problems.digits import digits


def test_ink_is_full_in_one_channel_and_pale_in_the_others():
    x = torch.tensor([[[[0.0, 1.0, 0.5]]], [[[0.8, 0.0, 0.0]]]])
    found = inked(x, torch.tensor([2, 0]))
    torch.testing.assert_close(found[0, 2], x[0, 0])
    torch.testing.assert_close(found[0, 0], x[0, 0] / 4)
    torch.testing.assert_close(found[1, 0], x[1, 0])


def test_only_colour_was_added():
    plain, coloured = digits(network="cnn"), coloured_digits()
    for name in ("train", "test", "validation"):
        (x, y), (inky, same, _) = getattr(plain, name)[:], getattr(coloured, name)[:]
        assert torch.equal(y, same)
        torch.testing.assert_close(inky.amax(1, keepdim=True), x)


def test_colour_and_digit_have_nothing_to_do_with_each_other():
    _, y, colour = coloured_digits().train[:]
    counts = torch.zeros(10, len(COLOURS)).index_put_(
        (y, colour), torch.ones(len(y)), accumulate=True
    )
    expected = counts.sum(1, keepdim=True) * counts.sum(0) / len(y)
    assert ((counts - expected) ** 2 / expected).sum() < 34.8, "chi-square of 18 degrees, 1 %"


def test_the_task_tells_the_colour_and_the_same_one_every_time():
    one, two = coloured_digits(), coloured_digits()
    batch = one.test[:]
    assert torch.equal(one.task.attribute(batch, "colour"), colour_of(two.test[:]))
    assert set(colour_of(batch).tolist()) == {0, 1, 2}


def test_held_out_digits_may_be_seen_in_every_colour():
    once, thrice = coloured_digits(), coloured_digits(colours=3)
    assert torch.equal(once.train[:][0], thrice.train[:][0])
    (x, y, colour), (_, y_once, colour_once) = thrice.test[:], once.test[:]
    n = len(y_once)
    assert len(y) == 3 * n
    assert torch.equal(y[2 * n :], y_once)
    assert torch.equal(colour[:n], colour_once)
    assert torch.equal(colour.view(3, n).sort(0).values[:, 0], torch.arange(3))
    assert colour.bincount().tolist() == [n, n, n]
    torch.testing.assert_close(x[:n].amax(1), x[n : 2 * n].amax(1))
