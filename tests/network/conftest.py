"""Real flows of other people's tools, read from the archives in ``../shared/corpora``."""

from __future__ import annotations

from tests.scans.conftest import corpus, corpus_members, mutate

__all__ = ["corpus", "corpus_members", "mutate"]
