"""What registries answer when they do not do what they were asked to, in words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secguard.errors import Invalid, NotAllowed, NotFound, Unavailable
from secguard.images.adapters.refusals import FULL, READ_ONLY, Refusal


def problem(code: str, message: str, detail: Any = None) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message, "detail": detail}]}).encode()


ENOSPC = {"DriverName": "filesystem", "Enclosed": {"Op": "write", "Path": "/var/lib/registry/x", "Err": 28}}
HARBOR = (
    "adding 2.1 MiB of storage resource, which when updated to current usage of 9.9 MiB will exceed the configured "
    "upper limit of 10.0 MiB."
)


def refused(status: int, raw: bytes = b"", method: str = "PUT") -> Any:
    return Refusal("The registry r.example", "robot", method, "/v2/a/blobs/uploads/", status, raw, 7).error


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (507, b""),
        (500, problem("UNKNOWN", "unknown error", ENOSPC)),
        (500, problem("UNKNOWN", "unknown error", "write /var/lib/registry/data: no space left on device")),
        (500, b"write /data: disk quota exceeded"),
        (403, problem("DENIED", HARBOR)),
        (412, problem("PRECONDITION", HARBOR)),
    ],
)
def test_a_full_registry_is_said_to_be_full(status: int, raw: bytes) -> None:
    error = refused(status, raw)
    assert isinstance(error, Unavailable)
    assert error.code == FULL
    assert error.retry_after == 300
    assert f"The registry r.example has no room left ({status}" in error.detail
    assert "raise its quota" in error.detail


@pytest.mark.parametrize(
    ("status", "raw"),
    [
        (405, b"Method not allowed\n"),
        (405, problem("UNSUPPORTED", "The operation is unsupported.")),
        (403, problem("DENIED", "The system is in read only mode. Any modification is prohibited.")),
    ],
)
def test_a_read_only_registry_is_said_to_be_read_only(status: int, raw: bytes) -> None:
    error = refused(status, raw)
    assert isinstance(error, Invalid)
    assert error.code == READ_ONLY
    assert f"answers {status}" in error.detail
    assert "it is read-only" in error.detail


@pytest.mark.parametrize(
    ("status", "method", "raw", "kind", "words"),
    [
        (403, "PUT", problem("DENIED", "not yours"), NotAllowed, r"refuses the user 'robot' \(403: DENIED not yours\)"),
        (401, "GET", b"", NotAllowed, "that it may read this repository"),
        (404, "GET", problem("BLOB_UNKNOWN", "gone"), NotFound, "has no /v2/a/blobs/uploads/: BLOB_UNKNOWN gone"),
        (503, "PUT", b"<html>", Unavailable, r"answers 503 to /v2/a/blobs/uploads/\. It is asked again"),
        (500, "PUT", problem("UNKNOWN", "bad"), Unavailable, "answers 500 .*: UNKNOWN bad"),
        (500, "GET", problem("UNKNOWN", "x", ENOSPC), Unavailable, "answers 500"),
        (405, "GET", b"", Invalid, r"expected 200\. Is it a registry"),
        (400, "PUT", b"\xff\xfe", Invalid, "it does not take what was pushed"),
    ],
)
def test_everything_else_is_told_as_what_it_is(
    status: int, method: str, raw: bytes, kind: type[Exception], words: str
) -> None:
    error = refused(status, raw, method)
    assert error.code not in (FULL, READ_ONLY)
    with pytest.raises(kind, match=words):
        raise error
    if kind is Unavailable:
        assert error.retry_after == 7
