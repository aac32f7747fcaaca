"""``secguard admission certificate``: what it writes serves, what it prints believes it; a renewal breaks nothing."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import stat
import sys
from datetime import timedelta
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from secguard import cli
from secguard.client.certificate import Authority, Place, now, still_believed

HOST = "secguard-admission.secguard-admission.svc"


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    """The printed documents of a run that succeeds."""
    assert cli.main(["admission", "certificate", *arguments]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def bundle_of(configuration: dict[str, Any]) -> str:
    (hook,) = configuration["webhooks"]
    return base64.b64decode(hook["clientConfig"]["caBundle"]).decode()


def secret_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "tls-secret.yaml").read_text())
    return found


def is_believed(secret: dict[str, Any], bundle: str, folder: Path, host: str = HOST) -> bool:
    """Whether a client that believes ``bundle`` gets an answer from a server with the secret's certificate and key."""
    for name in ("tls.crt", "tls.key"):
        (folder / name).write_bytes(base64.b64decode(secret["data"][name]))
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=_serve_once, args=(listener, serving), daemon=True)
        thread.start()
        asking = ssl.create_default_context(cadata=bundle)
        with socket.create_connection(listener.getsockname(), timeout=10) as plain:
            try:
                with asking.wrap_socket(plain, server_hostname=host) as secured:
                    return secured.recv(2) == b"ok"
            except ssl.SSLCertVerificationError:
                return False
            finally:
                thread.join(10)


def _serve_once(listener: socket.socket, context: ssl.SSLContext) -> None:
    plain, _ = listener.accept()
    try:
        with context.wrap_socket(plain, server_side=True) as secured:
            secured.sendall(b"ok")
    except OSError:  # the client did not believe it
        plain.close()


def test_what_is_written_serves_and_what_is_printed_believes_it(tmp_path: Path, capsys: Any) -> None:
    printed = run(capsys, "--out", str(tmp_path / "tls"))
    assert [d["kind"] for d in printed] == ["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]
    secret = secret_in(tmp_path / "tls")
    assert (secret["type"], secret["metadata"]) == (
        "kubernetes.io/tls",
        {"name": "secguard-admission-tls", "namespace": "secguard-admission"},
    )
    for configuration in printed:
        assert is_believed(secret, bundle_of(configuration), tmp_path)
        assert not is_believed(secret, bundle_of(configuration), tmp_path, "secguard-admission.other.svc")
    stranger = Authority.make(now()).pem.decode()
    assert not is_believed(secret, stranger, tmp_path)


def test_an_ended_certificate_is_not_believed(tmp_path: Path) -> None:
    then = now() - timedelta(days=30)
    authority = Authority.make(then)
    for days, believed in ((29, False), (31, True)):
        secret = yaml.safe_load(authority.serving(Place(), days, then).secret(Place(), authority))
        assert is_believed(secret, authority.pem.decode(), tmp_path) is believed


def test_another_place_is_in_the_certificate_and_in_the_configurations(tmp_path: Path, capsys: Any) -> None:
    printed = run(capsys, "--out", str(tmp_path / "tls"), "--namespace", "gates", "--service", "guard")
    for configuration in printed:
        (hook,) = configuration["webhooks"]
        assert (hook["clientConfig"]["service"]["name"], hook["clientConfig"]["service"]["namespace"]) == (
            "guard",
            "gates",
        )
        (expression,) = hook["namespaceSelector"]["matchExpressions"]
        assert expression["values"] == ["kube-system", "gates"]
        assert is_believed(secret_in(tmp_path / "tls"), bundle_of(configuration), tmp_path, "guard.gates.svc")


def test_private_keys_are_their_owner_s_alone(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "tls-secret.yaml").write_text("open to all")
    (folder / "tls-secret.yaml").chmod(0o644)
    run(capsys, "--out", str(folder))
    for file in (folder / "tls-secret.yaml", folder / "ca" / "ca.key"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert sorted(p.name for p in folder.rglob("*")) == ["ca", "ca.crt", "ca.key", "tls-secret.yaml"]


def test_the_same_command_twice_with_the_authority_keeps_it(tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "tls"
    first = run(capsys, "--out", str(folder))
    before = secret_in(folder)
    kept = {p.name: p.read_bytes() for p in (folder / "ca").iterdir()}
    again = run(capsys, "--out", str(folder), "--ca", str(folder / "ca"))
    after = secret_in(folder)
    assert again == first
    assert after["data"]["tls.key"] != before["data"]["tls.key"]
    assert is_believed(after, bundle_of(first[0]), tmp_path)
    assert {p.name: p.read_bytes() for p in (folder / "ca").iterdir()} == kept
    # Without naming the authority nothing is written over.
    assert cli.main(["admission", "certificate", "--out", str(folder)]) == 2
    assert f"--ca {folder / 'ca'}" in capsys.readouterr().err
    assert secret_in(folder) == after


def test_a_certificate_ends_with_its_authority_at_the_latest(tmp_path: Path) -> None:
    then = now() - timedelta(days=3600)
    authority = Authority.make(then)
    made = authority.serving(Place(), 365, now())
    assert made.certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


def ended(folder: Path) -> None:
    Authority.make(now() - timedelta(days=3650)).keep(folder)


def swapped(folder: Path) -> None:
    Authority.make(now()).keep(folder)
    Authority.make(now()).keep(folder / "other")
    (folder / "ca.key").write_bytes((folder / "other" / "ca.key").read_bytes())


def served(folder: Path) -> None:
    authority = Authority.make(now())
    made = authority.serving(Place(), 1, now())
    Authority(made.certificate, made.key).keep(folder)


def large(folder: Path) -> None:
    folder.mkdir()
    (folder / "ca.crt").write_bytes(b"x" * 70_000)


def no_pem(folder: Path) -> None:
    Authority.make(now()).keep(folder)
    (folder / "ca.key").write_text("open sesame")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "cannot be read"),
        (ended, "ended at"),
        (swapped, "does not belong to its certificate"),
        (served, "no authority's certificate"),
        (large, "more than 65,536 bytes"),
        (no_pem, "no private key in PEM"),
    ],
)
def test_an_authority_that_is_none_is_refused_and_nothing_is_written(
    make: Any, said: str, tmp_path: Path, capsys: Any
) -> None:
    make(tmp_path / "ca")
    arguments = ["--ca", str(tmp_path / "ca"), "--out", str(tmp_path / "out")]
    assert cli.main(["admission", "certificate", *arguments]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert "open sesame" not in told.err
    assert told.out == ""
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--namespace", "Kube_System"], "is no namespace"),
        (["--namespace", ""], "is no namespace"),
        (["--service", "a.b"], "is no service"),
        (["--service", "a" * 64], "is no service"),
        (["--days", "0"], "expected 1 to"),
        (["--days", "99999"], "expected 1 to"),
    ],
)
def test_what_means_nothing_is_refused(arguments: list[str], said: str, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["admission", "certificate", "--out", str(tmp_path / "out"), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# With kubectl ---------------------------------------------------------------------------------------------------------

KUBECTL = f"""#!{sys.executable}
# A cluster in a folder: objects by kind and name, and a log of the calls.
import json, pathlib, sys
home = pathlib.Path(__file__).parent
words = [w for w in sys.argv[1:] if not w.startswith("--context")]
with (home / "log").open("a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if words[0] == "get":
    file = home / f"{{words[1]}}.{{words[2]}}.json"
    print(file.read_text() if file.exists() else "")
elif words[0] == "patch":
    file = home / f"{{words[1]}}.{{words[2]}}.json"
    held = json.loads(file.read_text())
    for step in json.loads(words[words.index("-p") + 1]):
        at = held
        *path, last = step["path"].strip("/").split("/")
        for part in path:
            at = at[int(part)] if isinstance(at, list) else at[part]
        if step["op"] == "test" and at[last] != step["value"]:
            sys.exit("the server rejected our request due to an error in our request")
        if step["op"] == "add":
            at[last] = step["value"]
    file.write_text(json.dumps(held))
elif words[0] == "apply":
    (home / "applied").write_text(sys.stdin.read())
if (home / "broken").exists():
    sys.exit("E1127 retried\\nThe connection to the server was refused")
"""


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cluster"
    folder.mkdir()
    (folder / "kubectl").write_text(KUBECTL)
    (folder / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.chdir(tmp_path)
    return folder


def calls(cluster: Path) -> list[list[str]]:
    return [json.loads(line) for line in (cluster / "log").read_text().splitlines()]


def install(cluster: Path, documents: list[dict[str, Any]]) -> None:
    for document in documents:
        name = f"{document['kind'].lower()}.{document['metadata']['name']}.json"
        (cluster / name).write_text(json.dumps(document))


def installed(cluster: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in sorted(cluster.glob("*webhookconfiguration*.json"))]


def test_a_first_apply_puts_the_secret_and_prints_what_the_cluster_does_not_have(
    cluster: Path, tmp_path: Path, capsys: Any
) -> None:
    printed = run(capsys, "--apply", "--context", "prod")
    assert len(printed) == 2
    assert installed(cluster) == []
    secret = yaml.safe_load((cluster / "applied").read_text())
    assert is_believed(secret, bundle_of(printed[0]), tmp_path)
    assert not (tmp_path / "secguard-admission-tls").exists()
    assert all(call[0] == "--context=prod" for call in calls(cluster))
    assert "PRIVATE" not in (cluster / "log").read_text()
    assert secret["data"]["tls.key"] not in (cluster / "log").read_text()


def test_a_renewal_is_believed_before_it_serves_and_what_serves_stays_believed(
    cluster: Path, tmp_path: Path, capsys: Any
) -> None:
    install(cluster, run(capsys, "--apply"))
    before = yaml.safe_load((cluster / "applied").read_text())
    (cluster / "log").unlink()
    assert run(capsys, "--apply") == []
    after = yaml.safe_load((cluster / "applied").read_text())
    verbs = [call[0] for call in calls(cluster)]
    assert verbs == ["get", "patch", "get", "patch", "apply"]
    for configuration in installed(cluster):
        assert is_believed(before, bundle_of(configuration), tmp_path)
        assert is_believed(after, bundle_of(configuration), tmp_path)
    assert before["data"]["ca.crt"] != after["data"]["ca.crt"]


def test_a_configuration_that_changed_meanwhile_is_not_touched(cluster: Path, capsys: Any) -> None:
    """The patch tests each webhook's name; one that was put in between is not given our authority."""
    documents = run(capsys, "--apply")
    install(cluster, documents)
    (cluster / "applied").unlink()
    program = (cluster / "kubectl").read_text().replace('words[0] == "patch":', 'words[0] == "patch":\n    reorder()')
    reorder = "def reorder():\n    f = home / f'{words[1]}.{words[2]}.json'\n    h = json.loads(f.read_text())\n"
    reorder += "    h['webhooks'][0]['name'] = 'somebody.else'\n    f.write_text(json.dumps(h))\n"
    (cluster / "kubectl").write_text(program.replace('if words[0] == "get"', f'{reorder}if words[0] == "get"'))
    assert cli.main(["admission", "certificate", "--apply"]) == 2
    assert "kubectl patch failed: the server rejected" in capsys.readouterr().err
    assert not (cluster / "applied").exists()


def test_what_kubectl_says_is_told(cluster: Path, capsys: Any) -> None:
    (cluster / "broken").touch()
    assert cli.main(["admission", "certificate", "--apply"]) == 2
    assert "kubectl get failed: The connection to the server was refused" in capsys.readouterr().err
    (cluster / "kubectl").unlink()
    assert cli.main(["admission", "certificate", "--apply"]) == 2
    assert "no kubectl on the PATH" in capsys.readouterr().err


def test_a_bundle_grows_no_further_than_what_has_not_ended() -> None:
    at = now()
    made = [Authority.make(at) for _ in range(6)]
    past = Authority.make(at - timedelta(days=4000))
    bundle = b"no certificate"
    for authority in [*made, past]:
        bundle = still_believed(bundle, authority, at)
    bundle = still_believed(bundle, made[-1], at)
    assert bundle.startswith(made[-1].pem)
    assert past.pem not in bundle
    assert 2 <= bundle.count(b"BEGIN CERTIFICATE") <= 4
