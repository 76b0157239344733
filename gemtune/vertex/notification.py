# SPDX-FileCopyrightText: 2026 The gemtune authors
# SPDX-License-Identifier: Apache-2.0
"""Notifications: a JSON message with a `text`, posted to a webhook."""

from gemtune.config.pipeline import Notify
from gemtune.vertex import Client, storage
from gemtune.vertex.calls import RETRIED_CODES, PermanentError, TransientError, retried

TIMEOUT_S, MAX_URL = 30, 4096


def send(client: Client, notify: Notify, text: str) -> bool:
    """Whether there is a webhook, to which the text is then posted; errors do not name its URL, which is a secret."""
    if not (webhook := notify.webhook):
        return False
    # an object holds the URL, so that no pipeline's specification does
    url = storage.head(client, webhook, MAX_URL).decode().strip() if webhook.startswith("gs://") else webhook
    _post(url, text)
    return True


@retried
def _post(url: str, text: str) -> None:
    """Post the text; it may arrive twice where an answer was lost."""
    import requests

    try:
        response = requests.post(url, json={"text": text}, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise TransientError(f"notify.webhook: {type(error).__name__}") from None
    if response.status_code in RETRIED_CODES:
        raise TransientError(f"notify.webhook answers {response.status_code}", response.status_code)
    if not response.ok:
        raise PermanentError(response.status_code, "notify.webhook refuses the message")
