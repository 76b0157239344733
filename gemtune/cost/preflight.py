# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a configuration can run to its end: every model, price and metric it names, checked before money is spent.

Guarantees: no network and no files; all problems at once, in the order of the settings. What only the data can show
(too few rows, unknown labels) is checked by the steps that read it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from gemtune.catalogue import Catalogue, TuningMethod, merged, price_field, trial_base_model
from gemtune.config import Config, Trial
from gemtune.errors import UserError, did_you_mean
from gemtune.evaluation.metrics import metric_names
from gemtune.tuning.objective import PreferenceObjective
from gemtune.tuning.trials import named, supervised_start


@dataclass(frozen=True, slots=True)
class Problem:
    """A setting whose value would stop a run, with the reason and the remedy."""

    setting: str
    value: Any
    reason: str

    def __str__(self) -> str:
        return f"{self.setting}={self.value!r}: {self.reason}"


def problems(config: Config, location: str, today: date | None = None) -> list[Problem]:
    """Everything that would stop a run of this configuration in a region."""
    try:
        catalogue = Catalogue.load(config.vertex.catalogue)
    except UserError as error:
        listed = _placeholders("", config.model_dump())
        return list(listed) or [Problem("vertex.catalogue", config.vertex.catalogue, str(error))]
    checks = (
        _placeholders("", config.model_dump()),
        _tuned_models(config, catalogue, location, today or date.today()),
        _prices(config, catalogue),
        _requested_models(config, catalogue, today or date.today()),
        _metrics(config),
        _combinations(config),
    )
    return [problem for check in checks for problem in check]


def _placeholders(setting: str, value: Any) -> Iterator[Problem]:
    """Texts of a sample configuration that were meant to be replaced."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _placeholders(f"{setting}.{name}".lstrip("."), inner)
    elif isinstance(value, str) and "YOUR-" in value:
        yield Problem(setting, value, "is a placeholder (replace it)")


def _tuned_models(config: Config, catalogue: Catalogue, location: str, today: date) -> Iterator[Problem]:
    """Base models that jobs start from, each with its method, region, key and adapter sizes."""
    key, base_model, methods = config.vertex.encryption_key, config.evaluate.base_model, _methods(config)
    require = partial(catalogue.require, location=location, encryption_key=key, today=today)
    refused = (_refused("evaluate.base_model", base_model, partial(require, base_model, method)) for method in methods)
    yield from next(filter(None, refused), [])
    trials = catalogue.grid if config.plan.preset == "grid" else config.plan.trials
    for number, trial in enumerate(trials):
        if trial.base.startswith("projects/"):  # a tuned model: only the service knows what it was made of
            continue
        setting, model = f"plan.trials[{number}]", trial.base or base_model
        method = methods[-1] if config.method == "preference" else trial.method
        base = _refused(f"{setting}.base", model, partial(require, model, method))
        if base and trial.base:
            yield from base
        if not base:
            check = partial(require, model, method, adapter_sizes=(trial.adapter_size,))
            yield from _refused(f"{setting}.adapter_size", trial.adapter_size, check)
    sizes = tuple({trial.adapter_size for trial in trials})
    for number, model in enumerate(config.escalation.models):
        check = partial(require, model, "supervised", adapter_sizes=sizes)
        yield from _refused(f"escalation.models[{number}]", model, check)


def _methods(config: Config) -> list[TuningMethod]:
    """The tuning methods of the configuration's jobs; the trials' own is last."""
    if config.method == "supervised":
        return list(dict.fromkeys(trial.method for trial in config.plan.trials))
    return ["supervised", "preference"] if config.preference.supervised_epochs else ["preference"]


def _prices(config: Config, catalogue: Catalogue) -> Iterator[Problem]:
    """Tuning prices that are unknown: without them no job has a bound."""
    for job in _unpriced(config, catalogue):
        check = partial(catalogue.tuning_price, job, config.evaluate.base_model)
        yield from _refused("vertex.catalogue", config.vertex.catalogue, check)


def _unpriced(config: Config, catalogue: Catalogue) -> list[Trial]:
    trials = catalogue.grid if config.plan.preset == "grid" else config.plan.trials
    jobs = [*filter(None, map(supervised_start, trials)), *trials, *(Trial(base=m) for m in config.escalation.models)]
    by_price = {(trial_base_model(job, config.evaluate.base_model), price_field(job.method)): job for job in jobs}
    return [
        job
        for (name, field), job in by_price.items()
        if name in catalogue.models and getattr(catalogue.models[name].price, field) is None
    ]


def without_charge(config: Config) -> Config:
    """The configuration with 0 for the tuning prices that it needs and that are unknown: where nothing is billed.

    An invalid catalogue stays as it is: it is a problem.
    """
    overrides = config.vertex.catalogue
    try:
        unpriced = _unpriced(config, Catalogue.load(overrides))
    except UserError:
        return config
    for job in unpriced:
        name = trial_base_model(job, config.evaluate.base_model)
        overrides = merged(overrides, {"models": {name: {"price": {price_field(job.method): 0.0}}}})
    return config.model_copy(update={"vertex": config.vertex.model_copy(update={"catalogue": overrides})})


def _requested_models(config: Config, catalogue: Catalogue, today: date) -> Iterator[Problem]:
    """Models that are sent requests: each needs a price, so that the forecast is complete, and must still exist."""
    if model := config.evaluate.judge.model:
        yield from _refused("evaluate.judge.model", model, partial(catalogue.price, "", model))
        if model in catalogue.models and catalogue.models[model].retired(today):
            problem = f"{model} was retired on {catalogue.models[model].retires}"
            yield Problem("evaluate.judge.model", model, problem)
    for metric in config.evaluate.vertex_metrics:
        yield from _refused("evaluate.vertex_metrics", metric, partial(catalogue.vertex_metric_price, metric))


def _metrics(config: Config) -> Iterator[Problem]:
    names = ["win_rate"] if config.method == "preference" else metric_names(config.task)
    for setting, metric in (("select.metric", config.select.metric), ("gate.metric", config.gate.metric)):
        if metric and metric not in names:
            similar = did_you_mean(metric, tuple(names))
            yield Problem(setting, metric, f"unknown metric {metric!r} (one of {', '.join(names)}{similar})")


def _combinations(config: Config) -> Iterator[Problem]:
    confidence, kind = config.evaluate.confidence, config.task.kind
    if confidence != "none" and config.task.is_free_text:
        reason = f"two texts of {kind} are seldom equal, so answers have no confidence (evaluate.confidence=none)"
        yield Problem("evaluate.confidence", confidence, reason)
    if config.gate.max_ece and confidence == "none":
        yield Problem("gate.max_ece", config.gate.max_ece, "answers have no confidence (set evaluate.confidence=votes)")
    if config.gate.max_injection_rate and not config.evaluate.injection_rows:
        reason = "no injection probe is sent (set evaluate.injection_rows=60)"
        yield Problem("gate.max_injection_rate", config.gate.max_injection_rate, reason)
    if config.evaluate.injection_rows and not config.task.is_labelled:
        reason = f"the injection probe counts labels, and {kind} has none (evaluate.injection_rows=0)"
        yield Problem("evaluate.injection_rows", config.evaluate.injection_rows, reason)
    if config.augment.min_rows_per_label and not config.task.is_labelled:
        reason = f"rows are augmented by label, and {kind} has none (augment.min_rows_per_label=0)"
        yield Problem("augment.min_rows_per_label", config.augment.min_rows_per_label, reason)
    constrained = [prompt.name for prompt in config.evaluate.baselines if prompt.constrained_output]
    if constrained and not config.task.is_labelled:
        reason = f"constrained_output restricts answers to labels, and {kind} has none (constrained_output: false)"
        yield Problem("evaluate.baselines", constrained, reason)
    trials = config.plan.trials
    if config.method == "preference":
        sizes = [trial.adapter_size for trial in trials]
        yield from _refused("plan.trials", sizes, partial(PreferenceObjective(config.preference).first_trial, trials))
    names = [trial.name for trial in trials]
    yield from _refused("plan.trials", names, partial(named, trials, config.plan.merge_epoch_variants))


def _refused(setting: str, value: Any, check: Callable[[], object]) -> list[Problem]:
    try:
        check()
    except UserError as error:
        return [Problem(setting, value, str(error))]
    return []
