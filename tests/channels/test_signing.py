"""Signatures as Standard Webhooks 1.0.0 has them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from secguard.channels import signing

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
SIGNED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_example_is_signed_as_published() -> None:
    assert signing.headers([SECRET], ID, AT, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNED,
    }


def test_while_a_secret_is_renewed_both_sign() -> None:
    new = signing.new_secret()
    first, second = signing.headers([new, SECRET], ID, AT, BODY)["webhook-signature"].split(" ")
    assert second == SIGNED
    assert first == signing.signature(new, ID, 1614265330, BODY) != SIGNED


def test_what_is_not_signed_says_nothing_of_a_signature() -> None:
    assert "webhook-signature" not in signing.headers([], ID, AT, BODY)


def test_secrets_are_long_and_never_the_same() -> None:
    made = {signing.new_secret() for _ in range(20)}
    assert len(made) == 20
    assert {len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) for text in made} == {32}


@given(st.binary(max_size=64), st.binary(max_size=64), st.integers(0, 2**40), st.integers(0, 2**40))
def test_another_body_or_time_has_another_signature(one: bytes, other: bytes, at: int, then: int) -> None:
    same = signing.signature(SECRET, ID, at, one) == signing.signature(SECRET, ID, then, other)
    assert same == ((one, at) == (other, then))


def test_the_check_in_the_documentation_takes_what_we_sign_and_nothing_else() -> None:
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text()
    names: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    new, now = signing.new_secret(), datetime.now(UTC)
    sent = signing.headers([new, SECRET], ID, now, BODY)
    assert names["is_ours"](sent, BODY, SECRET)
    assert names["is_ours"](sent, BODY, new)
    assert not names["is_ours"](sent, BODY + b" ", SECRET)
    assert not names["is_ours"](signing.headers([new], ID, now, BODY), BODY, SECRET)
    assert not names["is_ours"](signing.headers([SECRET], ID, AT, BODY), BODY, SECRET), "it is old"
