"""The command line as a pipeline uses it: what it prints where, and how it exits."""

from __future__ import annotations

import io
import json
import sys

import httpx
import pytest

from secguard import cli, client_commands
from secguard.client.rest import connect

DIGEST = "sha256:" + "ab" * 32
TOKEN = "sg_a-token-that-is-never-shown"
VERDICT = {
    "image": DIGEST,
    "reference": "app:1",
    "stage": "build",
    "verdict": "pass",
    "policy": {"name": "default", "version": 1},
    "reasons": [],
    "counts": {"open": {"total": 0}},
}


@pytest.fixture
def api(monkeypatch):
    """What the server answers, by method and path; a callable gets the request."""
    answers = {
        ("GET", f"/api/v1/images/{DIGEST}/verdict/"): VERDICT,
        ("GET", "/api/v1/images/"): {"results": [{"digest": DIGEST, "reference": "app:1"}], "next": None},
    }

    def handle(request):
        answer = answers.get((request.method, request.url.path))
        if answer is None:
            return httpx.Response(404, json={"title": "Not found", "detail": "there is no such thing"})
        return httpx.Response(200, json=answer(request) if callable(answer) else answer)

    monkeypatch.setenv("SECGUARD_TOKEN", TOKEN)
    monkeypatch.setattr(client_commands, "connect", lambda: connect(transport=httpx.MockTransport(handle)))
    return answers


def gate_with(api, **changed):
    api["GET", f"/api/v1/images/{DIGEST}/verdict/"] = {**VERDICT, **changed}


@pytest.mark.parametrize(("said", "code"), [("pass", 0), ("warn", 0), ("block", 1), ("unheard-of", 2)])
def test_gate_exits_by_the_verdict(api, capsys, said, code):
    gate_with(api, verdict=said)
    assert cli.main(["gate", "app:1"]) == code
    shown = capsys.readouterr()
    assert "app:1 at stage build" in shown.out
    assert bool(shown.err) == (code == 2)


def test_what_cannot_be_told_is_said_on_the_standard_error_alone(api, capsys):
    del api["GET", f"/api/v1/images/{DIGEST}/verdict/"]
    assert cli.main(["gate", "app:1"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "secguard: Not found (404): there is no such thing\n"


def test_a_crash_never_reads_as_blocked(api, capsys, monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr(client_commands.gates, "gate", broken)
    assert cli.main(["gate", "app:1"]) == 2
    assert "There is no answer." in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["gate"], ["gate", "x", "--format", "pdf"], ["gate", "x", "--wait", "-1"], ["fly"], []]
)
def test_a_mistyped_command_never_reads_as_blocked(argv, capsys):
    with pytest.raises(SystemExit) as left:
        cli.main(argv)
    assert left.value.code == 2


def test_without_a_token_it_says_how_to_get_one(monkeypatch, capsys):
    monkeypatch.delenv("SECGUARD_TOKEN", raising=False)
    assert cli.main(["gate", "app:1"]) == 2
    assert "secguard token create --role developer --print" in capsys.readouterr().err


def test_the_token_is_never_shown(api, capsys):
    def echo(request):
        return {**VERDICT, "verdict": "block"}

    api["GET", f"/api/v1/images/{DIGEST}/verdict/"] = echo
    for format_ in ("table", "json", "sarif", "junit", "markdown"):
        assert cli.main(["gate", "app:1", "--format", format_]) == 1
    shown = capsys.readouterr()
    assert TOKEN not in shown.out + shown.err


def test_the_result_can_go_to_a_file(api, capsys, tmp_path):
    path = tmp_path / "gate.sarif"
    assert cli.main(["gate", "app:1", "--format", "sarif", "--output", str(path)]) == 0
    assert json.loads(path.read_text())["version"] == "2.1.0"
    assert capsys.readouterr().out == ""
    assert cli.main(["gate", "app:1", "--output", str(tmp_path)]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_a_report_can_come_from_the_standard_input(api, capsys, monkeypatch):
    posted = []

    def take(request):
        posted.append((request.content, dict(request.url.params)))
        return {"id": 3, "status": "finished", "digest": DIGEST, "image": "app:1", "verdict": {"verdict": "pass"}}

    api["POST", "/api/v1/reports/"] = take
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"SchemaVersion": 2}')))
    assert cli.main(["report", "-", "--image", "app:1", "--renamed"]) == 0
    ((content, query),) = posted
    assert content == b'{"SchemaVersion": 2}'
    assert (query["image"], query["renamed"]) == ("app:1", "true")
    assert "verdict  pass" in capsys.readouterr().out


def test_a_decision_is_asked_for_by_the_name_of_a_vulnerability(api, capsys):
    asked = []

    def take(request):
        asked.append(json.loads(request.content))
        return {"id": 9, "status": "requested"}

    api["GET", "/api/v1/risks/"] = {"results": [{"id": 41, "vulnerability": "CVE-2022-3602"}], "next": None}
    api["POST", "/api/v1/decisions/"] = take
    argv = ["decisions", "request", "--risk", "CVE-2022-3602", "--repository", "r.example.org/app"]
    argv += ["--reason", "not reachable", "--until", "2027-01-31", "--conditions", '{"until_fix": true}']
    assert cli.main(argv) == 0
    assert asked == [
        {
            "kind": "accept",
            "risk": 41,
            "scope": {"repository": "r.example.org/app"},
            "reason": "not reachable",
            "expires_at": "2027-01-31",
            "conditions": {"until_fix": True},
        }
    ]
    assert "requested" in capsys.readouterr().out


def test_a_name_that_several_risks_have_is_not_guessed(api, capsys):
    rows = [{"id": n, "vulnerability": "CVE-2022-3602", "package": f"p{n}"} for n in (1, 2)]
    api["GET", "/api/v1/risks/"] = {"results": rows, "next": None}
    argv = [
        "decisions",
        "request",
        "--risk",
        "CVE-2022-3602",
        "--organisation",
        "--reason",
        "r",
        "--until",
        "2027-01-31",
    ]
    assert cli.main(argv) == 2
    assert "  1  CVE-2022-3602 in p1\n  2  CVE-2022-3602 in p2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "words", "sent"),
    [
        ("approve", [], "comment  \n"),
        ("approve", ["--comment", "seen"], "comment  seen\n"),
        ("reject", ["--comment", "seen"], "comment  seen\n"),
        ("withdraw", [], "comment  \n"),
        ("revoke", ["--comment", "seen"], "reason  seen\n"),
    ],
)
def test_each_verb_has_its_route_and_its_words(api, capsys, verb, words, sent):
    api["POST", f"/api/v1/decisions/9/{verb}/"] = lambda request: json.loads(request.content)
    assert cli.main(["decisions", verb, "9", *words]) == 0
    assert capsys.readouterr().out == sent


@pytest.mark.parametrize("verb", ["reject", "revoke"])
def test_who_ends_a_decision_says_why(api, capsys, verb):
    with pytest.raises(SystemExit) as ended:
        cli.main(["decisions", verb, "9"])
    assert ended.value.code == 2
    assert "--comment" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["gate", "findings"])
@pytest.mark.parametrize("image", ["", "  "])
def test_an_empty_image_is_refused_and_never_answered_with_another(api, capsys, command, image):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, image])
    assert ended.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "is the variable that names the image set?" in shown.err


def test_an_unknown_stage_is_refused_before_anything_is_posted(api, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["gate", "app:1", "--stage", "bild"])
    assert ended.value.code == 2
    assert "promote" in capsys.readouterr().err


def test_images_are_listed_by_the_names_that_people_know(api, capsys):
    tags = [{"repository": "registry.example/app", "name": "2.0"}, {"repository": "registry.example/app", "name": "1"}]
    places = [{"repository": "registry.example/lib"}]
    rows = [{"digest": "sha256:1", "tags": tags, "repositories": places, "open_findings": 3}]
    rows.append({"digest": "sha256:2", "tags": [], "repositories": places, "open_findings": 0})
    api["GET", "/api/v1/images/"] = {"results": rows, "next": None}
    assert cli.main(["images"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "sha256:1  registry.example/app:2.0  3",
        "sha256:2  registry.example/lib      0",
    ]


def test_a_terminal_that_lacks_a_character_gets_the_answer_all_the_same(api, monkeypatch):
    gate_with(api, reference="app:1", verdict="block", reasons=[{"rule": "r", "effect": "block", "message": "é…"}])
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert cli.main(["gate", "app:1", "--format", "markdown"]) == 1
    sys.stdout.flush()
    assert b"Blocked: app:1" in raw.getvalue()


def test_lists_are_aligned_and_free_of_control_characters(api, capsys):
    rows = [{"id": 1, "status": "requested", "kind": "accept\x1b[31m"}, {"id": 22, "status": "approved", "kind": "fix"}]
    api["GET", "/api/v1/decisions/"] = {"results": rows, "next": None}
    assert cli.main(["decisions", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["ID  STATUS     KIND", "1   requested  accept [31m", "22  approved   fix"]


def test_the_scope_of_a_decision_is_said_in_words(api, capsys):
    scopes = [{"organisation": True}, {"repository": "registry.example/app"}]
    rows = [{"id": n, "scope": scope} for n, scope in enumerate(scopes)]
    api["GET", "/api/v1/decisions/"] = {"results": rows, "next": None}
    assert cli.main(["decisions", "list"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["0   organisation", "1   repository: registry.example/app"]


def test_lists_can_be_json_lines(api, capsys):
    assert cli.main(["images", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == DIGEST


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        ({"status": "succeeded", "message": "The sample is loaded."}, 0, "The sample is loaded."),
        ({"status": "failed", "message": "the disk is full"}, 2, "The job 7 is failed: the disk is full."),
    ],
)
def test_the_sample_is_waited_for_and_its_end_is_told(api, capsys, end, code, words):
    queued = {"state": "absent", "job": 7, "status": "queued", "progress": None, "message": ""}
    api["POST", "/api/v1/sample/"] = queued
    api["GET", "/api/v1/sample/"] = {**queued, **end}
    assert cli.main(["sample"]) == code
    shown = capsys.readouterr()
    assert words in shown.out + shown.err


def test_a_sample_that_takes_longer_is_no_success(api, capsys):
    running = {"state": "partial", "job": 7, "status": "running", "progress": None, "message": ""}
    api["DELETE", "/api/v1/sample/"] = api["GET", "/api/v1/sample/"] = running
    assert cli.main(["sample", "--remove", "--wait", "0"]) == 2
    assert "goes on without this command" in capsys.readouterr().err
