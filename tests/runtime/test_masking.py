"""No secret passes, nothing else is lost, and what is masked once stays as it is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.runtime.masking import MARK, is_secret_name, look_at, mask, masked

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mysql -h db -u root -pS3cret shop", f"mysql -h db -u root -p{MARK} shop"),
        ("curl -u admin:hunter2 https://x/y", f"curl -u admin:{MARK} https://x/y"),
        ("curl --user=admin:hunter2 https://x", f"curl --user=admin:{MARK} https://x"),
        ("psql postgres://app:pw%40x@db:5432/shop", f"psql postgres://{MARK}@db:5432/shop"),
        ("git clone https://x-token@example.org/a.git", f"git clone https://{MARK}@example.org/a.git"),
        ("PGPASSWORD=abc psql", f"PGPASSWORD={MARK} psql"),
        ("tool --db-password 'a b' --verbose", f"tool --db-password {MARK} --verbose"),
        ("tool --token=abc&x=1", f"tool --token={MARK}&x=1"),
        ("GET /?access_token=abc&page=2", f"GET /?access_token={MARK}&page=2"),
        ('{"password": "a\\"b", "user": "x"}', f'{{"password": {MARK}, "user": "x"}}'),
        ("Authorization: Basic dXNlcjpwYXNz", f"Authorization: {MARK}"),
        ("curl -H 'Authorization: Bearer abc.def' x", f"curl -H 'Authorization: {MARK}' x"),
        ("Cookie: session=abc; other=def", f"Cookie: {MARK}"),
        (f"run {JWT} now", f"run {MARK} now"),
        ("aws AKIAIOSFODNN7EXAMPLE", f"aws {MARK}"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", MARK),
        ("glpat-abcdefghij0123456789", MARK),
        ("sshpass -p secret ssh host", f"sshpass -p {MARK} ssh host"),
        ("redis-cli -h r -a secret ping", f"redis-cli -h r -a {MARK} ping"),
        ("docker login -u me -p secret reg", f"docker login -u me -p {MARK} reg"),
        ("mail jane.doe+x@example.co.uk now", "mail [e-mail]@example.co.uk now"),
        ("-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----", MARK),
        ("-----BEGIN PRIVATE KEY-----\nabc cut", MARK),
        ("openssl enc -pass pass:hunter2", f"openssl enc -pass {MARK}"),
    ],
)
def test_secrets_are_masked(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sh -c clear; (bash || ash || sh)",
        "fetcher -secret-dir /secrets -cfgmap-dir /configs",
        "docker run -u 1000:1000 alpine@sha256:" + "a" * 64,
        "oci://registry.example.org/shop/web@sha256:" + "a" * 64,
        "tar -p -xf a.tar",
        "systemctl start getty@tty1.service",
        "ssh -p 22 host",
        "GET /api/v1/namespaces/default/secrets/example-secret",
        "system:serviceaccount:kube-system:token-controller",
        "10.0.0.1:39526->10.100.0.1:443",
        "cat /etc/passwd",
        "bypass=true",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_a_member_that_is_called_a_secret_is_masked_whole() -> None:
    document = {
        "token": "abc",
        "spec": {"env": [{"name": "DB_PASSWORD", "value": "x"}, {"name": "MODE", "value": "fast"}]},
        "headers": {"Set-Cookie": "a=b", "x-api-key": 7, "Host": "h"},
        "ka.uri.param[token]": "abc",
        "tokens": ["a"],
    }
    assert masked(document, look_at(json.dumps(document).encode())) == {
        "token": MARK,
        "spec": {"env": [{"name": "DB_PASSWORD", "value": MARK}, {"name": "MODE", "value": "fast"}]},
        "headers": {"Set-Cookie": MARK, "x-api-key": MARK, "Host": "h"},
        "ka.uri.param[token]": MARK,
        "tokens": ["a"],
    }


def test_a_letter_written_as_an_escape_hides_nothing() -> None:
    raw = b'{"args": "PG\\u0050ASSWORD=abc psql"}'
    assert masked(json.loads(raw), look_at(raw)) == {"args": f"PGPASSWORD={MARK} psql"}


def test_a_slash_written_as_an_escape_hides_nothing() -> None:
    raw = rb'{"args": "curl http:\/\/u:hush@host\/"}'
    assert masked(json.loads(raw), look_at(raw)) == {"args": f"curl http://{MARK}@host/"}


def test_a_quote_within_a_text_hides_nothing() -> None:
    raw = json.dumps({"args": 'x {"Authorization": "Bearer hush"} {"password":"hush"}'}).encode()
    assert b"hush" not in json.dumps(masked(json.loads(raw), look_at(raw))).encode()


def test_names_of_secrets() -> None:
    assert all(map(is_secret_name, ["password", "DB_PASSWORD", "http.token", "x-api-key", "Authorization"]))
    assert not any(map(is_secret_name, ["secrets", "passwordless", "tokens", "key", "author", ""]))


PIECES = st.sampled_from(
    ["password", "token", "secret", "=", ":", " ", "--", "-p", "-u ", "mysql ", "://", "@", "a", "b1", ".", "com", '"',
     "'", "\\", "[masked]", "masked]", "[e-mail]", "Authorization: ", "Bearer ", "Cookie:", "eyJhbGciOiJ", "AKIA",
     "ABCDEFGHIJKLMNOP", "ghp_", "0123456789abcdef", "-----BEGIN PRIVATE KEY-----", "redis-cli ", "-a ", "login ",
     "&", ";", "|", "\n", "/", "key_id", "sha256:", "é", "\t"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=25).map("".join))
def test_masked_text_stays_as_it_is(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


@given(st.text(max_size=300))
def test_no_text_breaks_the_masking(text: str) -> None:
    once = mask(text)
    assert mask(once) == once


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.lists(PIECES, max_size=6).map("".join),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["token", "name", "value", "x", "password"]), inner, max_size=4)
    ),
)


@given(JSON)
def test_documents_too_with_and_without_their_bytes(value: object) -> None:
    once = masked(value)
    assert masked(once) == once
    assert masked(value, look_at(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))) == once


@given(st.text(alphabet="abcXYZ019_-", min_size=4, max_size=40), st.sampled_from(["password={}", "--token {}x",
       "https://u:{}@host/", "Authorization: Bearer {}", "MYSQL_PWD={}", "curl -u me:q{} x"]))  # fmt: skip
def test_a_secret_is_found_in_no_masked_text(secret: str, form: str) -> None:
    secret = "Zq" + secret.strip("-")
    assert secret not in mask(f"run {form.format(secret)} after")


def test_a_long_hostile_text_is_masked_in_linear_time() -> None:
    """A text of a megabyte that begins a match at each place, and ends none."""
    for piece in ("password ", "a@b.", "://a", "mysql -", "eyJ", "login -", "-----BEGIN ", "--a-", "cookie"):
        text = piece * (60_000 // len(piece))
        assert len(mask(text)) <= len(text) + 10 * text.count(piece)
