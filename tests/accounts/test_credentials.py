"""The shape of secrets."""

from __future__ import annotations

from django.urls import reverse

from secguard.accounts import credentials


def test_a_token_has_its_prefix_and_256_bits() -> None:
    made = {credentials.new_token() for _ in range(50)}
    assert len(made) == 50
    for raw in made:
        assert credentials.is_token(raw)
        assert len(raw) == 47
        assert credentials.shown(raw) == raw[:12]


def test_what_is_no_token_is_seen_without_looking_it_up() -> None:
    raw = credentials.new_token()
    for wrong in ("", raw[:-1], raw + "x", raw.replace("sgt_", "ghp_"), raw[:-1] + "é", raw + "\n"):
        assert not credentials.is_token(wrong)
    assert not credentials.is_secret(credentials.new_secret() + "\n")


def test_a_digest_is_sha256() -> None:
    assert credentials.digest("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_link_leads_to_the_page_that_takes_it() -> None:
    assert reverse("sign-in-link") + "?key=" == credentials.SIGN_IN_LINK_PATH
