"""Bodies that are hostile to a JSON decoder."""

from __future__ import annotations

import pytest

PATHS = (
    "decisions",
    "decisions/bulk",
    "decisions/bulk-vote",
    "policies",
    "policies/simulate",
    "tokens",
    "applications",
)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("body", ["[" * 200_000 + "]" * 200_000, '{"a":' * 100_000 + "1" + "}" * 100_000])
def test_a_deeply_nested_body_is_refused(path, body, administrator):
    answer = administrator.api.post(f"/api/v1/{path}/", body, content_type="application/json")
    assert answer.status_code == 400
    assert "nested too deeply" in answer.json()["detail"]
