# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""The manifest of a run: digests of everything that its decision rests on, checked by `gemtune verify`.

Guarantees: a changed byte in a file that the manifest lists, or in the manifest itself, is reported. Without a key,
whoever can write all files can write another manifest: its digest is also in the bucket's record of the decision and on
every copy of the page. With a key (Ed25519), only its owner can.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from importlib import metadata
from os.path import commonpath, relpath
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from gemtune.artifacts.base import Artifact
from gemtune.artifacts.decision import Verdict
from gemtune.errors import UserError

PACKAGES = ("gemtune", "google-cloud-aiplatform", "google-genai", "kfp", "numpy", "pydantic", "scikit-learn", "scipy")
"""What computes a decision: their versions are part of it."""
_OUTSIDE_DIGEST = {"schema_version", "digest", "path", "outputs", "copies", "public_key", "signature"}


class Verification(NamedTuple):
    """Something that the manifest covers, and whether it is still as it was."""

    subject: str
    state: Literal["ok", "changed", "missing"]


class Manifest(Artifact):
    """What a decision rests on. Paths are relative to the folder of the run's steps; digests are SHA-256 in hex."""

    STEP: ClassVar[str] = "report"

    name: str
    job: str
    verdict: Verdict
    data: str
    rows_fingerprint: str
    configuration: str
    """Digest of the run's settings."""
    versions: dict[str, str]
    files: dict[str, str]
    """Documents and rows of the steps: path -> digest."""
    digest: str = ""
    """Of all above."""
    path: str
    """Of the manifest."""
    outputs: dict[str, str] = {}
    """Page, verdict and summary: path -> digest."""
    copies: dict[str, str] = {}
    """Of a local run: the files at the top of its folder -> digest."""
    public_key: str = ""
    signature: str = ""
    """Of all but `copies`; empty without a key. Both are base64."""

    @classmethod
    def of(cls, path: str, files: Mapping[str, str], configuration: Any, **fields: Any) -> Self:
        """The manifest to be written to `path`, of a run's files."""
        root = commonpath([Path(file).parent for file in (path, *files.values())])
        listed = {relpath(file, root): digest_of(file) for file in files.values()}
        manifest = cls(
            files=dict(sorted(listed.items())),
            configuration=_digest(configuration),
            versions=versions(),
            path=relpath(path, root),
            **fields,
        )
        return manifest.model_copy(update={"digest": manifest._own_digest()})

    def finished(self, path: str, outputs: list[str], key: bytes = b"") -> Self:
        """The manifest with the digests of the step's outputs, and its signature if there is a private `key` (PEM)."""
        root = Path(path).parents[len(Path(self.path).parents) - 1]
        listed = {relpath(file, root): digest_of(file) for file in outputs}
        manifest = self.model_copy(update={"outputs": listed, "public_key": public_key(key) if key else ""})
        return manifest.model_copy(update={"signature": _sign(key, manifest._signed())}) if key else manifest

    def check(self, path: Path) -> Iterator[Verification]:
        """Everything that the manifest at `path` covers, with its state."""
        yield Verification("manifest", _state(self.document() == path.read_text("utf-8")))
        yield Verification(f"digest {self.digest}", _state(self._own_digest() == self.digest))
        root = path.parents[len(Path(self.path).parents) - 1]
        for file, digest in (self.files | self.outputs).items():
            yield check_file(root, file, digest)
        if self.signature:
            yield Verification(f"signature by key {key_id(self.public_key)}", _state(self._is_signed()))

    def _own_digest(self) -> str:
        return _digest(self.model_dump(mode="json", exclude=_OUTSIDE_DIGEST))

    def _signed(self) -> bytes:
        return _canonical(self.model_dump(mode="json", exclude={"schema_version", "copies", "signature"}))

    def _is_signed(self) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(self.public_key))
            key.verify(base64.b64decode(self.signature), self._signed())
        except (InvalidSignature, ValueError):
            return False
        return True


def check_file(folder: Path, name: str, digest: str) -> Verification:
    """Whether a file of a folder still has a digest."""
    path = folder / name
    return Verification(name, _state(digest_of(path) == digest) if path.is_file() else "missing")


def digest_of(path: str | Path) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages that compute a decision; empty for one that is not installed as a package."""
    installed = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = ""
    return installed


def public_key(private: bytes) -> str:
    """The public key of an Ed25519 private key in PEM, as base64; raises `UserError` for another file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        if not isinstance(key := load_pem_private_key(private, None), Ed25519PrivateKey):
            raise ValueError("not an Ed25519 key")
    except (ValueError, TypeError) as error:
        problem = f"reporting.signing_key: no private key in PEM without a password: {error}"
        raise UserError(problem, remedy="make one: openssl genpkey -algorithm ed25519 -out key.pem") from None
    return base64.b64encode(key.public_key().public_bytes_raw()).decode()


def read_public_key(path: Path) -> str:
    """The Ed25519 public key in a PEM file, as base64; raises `UserError` for another file."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        if not isinstance(key := load_pem_public_key(path.read_bytes()), Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
    except (ValueError, OSError) as error:
        remedy = "write it: openssl pkey -in key.pem -pubout -out public.pem"
        raise UserError(f"no public key in PEM: {error}", file=path, remedy=remedy) from None
    return base64.b64encode(key.public_bytes_raw()).decode()


def key_id(public: str) -> str:
    """16 hex digits that name a public key."""
    return hashlib.sha256(public.encode()).hexdigest()[:16]


def _sign(private: bytes, message: bytes) -> str:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    signature: bytes = load_pem_private_key(private, None).sign(message)  # type: ignore[call-arg, union-attr]
    return base64.b64encode(signature).decode()


def _state(same: bool) -> Literal["ok", "changed"]:
    return "ok" if same else "changed"


def _canonical(value: Any) -> bytes:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return text.encode(errors="surrogatepass")


def _digest(value: Any) -> str:
    return hashlib.sha256(_canonical(value)).hexdigest()
