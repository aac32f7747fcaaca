"""The corpora, as the readers of reports use them."""

from __future__ import annotations

from tests.scans.conftest import corpus, corpus_members

__all__ = ["corpus", "corpus_members"]
