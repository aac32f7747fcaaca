"""Writing to real registries, of all three kinds, and to ones that lie."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from secguard.errors import Conflict, Invalid, NotAllowed, NotFound, Unavailable
from secguard.images import referrers
from secguard.images.adapters.addresses import RegistryAccess
from secguard.images.adapters.pushing import PushingClient
from secguard.images.adapters.registry import RegistryClient
from secguard.images.adapters.source import Resolved
from secguard.images.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor
from secguard.images.models import Registry
from secguard.images.referrers import Referrer
from secguard.images.services import RegistryEdit, add_registry, pusher_of
from tests.imagebuilding import image_of, tar_of

REGISTRIES = ["plain_registry", "secure_registry", "token_registry"]


def described(raw: bytes, kind: str = "application/octet-stream") -> Descriptor:
    return Descriptor(kind, f"sha256:{hashlib.sha256(raw).hexdigest()}", len(raw))


@pytest.fixture(params=REGISTRIES)
def registry(request):
    return request.getfixturevalue(request.param)


@pytest.fixture
def client(registry):
    with PushingClient(registry.access, sleep=lambda _: None) as made:
        yield made


def artifact(subject: Descriptor, note: str = "") -> bytes:
    empty = Descriptor(referrers.EMPTY_TYPE, referrers.EMPTY_DIGEST, 2)
    return referrers.to_json(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example+json",
            "config": referrers.described(empty),
            "layers": [referrers.described(empty)],
            "subject": referrers.described(subject),
            "annotations": {"note": note},
        }
    )


def test_a_blob_is_written_once_and_read_back(client):
    raw = os.urandom(3 * 2**20)
    blob, calls = described(raw), []

    def chunks():
        calls.append(1)
        return (raw[i : i + 2**18] for i in range(0, len(raw), 2**18))

    assert not client.has_blob("push/blobs", blob)
    client.push_blob("push/blobs", blob, chunks)
    client.push_blob("push/blobs", blob, chunks)
    assert len(calls) == 1
    assert client.small_blob("push/blobs", blob) == raw


def test_a_manifest_is_written_byte_for_byte_under_its_digest_and_a_tag(client):
    config = client.push_bytes("push/image", b"{}", referrers.EMPTY_TYPE)
    raw = json.dumps(  # not as we write them: nothing of it may change
        {"layers": [], "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": referrers.described(config)}, indent=3
    ).encode()
    by_digest = client.push_manifest("push/image", raw, OCI_MANIFEST)
    by_tag = client.push_manifest("push/image", raw, OCI_MANIFEST, "1.0")
    assert by_digest.raw == by_tag.raw == raw
    assert client.peek("push/image", "1.0") == described(raw).digest


def test_a_blob_is_mounted_from_where_it_is(client):
    blob = client.push_bytes("push/source", os.urandom(1000), "application/octet-stream")
    assert client.mount("push/mounted", blob, "push/source")
    assert client.has_blob("push/mounted", blob)
    assert not client.mount("push/mounted", described(b"nowhere"), "push/source")


def test_referrers_are_found_by_the_fallback_tag_where_the_registry_lists_none(client):
    client.push_bytes("push/refs", referrers.EMPTY, referrers.EMPTY_TYPE)
    subject = described(os.urandom(16), OCI_MANIFEST)
    assert client.referrers("push/refs", subject.digest) == []
    pushed = [
        client.push_referrer("push/refs", artifact(subject, note), OCI_MANIFEST, "application/vnd.example+json").digest
        for note in ("one", "two", "one")
    ]
    found = client.referrers("push/refs", subject.digest)
    assert [r.descriptor.digest for r in found] == pushed[:2]
    assert {r.artifact_type for r in found} == {"application/vnd.example+json"}
    assert client.listed_referrers("push/refs", subject.digest) is None


def test_a_real_image_is_pushed_and_pulled(client):
    built = image_of(tar_of({"etc/os-release": b"ID=debian\n"}))
    for digest, raw in built.blobs.items():
        client.push_blob("push/real", replace(described(raw), digest=digest), lambda raw=raw: [raw])
    client.push_manifest("push/real", built.raw, built.media_type, "latest")
    assert client.resolve("push/real", "latest").digest == built.digest


def test_bytes_that_are_another_blob_are_refused_and_not_kept(plain_registry):
    with PushingClient(plain_registry.access, sleep=lambda _: None) as client:
        blob = described(b"what was promised")
        with pytest.raises(Invalid, match="does not take what was pushed"):
            client.push_blob("push/false", blob, lambda: [b"what was delivered"[:17]])
        assert not client.has_blob("push/false", blob)


def test_a_manifest_whose_blobs_are_not_there_is_refused(plain_registry):
    with PushingClient(plain_registry.access, sleep=lambda _: None) as client:
        missing = described(b"never pushed").digest.encode()
        raw = artifact(described(b"x", OCI_MANIFEST)).replace(referrers.EMPTY_DIGEST.encode(), missing)
        with pytest.raises(Invalid, match="does not take"):
            client.push_manifest("push/empty", raw, OCI_MANIFEST)
        with pytest.raises(NotFound):
            client.resolve("push/empty", described(raw).digest)


def test_who_may_not_write_is_told(secure_registry, token_registry):
    for registry in (secure_registry, token_registry):
        wrong = replace(registry.access, password="wrong")
        with PushingClient(wrong) as client, pytest.raises(NotAllowed, match="refuses the user"):
            client.push_bytes("push/denied", b"x", "text/plain")
        nobody = replace(registry.access, username="", password="")
        with PushingClient(nobody) as client, pytest.raises(NotAllowed, match="anonymous"):
            client.push_bytes("public/denied", b"x", "text/plain")


def test_reading_never_asks_for_more_than_reading(token_registry):
    with PushingClient(token_registry.access) as client:
        client.push_bytes("push/scopes", b"x", "text/plain")
    token_registry.asked.clear()
    with RegistryClient(token_registry.access) as client:
        client.small_blob("push/scopes", described(b"x"))
    assert token_registry.asked == ["robot@repository:push/scopes:pull"]


def test_a_manifest_without_a_subject_is_no_referrer(plain_registry):
    with PushingClient(plain_registry.access) as client, pytest.raises(Invalid, match="refers to nothing"):
        client.push_referrer("push/refs", b'{"schemaVersion":2}', OCI_MANIFEST, "a/b")


@pytest.mark.django_db
def test_a_registry_that_was_set_up_is_written_to_and_no_other(secure_registry):
    access = secure_registry.access
    row = Registry.objects.create(host=access.host)
    with pytest.raises(Invalid, match="nobody has set that registry up"):
        pusher_of(row)
    edit = RegistryEdit(username=access.username, password=access.password, ca_certificate=access.ca_certificate)
    with pusher_of(add_registry(access.host, edit, actor=None)) as client:
        assert client.has_blob("push/set-up", client.push_bytes("push/set-up", b"x", "text/plain"))


# Registries that lie, move or list ------------------------------------------------------------------------------------


class Fake:
    """A registry by hand: ``answers`` maps ``METHOD path`` to (status, headers, body), a function or a list of them."""

    def __init__(self):
        self.answers, self.asked, self.bodies = {}, [], []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do(self):
                length = int(self.headers.get("Content-Length") or 0)
                fake.bodies.append(self.rfile.read(length))
                fake.asked.append(f"{self.command} {self.path}")
                found = fake.answers.get(f"{self.command} {self.path.partition('?')[0]}", (404, {}, b""))
                if isinstance(found, list):
                    found = found.pop(0) if len(found) > 1 else found[0]
                status, headers, raw = found
                self.send_response(status)
                for name, value in {"Content-Length": str(len(raw)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(raw)

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do

            def log_message(self, *args):
                return

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    @property
    def client(self):
        return PushingClient(RegistryAccess(self.host, uses_plain_http=True), sleep=lambda _: None)


@pytest.fixture
def fake():
    made = Fake()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_who_has_lost_the_right_to_write_writes_no_manifest_and_deletes_none(fake):
    class Lost(Exception):
        pass

    def lost():
        raise Lost

    with fake.client as client:
        client.still = lost
        for write in (
            lambda: client.push_manifest("a", RAW, OCI_MANIFEST, "latest"),
            lambda: client.push_referrer("a", RAW, OCI_MANIFEST, "application/vnd.example+json"),
            lambda: client.delete_manifest("a", DIGEST),
        ):
            with pytest.raises(Lost):
                write()
    assert fake.asked == []


def test_who_loses_it_while_the_registry_falters_does_not_ask_again(fake):
    asked = []

    def still():
        asked.append(len(fake.asked))
        if fake.asked:
            raise TimeoutError

    fake.answers[f"PUT {AT}"] = (503, {}, b"")
    with fake.client as client:
        client.still = still
        with pytest.raises(TimeoutError):
            client.push_manifest("a", RAW, OCI_MANIFEST)
    assert (set(asked), len(fake.asked)) == ({0, 1}, 1)


RAW = artifact(described(b"subject", OCI_MANIFEST))
DIGEST = described(RAW).digest
AT = f"/v2/a/manifests/{DIGEST}"


def test_a_registry_that_keeps_other_bytes_is_found_out(fake):
    fake.answers[f"PUT {AT}"] = (201, {}, b"")
    fake.answers[f"GET {AT}"] = (200, {"Content-Type": OCI_MANIFEST}, RAW + b" ")
    with fake.client as client, pytest.raises(Invalid, match="altered or cut off"):
        client.push_manifest("a", RAW, OCI_MANIFEST)


def test_a_tag_that_somebody_else_moved_is_a_conflict(fake):
    other = artifact(described(b"other", OCI_MANIFEST))
    fake.answers["PUT /v2/a/manifests/1.0"] = (201, {}, b"")
    fake.answers[f"GET {AT}"] = (200, {"Content-Type": OCI_MANIFEST}, RAW)
    fake.answers["GET /v2/a/manifests/1.0"] = (200, {"Content-Type": OCI_MANIFEST}, other)
    with fake.client as client, pytest.raises(Conflict, match="somebody else"):
        client.push_manifest("a", RAW, OCI_MANIFEST, "1.0")


def test_a_tag_that_is_moved_is_looked_at(fake):
    known, other = Resolved(described(RAW, OCI_MANIFEST).digest, OCI_MANIFEST, RAW), "sha256:" + "0" * 64
    fake.answers["PUT /v2/a/manifests/1.0"] = (201, {}, b"")
    fake.answers["HEAD /v2/a/manifests/1.0"] = [
        (200, {"Docker-Content-Digest": known.digest}, b""),
        (200, {"Docker-Content-Digest": other}, b""),
        (404, {}, b""),
    ]
    with fake.client as client:
        client.point("a", "1.0", known)
        with pytest.raises(Conflict, match=f"{other} though {known.digest}.*somebody else"):
            client.point("a", "1.0", known)
        with pytest.raises(Invalid, match=r"took the tag 1\.0 and does not have it"):
            client.point("a", "1.0", known)


def test_a_registry_that_lists_referrers_gets_no_fallback_tag(fake):
    listed = referrers.encode([Referrer(described(RAW, OCI_MANIFEST), "a/b")])
    subject = referrers.subject_of(RAW)
    fake.answers[f"PUT {AT}"] = (201, {"OCI-Subject": subject}, b"")
    fake.answers[f"GET {AT}"] = (200, {"Content-Type": OCI_MANIFEST}, RAW)
    fake.answers[f"GET /v2/a/referrers/{subject}"] = (200, {"Content-Type": OCI_INDEX}, listed)
    with fake.client as client:
        client.push_referrer("a", RAW, OCI_MANIFEST, "a/b")
        assert [r.descriptor.digest for r in client.referrers("a", subject)] == [DIGEST]
    assert not any("sha256-" in line for line in fake.asked)


def test_all_pages_of_a_list_are_read_and_one_without_end_is_left(fake):
    path = f"/v2/a/referrers/{DIGEST}"
    pages = [referrers.encode([Referrer(described(name, OCI_MANIFEST))]) for name in (b"1", b"2", b"2")]
    following = {"Content-Type": OCI_INDEX, "Link": f'<{path}?n=1&last=x>; rel="next"'}
    fake.answers[f"GET {path}"] = [(200, following, pages[0]), (200, {"Content-Type": OCI_INDEX}, pages[1])]
    with fake.client as client:
        assert len(client.referrers("a", DIGEST)) == 2
        fake.answers[f"GET {path}"] = [(200, following, page) for page in pages]
        with pytest.raises(Invalid, match="does not end"):
            client.referrers("a", DIGEST)


@pytest.mark.parametrize("status", [400, 404, 405])
def test_a_registry_from_before_the_list_has_the_fallback_tag(fake, status):
    kept = referrers.encode([Referrer(described(RAW, OCI_MANIFEST), "a/b")])
    fake.answers[f"GET /v2/a/referrers/{DIGEST}"] = (status, {}, b"{}")
    fake.answers[f"GET /v2/a/manifests/{referrers.fallback_tag(DIGEST)}"] = (200, {"Content-Type": OCI_INDEX}, kept)
    with fake.client as client:
        assert [r.artifact_type for r in client.referrers("a", DIGEST)] == ["a/b"]


def test_an_upload_elsewhere_goes_nowhere_that_is_not_allowed(fake):
    fake.answers["POST /v2/a/blobs/uploads/"] = (202, {"Location": "http://169.254.169.254/latest/"}, b"")
    with fake.client as client, pytest.raises(NotAllowed, match="not named in its configuration"):
        client.push_bytes("a", b"x", "text/plain")
    fake.answers["POST /v2/a/blobs/uploads/"] = (202, {}, b"")
    with fake.client as client, pytest.raises(Invalid, match="does not say where"):
        client.push_bytes("a", b"x", "text/plain")


def test_a_write_is_never_turned_into_a_read_by_a_redirect(fake):
    fake.answers[f"PUT {AT}"] = (302, {"Location": f"http://{fake.host}/elsewhere"}, b"")
    with fake.client as client, pytest.raises(Invalid, match="302"):
        client.push_manifest("a", RAW, OCI_MANIFEST)
    assert fake.asked == [f"PUT {AT}"]
    fake.answers[f"PUT {AT}"] = (307, {"Location": "/moved"}, b"")
    fake.answers["PUT /moved"] = (201, {}, b"")
    fake.answers[f"GET {AT}"] = (200, {"Content-Type": OCI_MANIFEST}, RAW)
    with fake.client as client:
        client.push_manifest("a", RAW, OCI_MANIFEST)
    assert fake.bodies.count(RAW) == 3


def test_a_registry_that_falters_is_asked_again_and_one_that_is_full_is_told(fake):
    fake.answers[f"PUT {AT}"] = [(503, {}, b""), (201, {}, b"")]
    fake.answers[f"GET {AT}"] = (200, {"Content-Type": OCI_MANIFEST}, RAW)
    with fake.client as client:
        client.push_manifest("a", RAW, OCI_MANIFEST)
    fake.answers[f"PUT {AT}"] = (500, {}, b"")
    with fake.client as client, pytest.raises(Unavailable, match="answers 500"):
        client.push_manifest("a", RAW, OCI_MANIFEST)


def test_a_read_only_registry_says_so(fake):
    said = b'{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}'
    fake.answers["POST /v2/a/blobs/uploads/"] = (405, {"Content-Type": "application/json"}, said)
    with fake.client as client, pytest.raises(Invalid, match=r"405.*UNSUPPORTED.*read-only"):
        client.push_bytes("a", b"x", "text/plain")


def test_a_blob_that_was_lost_or_is_of_another_size_is_found_out(fake):
    blob = described(b"x")
    fake.answers["POST /v2/a/blobs/uploads/"] = (202, {"Location": "/up?state=1"}, b"")
    fake.answers["PUT /up"] = (201, {}, b"")
    with fake.client as client, pytest.raises(Invalid, match="does not have it"):
        client.push_bytes("a", b"x", "text/plain")
    assert any(line.startswith("PUT /up?state=1&digest=sha256%3A") for line in fake.asked)
    fake.answers[f"HEAD /v2/a/blobs/{blob.digest}"] = (200, {"Content-Length": "7"}, b"")
    with fake.client as client, pytest.raises(Invalid, match="7 bytes"):
        client.push_bytes("a", b"x", "text/plain")
    fake.answers[f"HEAD /v2/a/blobs/{blob.digest}"] = [(404, {}, b""), (200, {"Content-Length": "1"}, b"")]
    fake.answers[f"GET /v2/a/blobs/{blob.digest}"] = (200, {}, b"y")
    with fake.client as client, pytest.raises(Invalid, match="altered"):
        client.push_bytes("a", b"x", "text/plain")
