"""Secrets at rest: what one key and purpose sealed, no other opens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.errors import Unavailable
from secguard.sealing import seal, unseal

KEY, OTHER = "k" * 40, "o" * 40


@given(st.text())
def test_what_was_sealed_opens_again(text):
    assert unseal(seal(text, keys=[KEY], purpose="registry"), keys=[KEY], purpose="registry") == text


def test_a_sealed_text_shows_nothing_and_is_never_the_same():
    one, two = (seal("hunter2", keys=[KEY], purpose="registry") for _ in range(2))
    assert "hunter2" not in one
    assert one != two


def test_a_former_key_still_opens():
    sealed = seal("hunter2", keys=[OTHER], purpose="registry")
    assert unseal(sealed, keys=[KEY, OTHER], purpose="registry") == "hunter2"


@pytest.mark.parametrize(("keys", "purpose"), [([OTHER], "registry"), ([KEY], "signing")])
def test_another_key_or_purpose_opens_nothing(keys, purpose):
    sealed = seal("hunter2", keys=[KEY], purpose="registry")
    with pytest.raises(Unavailable, match="SECGUARD_SECRET_KEY"):
        unseal(sealed, keys=keys, purpose=purpose)


@pytest.mark.parametrize("position", [0, 20, -2])
def test_a_changed_text_opens_nothing(position):
    sealed = list(seal("hunter2", keys=[KEY], purpose="registry"))
    sealed[position] = "A" if sealed[position] != "A" else "B"
    with pytest.raises(Unavailable):
        unseal("".join(sealed), keys=[KEY], purpose="registry")
