# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The response cache: by the content of requests, across processes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gemtune.errors import UserError
from gemtune.inference.generate import GenerateRequest, ModelOutput
from gemtune.inference.response_cache import SqliteResponseCache

QUESTION = GenerateRequest("row", "model", "system", [{"role": "user", "parts": [{"text": "hi"}]}])
SETTINGS = {"temperature": 0.0}


def test_response_cache_returns_marked_outputs_for_the_same_request(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) is None
        store.put(QUESTION, ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2))
    with SqliteResponseCache(tmp_path, SETTINGS) as store:
        assert store.get(QUESTION) == ModelOutput("refund", "STOP", "", 3, 1, 0.5, 2, cached=True)
        assert store.get(replace(QUESTION, key="another row")) is not None
        for change in ({"model": "m2"}, {"system": None}, {"contents": []}, {"version": "2"}, {"sample": 1}):
            assert store.get(replace(QUESTION, **change)) is None
    with SqliteResponseCache(tmp_path, {"temperature": 0.5}) as store:
        assert store.get(QUESTION) is None


def test_response_cache_is_shared_by_processes(tmp_path):
    with SqliteResponseCache(tmp_path, SETTINGS) as one, SqliteResponseCache(tmp_path, SETTINGS) as two:
        one.put(QUESTION, ModelOutput("a"))
        two.put(QUESTION, ModelOutput("a"))
        assert two.get(QUESTION) == ModelOutput("a", cached=True)


def test_response_cache_names_an_unusable_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"evaluate\.response_cache"):
        SqliteResponseCache(tmp_path / "file", SETTINGS)
