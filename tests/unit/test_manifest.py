# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a run: a changed byte in any covered file is reported, and only a key's owner can sign."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from typer.testing import CliRunner

from gemtune.artifacts.manifest import Manifest, public_key
from gemtune.cli.main import app
from gemtune.errors import UserError
from pipelines import local_run

FILES = {
    "decision": "gate/decision.json",
    "leakage": "split/leakage_report.json",
    "train": "split/train.jsonl",
    "budget": "check/budget.json",
}
KEY = Ed25519PrivateKey.generate()
PRIVATE = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished local run, signed."""
    monkeypatch.chdir(tmp_path)
    Path("rows.csv").write_text("text,label\na,b\n")
    return finished(tmp_path / "runs" / "support-20261126-090000", PRIVATE)


def finished(run: Path, key: bytes = b"") -> Path:
    steps = run / "steps" / "job"
    for name in [*FILES.values(), "report/page.html", "report/summary.json"]:
        (steps / name).parent.mkdir(parents=True, exist_ok=True)
        (steps / name).write_text(f'{{"content": "{name}"}}')
    path = str(steps / "report" / "manifest.json")
    identity: dict[str, Any] = {
        "name": "n",
        "job": "j",
        "verdict": "deploy",
        "data": "rows.csv",
        "rows_fingerprint": "f",
    }
    files = {name: str(steps / file) for name, file in FILES.items()}
    made = Manifest.of(path, files, {"split": {"seed": 3}}, **identity)
    made.finished(path, [str(steps / "report" / name) for name in ("page.html", "summary.json")], key).write(path)
    (run / "pipeline.yaml").write_text("{}")
    (run / "arguments.json").write_text("{}")
    (run / "report.html").write_text("page")
    (run / "summary.json").write_text('{"outcome": {}}')
    started = {"data": "rows.csv", "data_sha256": local_run.digest_of("rows.csv"), "engine": "student", "jobs": 1}
    started["executes"] = []
    (run / "start.json").write_text(json.dumps({**started, "time": "2026-11-26T09:00:00+00:00"}))
    local_run.copy_manifest(run)
    return run


def verify(run: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["verify", str(run), *options])
    return result.exit_code, result.output


def test_verify_reports_a_changed_byte_in_every_file_that_it_covers(folder: Path) -> None:
    assert verify(folder)[0] == 0
    covered = sorted(path for path in folder.rglob("*") if path.is_file())
    assert len(covered) == len(FILES) + 3 + 6
    for path in [*covered, Path("rows.csv")]:
        content = path.read_bytes()
        for place in (0, len(content) // 2, len(content) - 1):
            path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert verify(folder)[0] == 1, (path, place)
        path.write_bytes(content + b" ")
        assert verify(folder)[0] == 1, path
        path.unlink()
        assert verify(folder)[0] == 1, path
        path.write_bytes(content)
    assert verify(folder)[0] == 0


def test_verify_lists_what_still_matches(folder: Path) -> None:
    (folder / "steps/job/gate/decision.json").write_text("{}")
    code, shown = verify(folder, "--json")
    states = {check["subject"]: check["state"] for check in json.loads(shown)["checks"]}
    assert code == 1
    assert [subject for subject, state in states.items() if state != "ok"] == ["gate/decision.json"]


def test_verify_works_where_the_run_was_moved_to(folder: Path) -> None:
    shutil.move(folder, "kept")
    assert verify(Path("kept"))[0] == 0


def test_verify_names_the_remedy_where_there_is_no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    code, output = verify(folder)
    assert (code, "has no manifest (the report on monitoring has none)" in output) == (1, True), output
    (folder / "summary.json").unlink()
    code, output = verify(folder)
    assert (code, f"gemtune run --resume {folder}" in output) == (1, True), output


def test_verify_expects_a_digest_and_a_key(folder: Path) -> None:
    digest = Manifest.read(folder / "manifest.json").digest
    assert verify(folder, "--digest", digest)[0] == 0
    assert verify(folder, "--digest", digest[::-1])[0] == 1
    own, other = Path("own.pem"), Path("other.pem")
    own.write_bytes(KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    foreign = Ed25519PrivateKey.generate().public_key()
    other.write_bytes(foreign.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    assert verify(folder, "--public-key", str(own))[0] == 0
    assert verify(folder, "--public-key", str(other))[0] == 1
    plain = finished(Path("runs/plain"))
    code, shown = verify(plain)
    assert (code, "sign" in shown) == (0, False)
    assert verify(plain, "--public-key", str(own))[0] == 1


def test_verify_notices_a_manifest_that_was_written_anew_without_the_key(folder: Path) -> None:
    path = folder / "steps/job/report/manifest.json"
    made = Manifest.read(path)
    (folder / "steps/job/gate/decision.json").write_text('{"verdict": "deploy"}')
    identity = {name: getattr(made, name) for name in ("name", "job", "verdict", "data", "rows_fingerprint")}
    files = {name: str(folder / "steps/job" / file) for name, file in FILES.items()}
    forged = Manifest.of(str(path), files, {}, **identity)
    kept = {"outputs": made.outputs, "public_key": made.public_key, "signature": made.signature}
    forged.model_copy(update=kept).write(path)
    local_run.copy_manifest(folder)
    code, shown = verify(folder)
    assert code == 1
    assert "changed  signature by key" in shown


@pytest.mark.parametrize("content", [b"", b"no key", PRIVATE[:40]])
def test_public_key_refuses_what_is_no_private_key(content: bytes) -> None:
    with pytest.raises(UserError, match=r"reporting\.signing_key"):
        public_key(content)


def test_digest_depends_on_settings_data_and_verdict(folder: Path) -> None:
    path = str(folder / "steps/job/report/manifest.json")
    files = {name: str(folder / "steps/job" / file) for name, file in FILES.items()}
    made = Manifest.read(path)
    fields: dict[str, Any] = {k: getattr(made, k) for k in ("name", "job", "verdict", "data", "rows_fingerprint")}
    digests = {Manifest.of(path, files, settings, **fields).digest for settings in ({}, {"gate": {"min_lift": 0.1}})}
    digests |= {Manifest.of(path, files, {}, **(fields | {"rows_fingerprint": "g"})).digest}
    digests |= {Manifest.of(path, files, {}, **(fields | {"verdict": "keep_prompt"})).digest}
    assert len(digests) == 4
