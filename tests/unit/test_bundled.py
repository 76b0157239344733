"""Packages that an installed wheel carries: on the path of the command and of the processes it starts."""

import os
import sys

from gemtune.cli import bundled


def test_put_on_path_comes_first_here_and_in_child_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", "/elsewhere"])
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    bundled.put_on_path(tmp_path)
    bundled.put_on_path(tmp_path)
    assert sys.path == [str(tmp_path), "", "/elsewhere"]
    assert os.environ["PYTHONPATH"] == os.pathsep.join([str(tmp_path), "/mine"])
    assert os.environ["PYTHONSAFEPATH"] == "1"


def test_put_on_path_keeps_the_path_in_a_repository(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = list(sys.path)
    bundled.put_on_path(tmp_path / "absent")
    bundled.put_on_path()
    assert sys.path == before
    assert os.environ["PYTHONSAFEPATH"] == "1"  # children import nothing from the working directory
