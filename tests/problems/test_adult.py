"""Adult: people as rows of numbers, their sex and race beside them."""

import lzma
import os

import pytest
import torch

from expunge.errors import MissingInput
from expunge.problems.adult import RACES, SEXES, adult, inputs_of, race_of, sex_of

HEAD = (
    "age,workclass,fnlwgt,education,education_num,marital_status,occupation,relationship,race,sex,"
    "capital_gain,capital_loss,hours_per_week,native_country,income,split"
)
ROW = "{age},{work},1,x,{age},x,x,x,{race},{sex},{gain},0,40,x,{income},{split}"
TRAIN, TEST = 3400, 60  # as many must train as validate, and then some


def written(folder):
    """Whoever is old earns much; every seventh is a woman, every third person black."""
    rows = [
        ROW.format(
            age=20 + k % 50, work="?" if k % 5 == 0 else "State-gov", gain=k % 4,
            race="Black" if k % 3 == 0 else "White", sex="Female" if k % 7 == 0 else "Male",
            income=">50K" if k % 50 > 25 else "<=50K", split="train" if k < TRAIN else "test",
        )
        for k in range(TRAIN + TEST)
    ]  # fmt: skip
    path = folder / "tabular" / "adult.csv.xz"
    path.parent.mkdir()
    with lzma.open(path, "wt", encoding="utf-8") as file:
        file.write("\n".join([HEAD, *rows]) + "\n")
    return folder


@pytest.fixture
def folder(stand_ins):
    return written(stand_ins)


def test_the_published_parts_are_kept_and_nobody_is_in_two(folder):
    problem = adult(data=folder)
    sizes = [len(part) for part in (problem.train, problem.validation, problem.test)]
    assert sizes == [TRAIN - 3000, 3000, TEST]


def test_sex_and_race_come_with_every_batch_and_stand_among_the_inputs(folder):
    batch = adult(data=folder).test.tensors
    for name, of, words in (("sex", sex_of, SEXES), ("race", race_of, RACES)):
        told = of(batch)
        columns = batch[0].T
        assert any(torch.equal(column, (told == told.max()).float()) for column in columns), name
        assert {words[k] for k in told.tolist()} in ({*SEXES}, {"Black", "White"})


def test_numbers_are_standardised_by_those_who_train():
    people = [
        dict.fromkeys(HEAD.split(","), "1") | {"age": str(age), "split": split}
        for age, split in ((1, "train"), (3, "train"), (99, "test"))
    ]
    age = inputs_of(people)[:, 0]
    torch.testing.assert_close(age, torch.tensor([-1.0, 1.0, 97.0]) / 2**0.5)


def test_rare_words_are_no_inputs(folder):
    with_rare = adult(data=folder).train.tensors[0].shape[1]
    path = folder / "tabular" / "adult.csv.xz"
    text = lzma.decompress(path.read_bytes()).decode()
    rare = folder / "rare"
    (rare / "tabular").mkdir(parents=True)
    once = text.replace("State-gov", "Never-worked", 1)
    (rare / "tabular" / "adult.csv.xz").write_bytes(lzma.compress(once.encode()))
    assert adult(data=rare).train.tensors[0].shape[1] == with_rare


@pytest.mark.parametrize("network", ["logistic", "mlp"])
def test_both_networks_learn_who_earns_much(folder, network):
    problem = adult(data=folder, network=network, l2=1e-4, epochs=10)
    x, high, *_ = problem.test.tensors
    found = problem.trained()(x).argmax(1)
    assert (found == high).float().mean() > 0.9


def test_without_data_the_error_says_where_they_are_published(tmp_path):
    with pytest.raises(MissingInput, match="uci"):
        adult(data=tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("EXPUNGE_DATA"), reason="needs EXPUNGE_DATA")
def test_a_perceptron_tells_incomes_as_well_as_is_known():
    problem = adult()
    x, high, *_ = problem.test.tensors
    found = problem.trained()(x).argmax(1)
    assert 0.85 < (found == high).float().mean() < 0.87
