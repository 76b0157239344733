# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""What a client looks up in the project around Vertex AI: enabled APIs, quotas, accounts, keys, images, log entries.

Everything that is looked up exists, except what `PUT /emulator/project` lists as missing.
"""

import re
from datetime import UTC, datetime

from emulator.core.google_rest import Call, Json, not_found, now
from emulator.core.state import State


class Project:
    """Look-ups of Service Usage, IAM, Cloud KMS, Artifact Registry and Cloud Logging."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._missing: set[str] = set()

    def set_missing(self, call: Call) -> Json:
        """The names that look-ups do not find from now on."""
        self._missing = set(call.fields().texts("missing"))
        return {"missing": sorted(self._missing)}

    def forget(self) -> None:
        """From now on everything that is looked up exists."""
        self._missing.clear()

    def look_up(self, call: Call) -> Json:
        """A resource with nothing but its name."""
        if call.params["key"] in self._missing:
            raise not_found(call.params["key"])
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
        fields = call.fields()
        entry = _entry(fields.text("jobId"), fields.text("text"), now())
        self._state.put("log_entries", f"logs/entries/{self._state.new_id('log_entries')}", entry)
        return {}

    def entries(self, call: Call) -> Json:
        """The entries of the custom jobs that the filter names, and what executed steps wrote; in order."""
        job_ids = set(re.findall(r'"(\d+)"', call.fields().text("filter", "")))
        kept = [entry for _, entry in self._state.all("log_entries")]
        entries = [entry for entry in reversed(kept) if entry["resource"]["labels"]["job_id"] in job_ids]
        for job_id in job_ids:
            for path in (self._state.directory / "pipelines").rglob(f"*-{job_id}.log"):
                written = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()
                lines = path.read_text(encoding="utf-8", errors="replace").rstrip("\n").split("\n")
                entries += [_entry(job_id, line, written) for line in lines]
        return {"entries": sorted(entries, key=lambda entry: str(entry["timestamp"]))}


def _entry(job_id: str, text: str, timestamp: str) -> Json:
    return {"timestamp": timestamp, "resource": {"type": "ml_job", "labels": {"job_id": job_id}}, "textPayload": text}
