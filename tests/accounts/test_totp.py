"""One-time codes: the vectors of RFC 6238, and what counts."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.accounts import totp

SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_vectors_of_rfc_6238(seconds: int, code: str) -> None:
    """Appendix B, SHA-1, the last six of its eight digits."""
    assert totp.code_at(SECRET, seconds // 30) == code


NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
STEP = totp.step_of(NOW)


def test_the_steps_beside_count_and_no_others() -> None:
    for off, counts in ((-2, False), (-1, True), (0, True), (1, True), (2, False)):
        found = totp.matching_step(SECRET, totp.code_at(SECRET, STEP + off), NOW, after=0)
        assert found == (STEP + off if counts else None)


def test_a_code_counts_once_and_earlier_ones_no_more() -> None:
    assert totp.matching_step(SECRET, totp.code_at(SECRET, STEP), NOW, after=STEP) is None
    assert totp.matching_step(SECRET, totp.code_at(SECRET, STEP - 1), NOW, after=STEP) is None
    later = NOW + timedelta(seconds=30)
    assert totp.matching_step(SECRET, totp.code_at(SECRET, STEP + 1), later, after=STEP) == STEP + 1


def test_spaces_do_not_matter() -> None:
    code = totp.code_at(SECRET, STEP)
    assert totp.matching_step(SECRET, f" {code[:3]} {code[3:]} ", NOW, after=0) == STEP


@given(st.text(max_size=12))
def test_nothing_else_is_a_code(code: str) -> None:
    right = {totp.code_at(SECRET, STEP + off) for off in (-1, 0, 1)}
    if "".join(code.split()) not in right:
        assert totp.matching_step(SECRET, code, NOW, after=0) is None


def test_secrets_differ_and_the_address_names_us() -> None:
    assert len({totp.new_secret() for _ in range(50)}) == 50
    assert totp.uri("AB", account="alice", issuer="SecGuard").startswith("otpauth://totp/SecGuard%3Aalice?secret=AB&")
