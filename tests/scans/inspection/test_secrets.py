"""Secrets in files and configuration: found by context, told apart without being kept, and nothing else found."""

from __future__ import annotations

import base64
import json
import secrets
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.findings.severity import Severity
from secguard.scans.adapters.rules import rule_set
from secguard.scans.inspection.secrets import (
    Hit,
    Match,
    build_arguments,
    environment_secrets,
    secrets_in,
    severity_at,
)

KEY = b"a key of the tests"
ALNUM = string.ascii_letters + string.digits
HEX = "abcdef0123456789"
BASE32 = "ABCDEFGHIJ234567"


def word(length: int, letters: str = ALNUM) -> str:
    """Made anew for every run: no secret stands in the tests, and none that was ever in use."""
    return "".join(secrets.choice(letters) for _ in range(length))


def pem(kind: str = "") -> str:
    body = base64.b64encode(secrets.token_bytes(300)).decode()
    lines = "\n".join(body[i : i + 64] for i in range(0, len(body), 64))
    name = f"{kind} PRIVATE KEY".strip()
    return f"-----BEGIN {name}-----\n{lines}\n-----END {name}-----\n"


def found(text: str | bytes, name: str = "file.txt", path: str = ""):
    content = text.encode() if isinstance(text, str) else text
    return secrets_in(content, path or f"app/{name}", rule_set().look(content, name).secrets, key=KEY)


SECRETS = [
    ("private-key", "key.pem", lambda: pem("RSA")),
    ("private-key", "id_ed25519", lambda: pem("OPENSSH")),
    ("private-key", "config.js", lambda: "key = '" + pem().replace("\n", "\\n") + "'"),
    (
        "aws-access-key",
        "credentials",
        lambda: f"aws_access_key_id=AKIA{word(16, BASE32)}\naws_secret_access_key={word(40)}\n",
    ),
    ("aws-access-key-id", "x.env", lambda: f"AWS_ACCESS_KEY_ID=AKIA{word(16, BASE32)}\n"),
    ("google-api-key", "app.js", lambda: f"const key = \"AIza{word(35)}\";"),
    ("google-oauth-secret", "c.json", lambda: f"\"client_secret\": \"GOCSPX-{word(28)}\""),
    ("google-service-account", "sa.json", lambda: json.dumps({"type": "service_account", "private_key": pem()})),
    ("azure-storage-key", "a.config", lambda: f"AccountName=prodstore;AccountKey={word(86)}=="),
    ("github-token", "ci.sh", lambda: f"git clone https://x:ghp_{word(36)}@github.com/a/b"),
    ("github-token", "ci.sh", lambda: f"TOKEN=github_pat_{word(22)}_{word(59)}"),
    ("gitlab-token", "ci.sh", lambda: f"TOKEN=glpat-{word(20)}"),
    ("slack-token", "bot.py", lambda: f"xoxb-{word(12, string.digits)}-{word(24)}"),
    ("stripe-secret-key", "pay.rb", lambda: f"Stripe.api_key = 'sk_live_{word(24)}'"),
    ("npm-token", ".npmrc", lambda: f"//registry.npmjs.org/:_authToken=npm_{word(36)}"),
    ("npm-token", ".npmrc", lambda: f"//npm.corp.example/:_authToken={word(40)}"),
    ("pypi-token", ".pypirc", lambda: f"password = pypi-AgEIcHlwaS5vcmc{word(120)}"),
    ("registry-credentials", "config.json", lambda: '{"auths": {"reg.example": {"auth": "' + word(40) + '=="}}}'),
    ("kubernetes-credentials", "config", lambda: f"kind: Config\nusers:\n- user:\n    client-key-data: {word(200)}\n"),
    ("vault-token", "t", lambda: f"hvs.{word(90)}"),
    ("sendgrid-key", "m.py", lambda: f"SG.{word(22)}.{word(43)}"),
    ("twilio-key", "sms.py", lambda: f"sid = AC{word(32, HEX)}\nauth_token = {word(32, HEX)}"),
    ("openai-key", "ai.py", lambda: f"sk-proj-{word(40)}T3BlbkFJ{word(40)}"),
    ("anthropic-key", "ai.py", lambda: f"sk-ant-api03-{word(95)}"),
    ("hugging-face-token", "ai.py", lambda: f"hf_{word(34, string.ascii_letters)}"),
    ("digitalocean-token", "d", lambda: f"dop_v1_{word(64, HEX)}"),
    ("cloudflare-token", "c.env", lambda: f"CF_API_TOKEN={word(40)}"),
    ("database-url", "settings.py", lambda: f"postgres://app:{word(16)}@db7.corp.internal:5432/shop"),
    ("netrc-password", ".netrc", lambda: f"machine git.corp.internal login ci password {word(12)}"),
    ("pgpass-password", ".pgpass", lambda: f"db7:5432:shop:app:{word(12)}"),
    ("git-credentials", ".git-credentials", lambda: f"https://ci:{word(20)}@git.corp.internal"),
    ("environment-file", ".env", lambda: f"DEBUG=1\nDB_PASSWORD={word(16)}\n"),
    ("environment-file", "prod.env", lambda: f"export SESSION_SECRET_KEY='{word(50)}'\n"),
    ("htpasswd", ".htpasswd", lambda: f"admin:$apr1${word(8)}${word(22)}\n"),
    ("password-hash", "shadow", lambda: f"root:*:19000::::::\nadmin:$6${word(16)}${word(86)}:19000:0:::::\n"),
    ("pgp-private-key", "k.asc", lambda: f"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{word(64)}\n"),
    ("putty-private-key", "k.ppk", lambda: "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n"),
    ("azure-client-secret", "x.env", lambda: f"AZURE_CLIENT_SECRET={word(3)}8Q~{word(34)}"),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "name", "make"), SECRETS, ids=lambda v: v if isinstance(v, str) else "")
def test_a_secret_is_found_and_not_kept(rule, name, make):
    text = make()
    secret = next((s for s in found(text, name) if s.rule == rule), None)
    assert secret is not None, f"{rule} not in {[s.rule for s in found(text, name)]}"
    assert secret.path == f"/app/{name}"
    assert not any(part in str(secret) for part in text.split() if len(part) > 20)


def test_every_rule_for_secrets_has_a_case():
    import re

    rules = set(re.findall(r'id = "([^"]+)"', (Path("secguard/scans/rules/secrets.yar")).read_text()))
    assert rules - {r for r, _, _ in SECRETS} == {"pypirc-password"}
    assert [s.rule for s in found("[pypi]\npassword = hunter2hunter2\n", ".pypirc")] == ["pypirc-password"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("-----BEGIN RSA PRIVATE KEY-----", "ssl.c"),
        ('#define PEM_STRING "-----BEGIN PRIVATE KEY-----\\n%s"', "pem.h"),
        ("aws_access_key_id=AKIAIOSFODNN7EXAMPLE\naws_secret_access_key=" + "a" * 40, "readme"),
        ("postgres://app:password@db7/x", "compose.yml"),
        ("postgres://user:secret@localhost/x", "doc.py"),
        ("redis://app:${REDIS_PASSWORD}@cache/0", "compose.yml"),
        ("DB_PASSWORD=changeme\nSECRET_KEY=your-secret\n", ".env"),
        ("DB_PASSWORD_FILE=/run/secrets/db\n", ".env"),
        ("DB_PASSWORD=sixteencharacters\n", ".env.example"),
        ("root:!:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", "shadow"),
        ("ghp_tooshort", "x"),
        ("// AIza", "x.js"),
        ('{"auths": {}}', "config.json"),
    ],
)
def test_what_is_no_secret_is_not_found(text, name):
    assert found(text, name) == []


def test_a_key_inside_of_a_program_is_its_self_test():
    assert found(b"\x7fELF\x02\x01\x01" + b"\0" * 50 + pem("RSA").encode(), "libgnutls.so.30") == []


def test_the_files_of_this_python_hold_no_secret_that_counts():
    """Tens of thousands of lines of others' code and data, among them crypto libraries' own constants."""
    import sysconfig

    graves = []
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")) + sorted(
        Path("/etc/ssl/certs").glob("*.pem")
    ):
        for s in found(path.read_bytes(), path.name, str(path).lstrip("/")):
            graves.append((s.rule, str(path)))
    assert graves == []


def test_the_line_is_the_secret_s_own():
    token = f"ghp_{word(36)}"
    assert [s.line for s in found(f"one\ntwo\nx = {token}\n")] == [3]
    assert [s.line for s in found(f"ONE=1\nDB_PASSWORD={word(16)}\n", ".env")] == [2]


def test_the_fingerprint_tells_secrets_apart_and_is_keyed():
    one, two = f"ghp_{word(36)}", f"ghp_{word(36)}"
    both = found(f"{one}\n{two}\n{one}\n")
    assert len({s.fingerprint for s in both}) == 2 == len(both)
    again = found(f"moved down\n\n{one}\n", "other.txt")
    assert again[0].fingerprint in {s.fingerprint for s in both}
    hit = Hit("r", "t", "high", [Match("$secret", 0, len(one))])
    keyed = [secrets_in(one.encode(), "f", [hit], key=k)[0].fingerprint for k in (b"one", b"two")]
    assert keyed[0] != keyed[1]


def test_a_file_of_very_many_is_one_story():
    assert len(found("\n".join(f"ghp_{word(36)}" for _ in range(200)))) == 20


@pytest.mark.parametrize(
    ("path", "severity"),
    [
        ("app/key.pem", Severity.HIGH),
        ("root/.ssh/id_rsa", Severity.HIGH),
        ("usr/share/doc/openssl/key.pem", Severity.NEGLIGIBLE),
        ("usr/lib/python3.11/test/keycert.pem", Severity.NEGLIGIBLE),
        ("app/node_modules/tls/test/fixtures/key.pem", Severity.NEGLIGIBLE),
        ("usr/lib/python3/dist-packages/twisted/test/server.pem", Severity.NEGLIGIBLE),
        ("app/tests/key.pem", Severity.HIGH),
    ],
)
def test_documentation_and_test_data_of_packages_open_nothing(path, severity):
    assert severity_at(path, Severity.HIGH) == severity


@pytest.mark.parametrize(
    "variable",
    ["DB_PASSWORD=kept5ecret", "API_KEY=0123456789", "STRIPE_SECRET=x9", "GITHUB_TOKEN=abc", "APP_SECRET_KEY=s3cr3t"],
)
def test_a_secret_in_the_environment_is_found(variable):
    (secret,) = environment_secrets([variable], key=KEY)
    name, _, value = variable.partition("=")
    assert secret.path == f"ENV {name}"
    assert value not in str(secret)


@pytest.mark.parametrize(
    "variable",
    [
        "PATH=/usr/bin",
        "PWD=/app",
        "DB_PASSWORD=",
        "DB_PASSWORD_FILE=/run/secrets/x",
        "TOKEN_TTL=300",
        "API_KEY=${API_KEY}",
        "SECRET=changeme",
        "PASSWORD_MIN_LENGTH=12",
        "TOKEN_URL=https://auth.example/token",
        "KEYCLOAK=1",
        "GPG_KEY=A035C8C19219BA821ECEA86B64E628F8D684696D",
        "no-assignment",
    ],
)
def test_what_only_sounds_like_one_is_not_found(variable):
    assert list(environment_secrets([variable], key=KEY)) == []


def test_a_build_argument_that_builders_write_down_is_found_once():
    history = [
        "|2 NPM_TOKEN=abc123def NODE_ENV=production /bin/sh -c npm ci",
        "RUN |2 NPM_TOKEN=abc123def NODE_ENV=production /bin/sh -c npm test # buildkit",
        '/bin/sh -c #(nop)  CMD ["sh"]',
    ]
    (secret,) = build_arguments(history, key=KEY)
    assert secret.path == "ARG NPM_TOKEN"
    assert "abc123def" not in str(secret)


@given(st.binary(max_size=2000), st.text(max_size=50))
def test_no_content_and_no_name_breaks_the_rules(content, name):
    secrets_in(content, name, rule_set().look(content, name).secrets, key=KEY)


@given(st.lists(st.text(max_size=80)))
def test_no_environment_or_history_breaks_the_rules(words):
    assert all(w.path for w in environment_secrets(words, key=KEY))
    assert all(w.path for w in build_arguments(words, key=KEY))
