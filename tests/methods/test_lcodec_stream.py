"""A stream that is interrupted and started again ends with the same weights, bit for bit."""

from dataclasses import replace

import pytest
import torch

from expunge import Samples, resuming
from expunge.methods.lcodec import Lcodec
from expunge.resuming import Trail
from expunge.testing import toy
from expunge.unlearning import unlearn

GONE = (1, 2, 3, 5, 8)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    """Every step is written down at once."""
    monkeypatch.setattr(resuming, "_PAUSE", 0.0)


@pytest.fixture(scope="module")
def problem():
    return toy(Samples(GONE), normalised=True)


@pytest.fixture(scope="module")
def whole(problem):
    """The outcome of a run that nobody interrupts, by its settings."""
    known = {}

    def find(**settings):
        name = str(settings)
        known[name] = known.get(name) or Run(problem, **settings).start()
        return known[name]

    return find


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kept" / "removal.safetensors"


class Run:
    """One and the same removal, started as often as needed."""

    def __init__(self, problem, path=None, **settings):
        given = {"perturbations": 32, "curvature": "fisher", **settings}
        self.problem, self.method, self.ticks = problem, Lcodec(**given, checkpoint=path), []

    def start(self, *, until=None, seed=0):
        """Run to the end, or until somebody pulls the plug."""

        def tick(_what, count, _total):
            self.ticks.append(count)
            if count == until:
                raise KeyboardInterrupt

        parts = replace(self.problem.split, validation=self.problem.split.test)
        task = self.problem.task
        return unlearn(self.problem.model, parts, self.method, task=task, seed=seed, progress=tick)

    def interrupted(self, until):
        with pytest.raises(KeyboardInterrupt):
            self.start(until=until)


def fail(*_):
    raise KeyboardInterrupt


def same(a, b):
    weights = zip(a.after.state_dict().values(), b.after.state_dict().values(), strict=True)
    return all(torch.equal(x, y) for x, y in weights)


WAYS = [
    {},
    {"selection": "random", "at_once": 2},
    {"faithful": True, "epsilon": 2.0, "noise": "complement", "damping": 1.0},
    {"selection": "full", "curvature": "none", "trust": 1e-3, "utility_drop": 0.0},
    {"selection": "full", "curvature": "none", "epsilon": 2.0, "noise": "all", "damping": 9.0},
]


@pytest.mark.parametrize("until", [1, 3])
@pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(map(str, way.values())) or "plain")
def test_an_interrupted_run_ends_as_if_nothing_had_been(problem, whole, path, way, until):
    run, wanted = Run(problem, path, **way), whole(**way)
    run.interrupted(until)
    found = run.start()
    assert same(found, wanted)
    assert found.notes == wanted.notes
    assert found.traces == wanted.traces
    steps = len(wanted.traces["loss"])
    assert run.ticks == [*range(1, until + 1), *range(until, steps + 1)]


def test_a_run_may_be_interrupted_again_and_again(problem, whole, path):
    run = Run(problem, path)
    for until in (2, 3, 3, 5):
        run.interrupted(until)
    assert same(run.start(), whole())
    assert run.ticks == [1, 2, 2, 3, 3, 3, 4, 5, 5]


def test_a_run_that_was_killed_after_its_last_step_only_has_to_end(
    problem, whole, path, monkeypatch
):
    run = Run(problem, path, at_once=2)
    with monkeypatch.context() as patch:
        patch.setattr(Trail, "end", fail)
        with pytest.raises(KeyboardInterrupt):
            run.start()
    assert path.exists()
    found = run.start()
    assert run.ticks == [1, 2, 3]
    assert same(found, whole(at_once=2))


@pytest.mark.parametrize(
    "other",
    [{"trust": 0.1}, {"seed": 1}, {"gone": (1, 2, 3, 5, 9)}, {"model": 1.01}, {"label": 1}],
    ids=str,
)
def test_where_another_run_stood_is_nothing_to_go_on_from(problem, path, other):
    Run(problem, path).interrupted(2)
    settings = {"trust": other["trust"]} if "trust" in other else {}
    theirs = toy(Samples(other.get("gone", GONE)), normalised=True)
    with torch.no_grad():
        theirs.model[3].weight *= other.get("model", 1.0)
        theirs.split.retain.source.tensors[1][20] += other.get("label", 0)
        theirs.split.retain.source.tensors[1][20] %= 3
    run, seed = Run(theirs, path, **settings), other.get("seed", 0)
    found = run.start(seed=seed)
    assert run.ticks == [1, 2, 3, 4, 5]
    assert same(found, Run(theirs, **settings).start(seed=seed))


def test_a_run_that_kept_where_it_stood_ends_as_one_that_did_not(problem, whole, path):
    assert same(Run(problem, path).start(), whole())
    assert [*path.parent.iterdir()] == []


def test_the_name_of_the_checkpoint_may_be_a_text(problem, path):
    run = Run(problem, str(path))
    run.interrupted(4)
    assert path.exists()
    run.start()
    assert run.ticks == [1, 2, 3, 4, 4, 5]
    assert not path.exists()


def test_what_was_cut_before_the_interruption_is_still_told_after_it(problem, path):
    run = Run(problem, path, selection="full", curvature="none", trust=1e-5)
    run.interrupted(5)
    assert "a step was cut to 0% of the weights that it moves" in run.start().notes
