"""The server's verdict document as it is."""

from __future__ import annotations

import json

from secguard.client.verdict import Verdict


def render(verdict: Verdict) -> str:
    return json.dumps(verdict.document, indent=2, ensure_ascii=True) + "\n"
