"""Where a run stands: written now and then, read by the same run alone, and gone at the end."""

import pytest
import torch
from torch import nn

from expunge import resuming
from expunge.errors import BadSetting, CannotRead, CannotWrite
from expunge.resuming import Trail
from expunge.storing import save_tensors


@pytest.fixture(autouse=True)
def _own_dice():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.fixture
def hurried(monkeypatch):
    """Every writing is done at once."""
    monkeypatch.setattr(resuming, "_PAUSE", 0.0)


class Tied(nn.Module):
    """Two layers of one weight, and a buffer."""

    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(3, 3), nn.Linear(3, 3)
        self.outer.weight = self.inner.weight
        self.register_buffer("seen", torch.arange(5))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "removal.safetensors"


@pytest.mark.usefixtures("hurried")
def test_a_run_finds_its_model_its_dice_and_what_else_it_kept(path):
    kept, fresh = Tied(), Tied()
    Trail(path, "a").keep(kept, {"place": 3, "traces": {"loss": [(1, 0.1)]}})
    drawn = torch.rand(4)
    state = Trail(path, "a").found(fresh)
    assert torch.equal(torch.rand(4), drawn)
    assert state == {"place": 3, "traces": {"loss": [[1, 0.1]]}}
    assert fresh.outer.weight is fresh.inner.weight
    for name, value in kept.state_dict().items():
        assert torch.equal(value, fresh.state_dict()[name])


@pytest.mark.usefixtures("hurried")
def test_a_run_does_not_read_what_another_left(path):
    Trail(path, "a").keep(Tied(), {})
    model, dice = Tied(), torch.get_rng_state()
    weight = model.inner.weight.detach().clone()
    assert Trail(path, "b").found(model) is None
    assert torch.equal(model.inner.weight, weight)
    assert torch.equal(torch.get_rng_state(), dice)


@pytest.mark.parametrize(("age", "due"), [(0.0, False), (15.0, False), (21.0, True)])
def test_writing_waits_twenty_seconds_so_that_small_steps_need_not(path, age, due):
    trail = Trail(path, "a")
    trail.written -= age
    for place in (3, 5):
        trail.keep(Tied(), {"place": place})
    found = Trail(path, "a").found(Tied())
    assert found == ({"place": 3} if due else None)


@pytest.mark.usefixtures("hurried")
def test_nothing_is_left_behind(path):
    trail = Trail(path, "a")
    trail.keep(Tied(), {})
    assert [*path.parent.iterdir()] == [path]
    trail.end()
    trail.end()
    assert [*path.parent.iterdir()] == []


@pytest.mark.usefixtures("hurried")
def test_without_a_path_nothing_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trail = Trail(None, "")
    trail.keep(Tied(), {})
    trail.end()
    assert trail.found(Tied()) is None
    assert [*tmp_path.iterdir()] == []


def test_a_file_of_weights_is_not_taken_for_a_run_and_left_alone(path):
    save_tensors(path, Tied().state_dict())
    before = path.read_bytes()
    with pytest.raises(CannotWrite, match="is left alone"):
        Trail(path, "a").found(Tied())
    assert path.read_bytes() == before


def test_a_file_of_another_kind_is_left_alone(path):
    path.write_text("a diary")
    with pytest.raises(CannotRead):
        Trail(path, "a").found(Tied())
    assert path.read_text() == "a diary"


@pytest.mark.parametrize("name", ["removal.pt", "removal"])
def test_a_name_under_which_nothing_could_be_read_again_is_refused(tmp_path, name):
    with pytest.raises(BadSetting, match=r"could not be read again from .*removal") as caught:
        Trail(tmp_path / name, "a")
    assert ".safetensors" in caught.value.hint
