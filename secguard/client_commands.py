"""What each client-side command does with its arguments: ask, print, and say how it went by the exit code."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from secguard.client import advisories as advisory_calls
from secguard.client import controls as control_calls
from secguard.client import decisions as decision_calls
from secguard.client import gate as gates
from secguard.client import identities as identity_calls
from secguard.client import keys as key_calls
from secguard.client import promotions as promotion_calls
from secguard.client import scan as scans
from secguard.client import signatures as signature_calls
from secguard.client import vex as vex_calls
from secguard.client import vexin as vexin_calls
from secguard.client import workloads as workload_calls
from secguard.client.formats import FORMATS
from secguard.client.formats.cleaning import line
from secguard.client.rest import CouldNotTell, Deadline, connect
from secguard.client.showing import progress
from secguard.client.verdict import Exit

DECISION_COLUMNS = ("id", "status", "kind", "risk", "scope", "requested_by", "expires_at")
ADVISORY_COLUMNS = ("name", "flaws", "severity", "modified_at", "withdrawn_at", "summary")
CONTROL_COLUMNS = ("id", "state", "name", "kind", "covers", "leaning", "due_at", "owner")
KEY_COLUMNS = ("id", "name", "status", "provider", "fingerprint", "counts_until")
IDENTITY_COLUMNS = ("id", "name", "status", "issuer", "role", "team", "minutes", "exchanges", "last_used_at")
TRUSTED_COLUMNS = ("id", "name", "status", "repositories", "fingerprint", "valid_until")
SIGNATURE_COLUMNS = ("standing", "by", "form", "predicate_type", "repository", "verified_at", "problem")
PROMOTION_COLUMNS = ("id", "status", "environment", "source", "digest", "tags", "requested_by", "requested_at")
IMAGE_COLUMNS = ("digest", "name", "open_findings", "last_scanned_at")
FINDING_COLUMNS = ("id", "severity", "kind", "name", "purl", "fixed_versions", "path", "risk")


def gate(args: argparse.Namespace) -> int:
    """``secguard gate``: prints the verdict; 0 pass or warn, 1 blocked, 2 could not tell."""
    server, deadline = connect(), Deadline(args.wait)
    report = gates.Report.load(args.report) if args.report else None
    with progress() as show:
        verdict = gates.gate(server, args.image, deadline, show, stage=args.stage, report=report, **_about(args))
    _write(FORMATS[args.format](verdict), args.output)
    if verdict.exit == Exit.COULD_NOT_TELL:
        raise CouldNotTell(f"The server's verdict is {line(verdict.verdict)!r}; expected pass, warn or block.")
    return verdict.exit


def _about(args: argparse.Namespace) -> dict[str, str]:
    """What the command line says about the report beside it."""
    return {
        "scanner": args.scanner,
        "application": args.application,
        "renamed": "true" if args.renamed else "",
    }


def _write(text: str, path: str | None) -> None:
    if not path:
        sys.stdout.write(text)
        return
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CouldNotTell(f"The result cannot be written to {path}: {error.strerror}.") from error


def _write_bytes(content: bytes, path: str) -> None:
    try:
        Path(path).write_bytes(content)
    except OSError as error:
        raise CouldNotTell(f"The result cannot be written to {path}: {error.strerror}.") from error


def report(args: argparse.Namespace) -> int:
    """``secguard report``: posts a report and says what became of it."""
    server, deadline = connect(), Deadline(args.wait)
    loaded = gates.Report.load(args.file)
    with progress() as show:
        scan = gates.post_report(server, loaded, deadline, show, image=args.image, **_about(args))
    shown = {name: scan[name] for name in ("id", "image", "digest", "scanner", "status", "counts") if name in scan}
    verdict = scan.get("verdict")
    if isinstance(verdict, dict):
        shown["verdict"] = verdict.get("verdict")
    sys.stdout.write(decision_calls.document_as_text(shown))
    return 0


def scan(args: argparse.Namespace) -> int:
    """``secguard scan``: has a worker look; prints the verdict on each platform; the worst gives the exit code."""
    server, deadline = connect(), Deadline(args.wait)
    if args.cancel:
        return _document(dict(scans.cancel(server, _number(args.target), deadline)))
    with progress() as show:
        outcome = scans.scan(
            server,
            args.target,
            deadline,
            show,
            image=args.image,
            application=args.application,
            stage=args.stage,
        )
    texts = []
    for platform, found in outcome.verdicts:
        head = f"{platform}\n" if len(outcome.verdicts) > 1 and args.format == "table" else ""
        texts.append(head + FORMATS[args.format](found))
    _write("".join(texts), args.output)
    return max(found.exit for _, found in outcome.verdicts)


def _number(text: str) -> int:
    if not text.isdigit():
        raise CouldNotTell(f"{text!r} is no scan's number; expected what /api/v1/scans/ calls its id.")
    return int(text)


def images(args: argparse.Namespace) -> int:
    rows = connect().pages("/api/v1/images/", Deadline(args.wait), most=args.limit, search=args.search)
    return _rows([row if args.json else {**row, "name": _name_of(row)} for row in rows], IMAGE_COLUMNS, args)


def _name_of(image: dict[str, Any]) -> str:
    """As people name it: by the tag that moved last, else by where it lies."""
    tagged = [f"{tag.get('repository')}:{tag.get('name')}" for tag in image.get("tags") or []]
    return next(iter(tagged + [str(place.get("repository")) for place in image.get("repositories") or []]), "")


def findings(args: argparse.Namespace) -> int:
    server, deadline = connect(), Deadline(args.wait)
    digest = gates.digest_of(server, args.image, deadline)
    rows = server.pages(f"/api/v1/images/{digest}/findings/", deadline, most=args.limit)
    return _rows(rows, FINDING_COLUMNS, args)


def vex(args: argparse.Namespace) -> int:
    """``secguard vex``: the decisions in force on an image, a repository's, an application's, or all, as VEX."""
    server, deadline = connect(), Deadline(args.wait)
    asked = {"format": args.format, "repository": args.repository, "application": args.application, "key": args.key}
    asked["signed"] = "detached" if args.signature else "dsse" if args.dsse else ""
    answer = vex_calls.document(server, deadline, args.image or "", **asked)
    # In a file byte for byte, because a signature may be over just these bytes.
    is_file = args.output or args.signature or args.dsse
    _write(answer.text if is_file else json.dumps(answer.json(), indent=2, ensure_ascii=False) + "\n", args.output)
    if args.signature:
        _write(answer.headers.get("X-Signature", "") + "\n", args.signature)
    if answer.headers.get("X-Statements") == "0":
        sys.stderr.write("Nothing is decided there: the document states nothing.\n")
    return 0


def vex_import(args: argparse.Namespace) -> int:
    """``secguard vex-import``: brings a document in; 2 where one of the decisions that it asks for was refused."""
    raw, server, deadline = vexin_calls.load(args.file), connect(), Deadline(args.wait)
    asked = {"expires_at": args.until, "repository": args.repository or "", "application": args.application or ""}
    asked |= {"preview": "true" if args.preview else ""}
    asked |= {"signature": vexin_calls.signature(args.signature) if args.signature else ""}
    answer = vexin_calls.take_in(server, deadline, raw, image=args.image or "", **asked)
    sys.stdout.write(vexin_calls.as_text(answer, is_preview=args.preview))
    return int(Exit.COULD_NOT_TELL if vexin_calls.refused(answer) else Exit.PASSED)


def decisions_list(args: argparse.Namespace) -> int:
    query = {"status": args.status, "risk": args.risk}
    rows = connect().pages("/api/v1/decisions/", Deadline(args.wait), most=args.limit, **query)
    return _rows(rows, DECISION_COLUMNS, args)


def decisions_show(args: argparse.Namespace) -> int:
    return _document(decision_calls.show(connect(), Deadline(args.wait), args.id))


def decisions_request(args: argparse.Namespace) -> int:
    scope = {"organisation": True} if args.organisation else _scope(args)
    made = decision_calls.request(
        connect(),
        Deadline(args.wait),
        kind=args.kind,
        risk=args.risk,
        scope=scope,
        reason=args.reason,
        until=args.until,
        conditions=args.conditions,
        justification=args.justification,
        controls=args.control,
    )
    return _document(made)


def _scope(args: argparse.Namespace) -> dict[str, str]:
    return {name: getattr(args, name) for name in decision_calls.SCOPES[:-1] if getattr(args, name)}


def decisions_act(args: argparse.Namespace) -> int:
    return _document(decision_calls.decide(connect(), Deadline(args.wait), args.verb, args.id, args.comment))


def controls_list(args: argparse.Namespace) -> int:
    query = {"state": args.state, "kind": args.kind, "application": args.application}
    rows = connect().pages(control_calls.PATH, Deadline(args.wait), most=args.limit, **query)
    return _rows(rows, CONTROL_COLUMNS, args)


def controls_show(args: argparse.Namespace) -> int:
    return _document(control_calls.show(connect(), Deadline(args.wait), args.id))


def controls_add(args: argparse.Namespace) -> int:
    """``secguard controls add``: proposes a control; it counts once somebody else has confirmed it."""
    document = {
        "name": args.name,
        "kind": args.kind,
        "description": args.description,
        "covers": {"organisation": True} if args.organisation else {"application": args.application},
        "kept_alive_by": args.alive_by,
        "every_hours": control_calls.hours_of(args.every),
        "watch": args.watch,
        **({"owner": args.owner} if args.owner else {}),
    }
    return _document(control_calls.propose(connect(), Deadline(args.wait), document))


def controls_evidence(args: argparse.Namespace) -> int:
    """``secguard controls evidence``: a heartbeat, or what a person saw."""
    document = {name: getattr(args, name) for name in ("kind", "says", "note", "url", "digest", "seen_at")}
    return _document(control_calls.add_evidence(connect(), Deadline(args.wait), args.id, document))


def controls_confirm(args: argparse.Namespace) -> int:
    return _document(control_calls.confirm(connect(), Deadline(args.wait), args.id))


def controls_retire(args: argparse.Namespace) -> int:
    return _document(control_calls.retire(connect(), Deadline(args.wait), args.id, args.reason))


def advisories_import(args: argparse.Namespace) -> int:
    """``secguard advisories import``: brings each source, one after another, and says what became of it."""
    server, deadline = connect(), Deadline(args.wait)
    for source in args.sources:
        with progress() as show:
            row = advisory_calls.bring(server, source, deadline, show)
        shown = {name: row[name] for name in ("id", "name", "status", "kinds", "counts", "data_at") if row.get(name)}
        sys.stdout.write(decision_calls.document_as_text(shown))
        for reason in row.get("reasons") or []:
            print(f"secguard: left out: {line(str(reason), 300)}", file=sys.stderr)  # noqa: T201 - the command line's
    return 0


def workloads_sync(args: argparse.Namespace) -> int:
    """``secguard workloads sync``: brings a cluster's workloads up to date, and names the images that nobody knows."""
    server, deadline = connect(), Deadline(args.wait)
    done = workload_calls.sync(server, args.file, deadline, cluster=args.cluster, namespace=args.namespace)
    sys.stdout.write(decision_calls.document_as_text({name: done[name] for name in ("running", "new", "gone")}))
    for image in done.get("unknown") or []:
        print(f"secguard: not known here: {line(str(image), 700)}", file=sys.stderr)  # noqa: T201 - the command line's
    return 0


NETWORK_COLUMNS = ("id", "state", "cluster", "namespace", "name", "form")


def network_policies(args: argparse.Namespace) -> int:
    """``secguard network policies``: lists those that were asked for."""
    from secguard.client import network  # noqa: PLC0415 - a pipeline's gate loads no YAML

    rows = network.listed(connect(), Deadline(args.wait), most=args.limit, state=args.state, cluster=args.cluster)
    return _rows(rows, NETWORK_COLUMNS, args)


def network_export(args: argparse.Namespace) -> int:
    """``secguard network export``: writes policies as ``kubectl apply -f`` takes them."""
    from secguard.client import network  # noqa: PLC0415

    server, deadline = connect(), Deadline(args.wait)
    if bool(args.number) + bool(args.application) > 1 or not (args.number or args.application or args.cluster):
        raise CouldNotTell("Name a policy's number, an --application, or the --cluster whose approved ones are meant.")
    if args.application:
        text = network.from_rules(
            server, deadline, application=args.application, form=args.form, cluster=args.cluster
        )  # fmt: skip
    else:
        text = network.exported(server, deadline, number=args.number, cluster=args.cluster)
    if not args.output:
        sys.stdout.write(text)
        return Exit.PASSED
    try:
        Path(args.output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise CouldNotTell(f"{args.output} cannot be written: {error.strerror}.") from error
    return Exit.PASSED


def network_simulate(args: argparse.Namespace) -> int:
    """``secguard network simulate``: exit codes 0 it would cut nothing, 1 it would, 2 could not tell."""
    from secguard.client import network  # noqa: PLC0415

    found = network.simulated(connect(), args.file, Deadline(args.wait), cluster=args.cluster)
    if args.json:
        sys.stdout.write(json.dumps(found) + "\n")
    else:
        sys.stdout.write(line(f"{found['policies']} read: {found['simulated']['words']}", 2000) + "\n")
        for one in found["refused"]:
            sys.stdout.write(line(f"not read: {one['where']}: {one['detail']}", 2000) + "\n")
    return Exit.BLOCKED if found["simulated"]["cut"] else Exit.PASSED


def admission_certificate(args: argparse.Namespace) -> int:
    """``secguard admission certificate``: prints the webhook configurations that are to be applied.

    With ``--apply`` the authority is believed before anything serves with it, and those that the cluster has already
    are patched there and not printed.
    """
    import yaml  # noqa: PLC0415 - a pipeline's gate loads neither this nor cryptography

    from secguard.client import certificate as certificates  # noqa: PLC0415
    from secguard.client.cluster import Kubectl, believe  # noqa: PLC0415

    now, place = certificates.now(), certificates.Place(args.namespace, args.service)
    authority = certificates.Authority.load(args.ca, now) if args.ca else certificates.Authority.make(now)
    serving = authority.serving(place, args.days, now)
    wanted: list[Any] = certificates.configurations(place, authority.pem)
    secret = serving.secret(place, authority)
    if args.apply:
        kubectl = Kubectl(args.context)
        wanted = believe(kubectl, wanted, authority, now)
        kubectl.put(secret)
        done = f"the secret {place.service}-tls is in the cluster"
    else:
        if not args.ca:
            authority.keep(args.out / "ca")
        certificates.write_private(args.out / "tls-secret.yaml", secret)
        done = f"kubectl apply -f {args.out / 'tls-secret.yaml'}"
    sys.stdout.write(yaml.safe_dump_all(wanted, sort_keys=False) if wanted else "")
    ends = f"{serving.certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC"
    print(f"secguard: {place.host} until {ends}; {done}", file=sys.stderr)  # noqa: T201 - the command line's
    return 0


def advisories_list(args: argparse.Namespace) -> int:
    query = {"search": args.search, "ecosystem": args.ecosystem, "package": args.package}
    rows = connect().pages("/api/v1/advisories/", Deadline(args.wait), most=args.limit, **query)
    return _rows(rows, ADVISORY_COLUMNS, args)


def sign(args: argparse.Namespace) -> int:
    """``secguard sign``: has a worker sign, waits, and shows every signature that is there."""
    with progress() as show:
        rows = signature_calls.sign(
            connect(),
            args.image,
            Deadline(args.wait),
            show,
            key=args.key,
            repository=args.repository,
            attest=args.attest,
        )
    return _rows(rows, SIGNATURE_COLUMNS, args)


def signatures(args: argparse.Namespace) -> int:
    """``secguard signatures``: what was seen; ``--look`` has a worker look again first."""
    server, deadline = connect(), Deadline(args.wait)
    if args.look:
        with progress() as show:
            rows = signature_calls.sign(server, args.image, deadline, show, key="", repository=args.repository)
    else:
        rows = signature_calls.seen(server, args.image, deadline, most=args.limit)
    return _rows(rows, SIGNATURE_COLUMNS, args)


def passport(args: argparse.Namespace) -> int:
    """``secguard passport IMAGE``, or ``secguard passport verify FILE --key PEM``: 0 it verifies, 1 it does not."""
    if args.image == "verify" and args.file:
        return _passport_verify(args)
    if args.file:
        raise CouldNotTell(
            f"One image at a time; to check a file: secguard passport verify {line(args.file)} --key PEM"
        )
    server, deadline = connect(), Deadline(args.wait)
    digest = gates.digest_of(server, args.image, deadline)
    if args.pdf:
        answer = server.file(f"/api/v1/images/{digest}/passport/", deadline, key=args.key, format="pdf")
        _write_bytes(answer.content, args.pdf)
        return Exit.PASSED
    envelope = server.get(f"/api/v1/images/{digest}/passport/", deadline, key=args.key)
    _write(json.dumps(envelope) + "\n", args.output)
    if not envelope.get("signatures"):
        sys.stderr.write("The passport is not signed: no key signs on the server.\n")
    return Exit.PASSED


def _passport_verify(args: argparse.Namespace) -> int:
    if not args.key:
        raise CouldNotTell("Say whose signature it should be: --key FILE, the public key as PEM.")
    from secguard.client import passport as passports  # noqa: PLC0415 - loads cryptography, which no other command needs

    checked = passports.verify(passports.read(args.file), key_calls.read(args.key))
    if checked.why:
        sys.stderr.write(f"It does not verify. {checked.why}\n")
        return Exit.BLOCKED
    if args.json:
        _write(json.dumps(checked.passport) + "\n", args.output)
    else:
        _write(
            "".join(line(text) + "\n" for text in ("It verifies.", *passports.summary(checked.passport))), args.output
        )
    return Exit.PASSED


def promote(args: argparse.Namespace) -> int:
    """``secguard promote``: asks and, with ``--wait``, waits; 0 promoted (or asked for), 1 refused, 2 it failed."""
    server, waits = connect(), args.wait is not None
    deadline = Deadline(args.wait if waits else 30)
    with progress() as show:
        done = promotion_calls.promote(server, args.image, args.to, deadline, show, tags=args.tag, wait=waits)
    return _promotion(done, args, waited=waits)


def promotions_list(args: argparse.Namespace) -> int:
    query = {"status": args.status, "environment": args.to}
    rows = connect().pages(promotion_calls.PATH, Deadline(args.wait), most=args.limit, **query)
    return _rows(rows, PROMOTION_COLUMNS, args)


def promotions_act(args: argparse.Namespace) -> int:
    done = promotion_calls.act(connect(), Deadline(args.wait), args.verb, args.id, args.comment)
    return _promotion(done, args, waited=False, acted=True)


def _promotion(done: dict[str, Any], args: argparse.Namespace, *, waited: bool, acted: bool = False) -> int:
    if args.json:
        sys.stdout.write(json.dumps(done) + "\n")
    else:
        sys.stdout.write(promotion_calls.as_text(done, connect().url))
    return 0 if acted else promotion_calls.exit_of(done, waited=waited)


def recall(args: argparse.Namespace) -> int:
    """``secguard recall``: calls a digest back, or lifts that, and says where it runs."""
    server, deadline = connect(), Deadline(args.wait)
    digest = gates.digest_of(server, args.image, deadline)
    done = promotion_calls.recall(server, deadline, digest, args.reason, lift=args.lift)
    if args.json:
        sys.stdout.write(json.dumps(done) + "\n")
        return 0
    sys.stdout.write(f"{'LIFTED' if args.lift else 'CALLED BACK'}: {digest}\n")
    for workload in done.get("runs") or []:
        place = "/".join(str(workload.get(part) or "") for part in ("cluster", "namespace", "kind", "name"))
        sys.stdout.write(f"runs in {line(place, 400)}\n")
    return 0


def keys_list(args: argparse.Namespace) -> int:
    path, columns = (key_calls.TRUSTED, TRUSTED_COLUMNS) if args.trusted else (key_calls.KEYS, KEY_COLUMNS)
    return _rows(connect().pages(path, Deadline(args.wait), most=args.limit), columns, args)


def keys_create(args: argparse.Namespace) -> int:
    return _key(key_calls.create(connect(), Deadline(args.wait), args.name, _origin(args)))


def keys_rotate(args: argparse.Namespace) -> int:
    return _key(key_calls.rotate(connect(), Deadline(args.wait), args.name, args.overlap, _origin(args)))


def keys_end(args: argparse.Namespace) -> int:
    return _key(key_calls.end(connect(), Deadline(args.wait), args.verb, args.name, args.reason))


def keys_public(args: argparse.Namespace) -> int:
    """Prints the PEM alone, for a file or a pipe."""
    sys.stdout.write(str(key_calls.find(connect(), Deadline(args.wait), args.name).get("public_pem", "")))
    return 0


def keys_trust(args: argparse.Namespace) -> int:
    made = key_calls.trust(connect(), Deadline(args.wait), args.name, args.key, args.repositories, args.until)
    return _key(made)


def keys_distrust(args: argparse.Namespace) -> int:
    return _key(key_calls.distrust(connect(), Deadline(args.wait), args.id, args.reason))


def _origin(args: argparse.Namespace) -> dict[str, Any]:
    """Where a new key comes from: a file, a PKCS #11 token, or (empty) wherever the server makes one."""
    if args.import_file:
        # A password on the command line is in the list of processes and in the shell's history.
        password = os.environ.get("SECGUARD_KEY_PASSWORD", "")
        return {"provider": "local", "private_key": key_calls.read(args.import_file), "password": password}
    if args.pkcs11 or args.label:
        return {"provider": "pkcs11", "label": args.label}
    return {}


def _key(row: dict[str, Any]) -> int:
    columns = dict.fromkeys((*KEY_COLUMNS, *TRUSTED_COLUMNS, "reason"))
    return _document({name: row[name] for name in columns if row.get(name) not in (None, "")})


def identities_list(args: argparse.Namespace) -> int:
    rows = connect().pages(identity_calls.PATH, Deadline(args.wait), most=args.limit)
    return _rows(rows, IDENTITY_COLUMNS, args)


def identities_create(args: argparse.Namespace) -> int:
    document = {name: getattr(args, name) for name in ("name", "kind", "issuer", "audience", "role", "team", "minutes")}
    document["claims"] = identity_calls.claims_of(args.claim)
    if args.application:
        document["applications"] = args.application
    if args.repository:
        document["repositories"] = args.repository
    return _document(identity_calls.create(connect(), Deadline(args.wait), document, args.jwks))


def identities_withdraw(args: argparse.Namespace) -> int:
    return _document(identity_calls.withdraw(connect(), Deadline(args.wait), args.identity))


def sample(args: argparse.Namespace) -> int:
    """``secguard sample``: over the API where SECGUARD_TOKEN is set, else on this machine's own database."""
    if os.environ.get("SECGUARD_TOKEN", "").strip():
        return _sample_on_server(args)
    from secguard import administration  # noqa: PLC0415 - a pipeline's gate does not load the server

    with progress() as show:
        sys.stdout.write(administration.sample(remove=args.remove, show=show) + "\n")
    return 0


def _sample_on_server(args: argparse.Namespace) -> int:
    """Asks, waits for the job, and says what it said; ``CouldNotTell`` where it failed or the time is up."""
    server, deadline = connect(), Deadline(args.wait)
    asked = server.send("DELETE" if args.remove else "POST", "/api/v1/sample/", deadline)
    with progress() as show:
        for _ in deadline.pauses():
            if asked.get("status") in ("succeeded", "failed", "cancelled"):
                break
            at = asked.get("progress") or {}
            show(str(at.get("text") or asked.get("status")), int(at.get("done") or 0), int(at.get("total") or 0))
            asked = server.get("/api/v1/sample/", deadline)
    if asked.get("status") != "succeeded":
        said = line(str(asked.get("message") or "it goes on without this command"))
        raise CouldNotTell(f"The job {asked.get('job')} is {asked.get('status')}: {said}.")
    sys.stdout.write(f"{line(str(asked.get('message') or asked.get('state')))}\n")
    return 0


def _rows(rows: list[dict[str, Any]], columns: tuple[str, ...], args: argparse.Namespace) -> int:
    if args.json:
        sys.stdout.writelines(json.dumps(row) + "\n" for row in rows)
    elif rows:
        present = [name for name in columns if any(name in row for row in rows)]
        sys.stdout.write(decision_calls.rows_as_text(rows, present or list(rows[0])))
    else:
        print("Nothing found.", file=sys.stderr)  # noqa: T201 - this module is the command line's
    return 0


def _document(document: dict[str, Any]) -> int:
    sys.stdout.write(decision_calls.document_as_text(document))
    return 0
