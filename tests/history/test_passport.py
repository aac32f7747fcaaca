"""The passport: what is in it, who signed it, and that nothing in it can be changed unseen."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from secguard.audit import services as audit
from secguard.history import passport
from secguard.signing import services as signing
from tests.history.conftest import REFERENCE

NAMES = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES, lambda v: st.lists(v) | st.dictionaries(NAMES, v)
)


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_equal_documents_give_equal_bytes(document: dict[str, Any]) -> None:
    shuffled = dict(reversed(list(document.items())))
    try:
        raw = passport.canonical(document)
    except UnicodeEncodeError:  # a lone surrogate is no text that a database keeps
        return
    assert raw == passport.canonical(shuffled)
    assert json.loads(raw) == document


def test_instants_are_told_in_utc() -> None:
    east = datetime(2026, 1, 31, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert passport.instant(east) == "2026-01-30T23:00:00Z"
    assert passport.instant(None) is None


def test_what_is_left_out_of_a_list_is_named() -> None:
    kept, left_out = passport.bounded({"a": range(passport.MAX_ROWS + 1), "b": [1]})
    assert (len(kept["a"]), kept["b"], left_out) == (passport.MAX_ROWS, [1], ["a"])


def test_answers_are_summed_up() -> None:
    first, last = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 1, 2, tzinfo=timezone.utc)  # noqa: UP017
    found = passport.summary_of_answers([("denied", 2, first, first), ("allowed", 5, first, last)])
    assert found["by_outcome"] == {"allowed": 5, "denied": 2}
    assert (found["first_at"], found["last_at"]) == ("2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z")
    assert passport.summary_of_answers([])["first_at"] is None


def envelope_of(person: Any, image: str, query: str = "") -> dict[str, Any]:
    answer = person.api.get(f"/api/v1/images/{image}/passport/{query}")
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "application/vnd.dsse.envelope.v1+json"
    found: dict[str, Any] = json.loads(answer.content)
    return found


def opened(envelope: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(envelope["payload"]))
    return found


@pytest.fixture
def carried(clock: Any, post: Any, accept: Any) -> tuple[str, int]:
    image = post()
    return image, accept(clock(minutes=5) + timedelta(hours=3))


@pytest.mark.django_db
def test_any_dsse_verifier_finds_it_signed(carried: Any, developer: Any) -> None:
    key = signing.create_key("production", signing.NewKey(), actor=None)
    envelope = envelope_of(developer, carried[0])
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    (signature,) = envelope["signatures"]
    assert signature["keyid"] == key.fingerprint
    public = serialization.load_pem_public_key(key.public_pem.encode())
    assert isinstance(public, ec.EllipticCurvePublicKey)
    sig, algorithm = base64.b64decode(signature["sig"]), ec.ECDSA(hashes.SHA256())
    signed = b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
    public.verify(sig, signed, algorithm)
    for at in range(0, len(signed), 97):
        changed = signed[:at] + bytes([signed[at] ^ 1]) + signed[at + 1 :]
        with pytest.raises(InvalidSignature):
            public.verify(sig, changed, algorithm)
    assert opened(envelope)["signed_by"] == {"key": "production", "fingerprint": key.fingerprint, "note": ""}
    assert payload == passport.canonical(opened(envelope))


@pytest.mark.django_db
def test_what_is_in_it(carried: Any, developer: Any) -> None:
    image, decision = carried
    found = opened(envelope_of(developer, image))
    assert found["format"] == "secguard-passport/1"
    assert found["image"]["digest"] == image
    assert [p["repository"] for p in found["places"]] == [REFERENCE]
    assert found["issued_to"] == {"name": "developer", "sees_everything": False}
    assert found["tags"] == [f"{REFERENCE}:1"]
    assert found["findings"]["open"] == 1
    (kept,) = found["decisions"]
    assert (kept["id"], kept["requested_by"], kept["status"]) == (decision, "developer", "approved")
    assert [(v["by"], v["choice"], v["comment"]) for v in kept["votes"]] == [("reviewer", "approve", "until the fix")]
    verdicts = {v["stage"]: v for v in found["verdicts"]}
    assert set(verdicts) == {"build", "promote", "admit", "run"}
    assert all(v["holds"] and v["replayed"] for v in verdicts.values())
    assert verdicts["build"]["decisions"] == [decision]
    assert len(verdicts["build"]["policy"]["sha256"]) == 64
    assert (found["scans"][0]["requested_by"], len(found["scans"][0]["report_sha256"])) == ("developer", 64)
    end = audit.head()
    assert found["audit"] == {"sequence": end.sequence, "digest": end.digest}
    assert found["left_out"] == []


@pytest.mark.django_db
def test_the_sbom_is_the_one_that_is_served(carried: Any, developer: Any) -> None:
    import hashlib

    served = developer.api.get(f"/api/v1/images/{carried[0]}/sbom/")
    told = opened(envelope_of(developer, carried[0]))["sbom"]
    if served.status_code == 404:
        assert told is None
    else:
        assert told["sha256"] == hashlib.sha256(served.content).hexdigest()


@pytest.mark.django_db
def test_without_a_key_it_is_not_signed_and_says_so(carried: Any, developer: Any) -> None:
    envelope = envelope_of(developer, carried[0])
    assert envelope["signatures"] == []
    assert "not signed" in opened(envelope)["signed_by"]["note"]


@pytest.mark.django_db
def test_the_newest_key_signs_or_the_one_that_is_named(carried: Any, developer: Any, clock: Any) -> None:
    signing.create_key("first", signing.NewKey(), actor=None)
    clock(minutes=6)
    newest = signing.create_key("second", signing.NewKey(), actor=None)
    assert opened(envelope_of(developer, carried[0]))["signed_by"]["key"] == "second"
    assert opened(envelope_of(developer, carried[0], "?key=first"))["signed_by"]["key"] == "first"
    missing = developer.api.get(f"/api/v1/images/{carried[0]}/passport/?key=third")
    assert (missing.status_code, missing.json()["code"]) == (404, "no-such-key")
    signing.revoke_key(newest.pk, "It was shown.", actor=None)
    assert opened(envelope_of(developer, carried[0]))["signed_by"]["key"] == "first"


@pytest.mark.django_db
def test_another_team_s_part_is_not_in_it(carried: Any, post: Any, stranger: Any, other_application: Any) -> None:
    image, _ = carried
    post(1, reference="reg.example/depot/copy", by=stranger)
    found = opened(envelope_of(stranger, image))
    assert [p["repository"] for p in found["places"]] == ["reg.example/depot/copy"]
    assert found["decisions"] == []
    told = json.dumps(found)
    for word in ("shop/web", "developer", "reviewer", "reachable"):
        assert word not in told


@pytest.mark.django_db
def test_who_left_is_still_told_by_name(carried: Any, administrator: Any, developer: Any) -> None:
    type(developer).objects.filter(username__in=["developer", "reviewer"]).update(is_active=False)
    (kept,) = opened(envelope_of(administrator, carried[0]))["decisions"]
    assert (kept["requested_by"], kept["votes"][0]["by"]) == ("developer", "reviewer")
