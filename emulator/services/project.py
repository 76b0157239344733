# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a client looks up around Vertex AI: default credentials, APIs, quotas, accounts, keys, images, log entries.

The credentials file is of the type `external_account` because it is the only one whose token address all of Google's
libraries keep to: users' refresh tokens go to Google from Python, service accounts' keys go to Google from Node.
"""

import json
import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import JSONResponse, PlainTextResponse, Response

from emulator.core.google_rest import NAMES, ApiError, Call, Json, now
from emulator.core.state import State

_METADATA: dict[str, str] = NAMES["instanceMetadata"]
ACCOUNT = _METADATA["instance/service-accounts/default/email"]
SCOPE = _METADATA["instance/service-accounts/default/scopes"]
TOKEN_SECONDS = 3600


def environment(url: str, state_dir: Path) -> dict[str, str]:
    """The variables with which Google's libraries find the emulator; `credentials.json` is written for them."""
    credentials = {
        "type": "external_account",
        "audience": "//iam.googleapis.com/emulator",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{url}/token",
        "credential_source": {"url": f"{url}/emulator/identity"},
    }
    path = state_dir.resolve() / "credentials.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(credentials, indent=2) + "\n", "utf-8")
    partial.replace(path)
    values = {"url": url, "host": url.removeprefix("http://"), "credentials": path}
    return {name: str(value).format(**values) for name, value in NAMES["environment"].items()}


def require_credentials(headers: Mapping[str, str], query: str) -> None:
    """Raise the service's 401 for a request without an access token or API key."""
    has_token = headers.get("authorization", "").removeprefix("Bearer ").strip()
    if has_token or headers.get("x-goog-api-key") or "key" in parse_qs(query):
        return
    message = (
        "Request is missing required authentication credential. Expected OAuth 2 access token, login cookie or other "
        "valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "CREDENTIALS_MISSING"}
    raise ApiError(401, message, details=[{**info, "domain": "googleapis.com"}])


def _token() -> Json:
    token = f"ya29.emulator-{secrets.token_urlsafe(16)}"
    return {"access_token": token, "expires_in": TOKEN_SECONDS, "token_type": "Bearer"}


class Project:
    """Look-ups of Service Usage, IAM, Cloud KMS, Artifact Registry and Cloud Logging, tokens, the metadata server.

    Everything that is looked up exists, except what `PUT /emulator/project` lists as missing.
    """

    def __init__(self, state: State) -> None:
        self._state = state
        self._missing: set[str] = set()

    def set_missing(self, call: Call) -> Json:
        """The names that look-ups do not find from now on."""
        self._missing = set(call.body["missing"])
        return {"missing": sorted(self._missing)}

    def forget(self) -> None:
        """From now on everything that is looked up exists."""
        self._missing.clear()

    def look_up(self, call: Call) -> Json:
        """A resource with nothing but its name."""
        if call.params["key"] in self._missing:
            raise ApiError.not_found(call.params["key"])
        return {"name": call.params["key"]}

    def service(self, call: Call) -> Json:
        """Whether an API is enabled."""
        return {"state": "DISABLED" if call.params["key"] in self._missing else "ENABLED"}

    def quotas(self, call: Call) -> Json:
        """The effective limits of jobs, in every region."""
        names = [f"{call.params['key']}/{kind}_jobs" for kind in ("tuning", "pipeline")]
        limits = {name: "0" if name in self._missing else "100" for name in names}
        return {
            "metrics": [
                {"metric": name, "consumerQuotaLimits": [{"quotaBuckets": [{"effectiveLimit": limit}]}]}
                for name, limit in limits.items()
            ]
        }

    def write(self, call: Call) -> Json:
        """Nothing; the entry is kept."""
        entry = _entry(call.body["jobId"], call.body["text"], now())
        self._state.put("log_entries", f"logs/entries/{self._state.new_id('log_entries')}", entry)
        return {}

    def entries(self, call: Call) -> Json:
        """The entries of the custom jobs that the filter names, and what executed steps wrote; in order."""
        job_ids = set(re.findall(r'"(\d+)"', call.body["filter"]))
        kept = [entry for _, entry in self._state.all("log_entries")]
        entries = [entry for entry in reversed(kept) if entry["resource"]["labels"]["job_id"] in job_ids]
        for job_id in job_ids:
            for path in (self._state.directory / "pipelines").rglob(f"*-{job_id}.log"):
                written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
                lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
                entries += [_entry(job_id, line, written) for line in lines]
        return {"entries": sorted(entries, key=lambda entry: str(entry["timestamp"]))}

    def subject(self, call: Call) -> Response:
        """The subject token that the credentials file exchanges."""
        return PlainTextResponse("emulator")

    def token(self, call: Call) -> Response:
        """An access token for a grant."""
        form = {key: values[0] for key, values in parse_qs(call.content.decode("utf-8", "replace")).items()}
        grant = str((call.body or form).get("grant_type", ""))
        if grant not in NAMES["grantTypes"]:
            error = {"error": "unsupported_grant_type", "error_description": f"Invalid grant_type: {grant[:80]}"}
            return JSONResponse(error, status_code=400)
        kind = "urn:ietf:params:oauth:token-type:access_token"
        return JSONResponse({**_token(), "scope": SCOPE, "issued_token_type": kind})

    def metadata(self, call: Call) -> Response:
        """A value of the metadata server; 403 without its header."""
        flavor = {"Metadata-Flavor": "Google"}
        if call.headers.get("metadata-flavor") != "Google":
            return PlainTextResponse("Missing Metadata-Flavor:Google header.", 403, flavor)
        path = call.params["path"].rstrip("/").replace(f"service-accounts/{ACCOUNT}", "service-accounts/default")
        if path == "instance/service-accounts/default":
            account = {"aliases": ["default"], "email": ACCOUNT, "scopes": [SCOPE]}
            return JSONResponse(account, headers=flavor)
        if path == "instance/service-accounts/default/token":
            return JSONResponse(_token(), headers=flavor)
        if path not in _METADATA:
            return PlainTextResponse("Not Found", 404, flavor)
        return PlainTextResponse(_METADATA[path], headers=flavor)


def _entry(job_id: str, text: str, timestamp: str) -> Json:
    return {"timestamp": timestamp, "resource": {"type": "ml_job", "labels": {"job_id": job_id}}, "textPayload": text}
