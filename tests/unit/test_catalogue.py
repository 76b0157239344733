# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The catalogue refuses what the service would refuse, and says what would be accepted."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from gemtune.catalogue import Catalogue, Limits, Model
from gemtune.config import Config, Trial
from gemtune.errors import UserError

TODAY = date(2026, 11, 20)
SHIPPED = Catalogue.load()


def test_catalogue_allows_tuning_the_default_base_model() -> None:
    model = Config.load().evaluate.base_model
    assert SHIPPED.require(model, "supervised", "us-central1", adapter_sizes=(4,), today=SHIPPED.checked)
    assert SHIPPED.tunable(today=SHIPPED.checked)[0] == model  # the cheapest comes first


@pytest.mark.parametrize(
    ("name", "method", "place", "more", "words"),
    [
        ("gemini-2.5-flash", "supervised", "us-central1", {}, "retired on 2026-10-20.*gemini-3.1-flash-lite"),
        ("gemini-9", "supervised", "us-central1", {}, "unknown base model 'gemini-9'.*gemini-3.5-flash"),
        ("gemini-3.5-flash", "preference", "us-central1", {}, "cannot be tuned by the method 'preference'"),
        ("gemini-3.5-flash", "supervised", "asia-east1", {}, "cannot be tuned in asia-east1.*us-central1"),
        (
            "gemini-3.5-flash",
            "supervised",
            "us-central1",
            {"adapter_sizes": (4, 32)},
            "adapter size 32.*1, 2, 4, 8, 16",
        ),
        ("gemini-3.5-flash", "supervised", "us-central1", {"encryption_key": "k"}, "vertex.encryption_key"),
    ],
)
def test_catalogue_require_names_reason_and_remedy(
    name: str, method: Any, place: str, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        SHIPPED.require(name, method, place, today=TODAY, **more)


def test_catalogue_override_changes_one_value() -> None:
    mine = Catalogue.load({"models": {"gemini-2.5-flash": {"retires": None, "price": {"train": 4.0}}}})
    model = mine.require("gemini-2.5-flash", "preference", "asia-east1", today=TODAY)
    assert (model.price.train, model.price.input) == (4.0, 0.3)
    assert SHIPPED.models["gemini-2.5-flash"].price.train == 5.0


def test_catalogue_override_names_a_wrong_key() -> None:
    with pytest.raises(UserError, match="trian"):
        Catalogue.load({"models": {"gemini-2.5-flash": {"price": {"trian": 4.0}}}})


def test_catalogue_price_is_of_the_tuned_model() -> None:
    assert SHIPPED.price("gemini-3.5-flash", "gemini-3.1-flash-lite").output == 9.0
    for base in ("", "projects/p/locations/l/models/1@1"):
        assert SHIPPED.price(base, "gemini-3.1-flash-lite").output == 1.5
    with pytest.raises(UserError, match="no price of 'gemini-0'"):
        SHIPPED.price("", "gemini-0")


@pytest.mark.parametrize(("train", "allowed"), [(10, 1000), (3333, 1000), (5000, 1500), (100_000, 5000)])
def test_catalogue_validation_rows_follow_both_limits(train: int, allowed: int) -> None:
    assert SHIPPED.limits["supervised"].validation_rows(train) == allowed


def test_catalogue_warnings_name_age_retirement_and_unknown_prices() -> None:
    assert SHIPPED.warnings("gemini-2.5-flash", SHIPPED.checked) == []
    assert "checked on" in SHIPPED.warnings("", date(2027, 6, 1))[0]
    assert "retires on 2026-10-20" in SHIPPED.warnings("gemini-2.5-flash", date(2026, 9, 1))[0]
    assert SHIPPED.warnings("gemini-3.5-flash", TODAY) == []
    free = Catalogue.load({"models": {"gemini-3.5-flash": {"price": {"train": 0, "reinforcement": 0}}}})
    supervised, reinforced = free.price_notes("gemini-3.5-flash")
    assert "counts as 0 USD where nothing is billed" in supervised
    assert "{price: {reinforcement: USD}}" in reinforced
    first = date(2026, 10, 16)  # of the days that sources give for the 2.5 models
    assert "retires on" in SHIPPED.warnings("gemini-2.5-flash", first - timedelta(days=90))[0]
    assert SHIPPED.warnings("gemini-2.5-flash", first - timedelta(days=91)) == []
    soon = SHIPPED.models["gemini-3.5-flash"].retires
    assert soon
    assert "retires on" in SHIPPED.warnings("gemini-3.5-flash", soon - timedelta(days=90))[0]
    assert SHIPPED.warnings("gemini-3.5-flash", soon - timedelta(days=91)) == []
    (warning,) = SHIPPED.warnings("gemini-3.5-flash", soon - timedelta(days=90))
    assert warning.endswith(": migrate to gemini-3.1-flash-lite, gemini-3.5-flash-lite")


FACTS = {
    "methods",
    "adapter_sizes",
    "tuning_locations",
    "serving_locations",
    "encryption_key",
    "batch",
    "retires",
    "price",
}


def test_catalogue_names_a_known_source_of_each_fact() -> None:
    for name, model in SHIPPED.models.items():
        assert model.evidence.keys() >= FACTS, name
        assert model.evidence.keys() <= Model.model_fields.keys()
    limits = SHIPPED.limits["supervised"]
    assert limits.evidence.keys() == Limits.model_fields.keys() - {"evidence"}
    listed = [fact for item in (*SHIPPED.models.values(), limits) for fact in item.evidence.values()]
    assert {source for fact in listed for source in (*fact.sources, *fact.others)} == SHIPPED.sources.keys()
    assert all(fact.sources for fact in listed)


def test_catalogue_retirement_has_the_days_of_all_sources() -> None:
    assert SHIPPED.models["gemini-3.1-flash-lite"].retirement == "2027-05-07"
    disputed = SHIPPED.models["gemini-2.5-flash"].retirement
    assert disputed == "2026-10-20 (other sources: 2026-10-16, 2026-12-01)"
    with pytest.raises(UserError, match=r"retired on 2026-10-20 \(other sources: 2026-10-16, 2026-12-01"):
        SHIPPED.require("gemini-2.5-flash", "supervised", "us-central1", today=TODAY)
    assert Catalogue.load({"models": {"gemini-2.5-flash": {"retires": ""}}}).models["gemini-2.5-flash"].retirement == ""


def test_catalogue_unknown_price_blocks_only_what_needs_it() -> None:
    model = "gemini-3.5-flash"
    for trial, field in ((Trial(), "train"), (Trial(method="reinforcement"), "reinforcement")):
        with pytest.raises(UserError, match=rf"not published.*catalogue={{models: {{{model}: {{price: {{{field}: "):
            SHIPPED.tuning_price(trial, model)
        own = Catalogue.load({"models": {model: {"price": {field: 7.0}}}})
        assert own.tuning_price(trial, model) == 7.0
        assert Catalogue.load({"models": {model: {"price": {field: ""}}}}) == SHIPPED
    assert SHIPPED.price(model, model).output == 9.0
    assert SHIPPED.tuning_price(Trial(), "gemini-2.5-flash") == 5.0


def test_catalogue_names_no_price_without_a_source() -> None:
    for model in SHIPPED.models.values():
        assert (model.price.train is None) == (model.retires is None or model.retires.year > 2026)
        assert model.price.reinforcement is None


def test_catalogue_thinking_depends_on_the_family() -> None:
    assert SHIPPED.thinking("gemini-2.5-flash", 0) == (0, "")
    assert SHIPPED.thinking("gemini-2.5-pro", 0) == (128, "")  # cannot be turned off
    assert [SHIPPED.thinking("gemini-3.5-flash", n)[1] for n in (0, 1024, 4096, 16384)] == [
        "MINIMAL",
        "LOW",
        "MEDIUM",
        "HIGH",
    ]
    assert SHIPPED.thinking("gemini-3.5-flash", -1) == (None, "")


def test_catalogue_schemas_are_for_base_models() -> None:
    model = next(iter(SHIPPED.models))
    assert SHIPPED.takes_schema(model)
    assert not SHIPPED.takes_schema("projects/1/locations/us/endpoints/2")
    most = SHIPPED.models[model].schema_values
    assert SHIPPED.enumeration_problem(model, most) == ""
    assert f"at most {most} labels, not {most + 1}" in SHIPPED.enumeration_problem(model, most + 1)
    without = Catalogue.load({"models": {model: {"schema_values": 0}}})
    assert "takes no response schema" in without.enumeration_problem(model, 2)


@pytest.mark.parametrize(
    ("model", "rows", "tokens", "hyperparameters"),
    [
        ("gemini-3.5-flash", 500, 100, (4, 10, 4)),
        ("gemini-3.5-flash", 5000, 100, (4, 1, 8)),
        ("gemini-3.5-flash", 500, 900, (4, 1, 8)),
        ("gemini-2.5-pro", 500, 100, (20, 10, 4)),
        ("gemini-2.5-pro", 5000, 100, (10, 1, 4)),
    ],
)
def test_catalogue_starting_trial_depends_on_family_and_size(
    model: str, rows: int, tokens: float, hyperparameters: tuple[int, ...]
) -> None:
    start = SHIPPED.starting_trial(model, "text", rows, tokens)
    assert (start.epoch_count, start.learning_rate_multiplier, start.adapter_size) == hyperparameters
