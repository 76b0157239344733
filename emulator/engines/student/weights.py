# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The base model of a student: its files and their fingerprint.

A base is a directory, or a repository of the Hugging Face hub whose files are fetched once and then read from the hub's
cache; nothing else uses the network. An adapter belongs to one base and is useless on any other, so it is saved with
the base's fingerprint and rejected where that differs.
"""

import hashlib
import json
from pathlib import Path

from emulator.engines.base import FailedPrecondition

EMBEDDED_BASE = Path(__file__).parent / "base"
FINGERPRINT_FILE = "student_base.json"  # in an adapter's directory
_RELEVANT = ("config.json", "tokenizer*", "*.safetensors", "*.bin", "*.model", "*.jinja", "vocab.*", "merges.txt")
_FETCHED = ["*.json", "*.safetensors", "*.model", "*.jinja", "*.txt"]  # not weights in pickles


def locate(weights: Path | str | None) -> Path:
    """The directory of a base: the embedded one, a path, or a hub repository (a string `owner/name`), fetched.

    Raises `ValueError` for a directory without a model, `FailedPrecondition` for a repository that is not available.
    """
    directory = _fetch(weights) if isinstance(weights, str) else weights or EMBEDDED_BASE
    if not (directory / "config.json").exists():
        raise ValueError(f"{weights or directory}: no config.json; set the directory of a Hugging Face causal model")
    return directory


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=_FETCHED))
    except (OSError, ValueError) as error:
        raise FailedPrecondition(
            f"the weights {name!r} can't be fetched from the Hugging Face hub ({type(error).__name__}: {error}); check "
            "the connection, the name and HF_TOKEN, or set a directory in the catalogue"
        ) from error


def fingerprint(directory: Path) -> str:
    """SHA-256 of the files that determine answers: weights, configuration, tokenizer, chat template."""
    digest = hashlib.sha256()
    for path in sorted({path for pattern in _RELEVANT for path in directory.glob(pattern) if path.is_file()}):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def write_fingerprint(adapter: Path, base: str) -> None:
    """Save the fingerprint of the base in an adapter's directory."""
    (adapter / FINGERPRINT_FILE).write_text(json.dumps({"fingerprint": base}) + "\n")


def check_base(adapter: Path, base: str, directory: Path) -> None:
    """Raise `FailedPrecondition` unless the adapter was trained on the base with this fingerprint, `ValueError` for
    what is no adapter.
    """
    if not (adapter / "adapter_config.json").exists():
        raise ValueError(f"{adapter}: not an adapter")
    path = adapter / FINGERPRINT_FILE
    trained_on = json.loads(path.read_text()).get("fingerprint") if path.exists() else None
    if trained_on != base:
        raise FailedPrecondition(
            f"this model was tuned on other base weights than {directory} has now: tune it again, or start with an "
            "empty state directory (another --state-dir; --fresh where a runner manages it)"
        )
