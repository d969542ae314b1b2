from hashlib import sha256

import pytest

from expunge.errors import CannotWrite
from expunge.reporting import Page


def test_the_digest_is_that_of_the_file(tmp_path):
    page = Page("<p>schön</p>\n")
    page.save(tmp_path / "deep" / "report.html")
    saved = (tmp_path / "deep" / "report.html").read_bytes()
    assert page.digest == sha256(saved).hexdigest()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["report.html"]


def test_a_path_that_cannot_be_written_is_refused_and_nothing_is_left(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(CannotWrite):
        Page("x").save(tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
