"""The ``secguard`` command.

Most of it is a thin client over the REST API (SECGUARD_URL, SECGUARD_TOKEN); ``up``, ``migrate``, ``token``, ``user``
and ``audit verify`` without a file work on the server's own machine. Exit codes: 0 pass or warn, 1 blocked
(``audit``: not as it was written), 2 could not tell or could not do, with the reason in words.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from secguard import audit_commands, client_commands, environment, server_commands
from secguard.agent import command as agent_command
from secguard.client.controls import KINDS as CONTROL_KINDS
from secguard.client.controls import SAYS, WAYS
from secguard.client.controls import STATES as CONTROL_STATES
from secguard.client.decisions import JUSTIFICATIONS, KINDS, SCOPES, VERBS
from secguard.client.formats import FORMATS
from secguard.client.gate import STAGES
from secguard.client.identities import KINDS as IDENTITY_KINDS
from secguard.client.promotions import VERBS as PROMOTION_VERBS
from secguard.client.rest import CouldNotTell
from secguard.client.verdict import Exit
from secguard.client.vex import FORMATS as VEX_FORMATS
from secguard.errors import SecGuardError

Command = Callable[[argparse.Namespace], int]

ONLY_APPLICATION = "for this application of the team alone, and nothing else; once for each"
ONLY_REPOSITORY = "for repositories of the team alone whose names fit, like registry.example/shop/*; once for each"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code and never raises for what a person can mend."""
    _take_any_terminal()
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (CouldNotTell, environment.BadEnvironment) as error:
        return _say(str(error))
    except SecGuardError as error:
        return _say(error.detail)
    except KeyboardInterrupt:
        return _say("Stopped before there was an answer.")
    except BrokenPipeError:
        # The reader of the output went away (`| head`): no more can be told, and no traceback helps.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.COULD_NOT_TELL
    except Exception as error:  # noqa: BLE001 - Python's own exit code for a crash is 1, which would read as "blocked"
        if isinstance(error.__cause__, environment.BadEnvironment):  # Django's settings say it in their own exception
            return _say(str(error.__cause__))
        traceback.print_exc()
        return _say("An internal error, shown above; please report it. There is no answer.")


def _take_any_terminal() -> None:
    """A terminal or a log whose encoding lacks a character shows a stand-in: no answer is lost to an em dash."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace" if stream is sys.stderr else "replace")


def _say(words: str) -> int:
    print(f"secguard: {words}", file=sys.stderr)
    return Exit.COULD_NOT_TELL


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = argparse.ArgumentParser(prog="secguard", description="May this image go on, and who said so?")
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _pipeline_commands(commands)
    _decision_commands(commands)
    _control_commands(commands)
    _policy_commands(commands)
    _compliance_commands(commands)
    _advisory_commands(commands)
    _promotion_commands(commands)
    _workload_commands(commands)
    _network_commands(commands)
    _admission_commands(commands)
    _key_commands(commands)
    _identity_commands(commands)
    _server_commands(commands)
    return top


def _add(commands: Any, name: str, run: Command, words: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    command.set_defaults(run=run)
    return command


def _waiting(command: argparse.ArgumentParser, seconds: int) -> None:
    command.add_argument(
        "--wait", type=_seconds, default=seconds, metavar="SECONDS", help=f"how long it may take (default {seconds})"
    )


def _seconds(text: str) -> int:
    value = int(text) if text.isdigit() else -1
    if not 0 <= value <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r}: expected whole seconds, 0 to 86400")
    return value


def _image(text: str) -> str:
    """An empty name comes from a pipeline's unset variable: it must never be answered with some other image."""
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty; is the variable that names the image set?")
    return text.strip()


def _pipeline_commands(commands: Any) -> None:
    gate = _add(commands, "gate", client_commands.gate, "Ask whether an image may go on; exit code 0, 1 or 2.")
    gate.add_argument("image", type=_image, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    gate.add_argument("--report", metavar="FILE", help="post this scanner's output first; - for the standard input")
    _about_report(gate)
    gate.add_argument("--stage", choices=STAGES, default="build", help="default build")
    gate.add_argument("--format", choices=sorted(FORMATS), default="table", help="default table")
    gate.add_argument("--output", metavar="FILE", help="write there instead of to the standard output")
    _waiting(gate, 120)
    report = _add(commands, "report", client_commands.report, "Post a scanner's output.")
    report.add_argument("file", metavar="FILE", help="the report; - for the standard input")
    report.add_argument("--image", default="", help="what it is about, where the report does not say it")
    _about_report(report)
    _waiting(report, 120)
    scan = _add(commands, "scan", client_commands.scan, "Have a worker scan an image; exit code as the gate's.")
    scan.add_argument("target", type=_image, metavar="IMAGE|PATH", help="a reference, an archive, or an OCI layout")
    scan.add_argument("--image", default="", help="what the image in an archive is called: registry/repository:tag")
    scan.add_argument("--application", default="", metavar="SLUG", help="whose it is, for a new repository")
    scan.add_argument("--cancel", action="store_true", help="call off the scan whose number is given instead")
    scan.add_argument("--stage", choices=STAGES, default="build", help="default build")
    scan.add_argument("--format", choices=sorted(FORMATS), default="table", help="default table")
    scan.add_argument("--output", metavar="FILE", help="write there instead of to the standard output")
    _waiting(scan, 900)
    images = _add(commands, "images", client_commands.images, "List images.")
    images.add_argument("search", nargs="?", default="", help="words to look for")
    _listing(images)
    findings = _add(commands, "findings", client_commands.findings, "List what was found in an image.")
    findings.add_argument("image", type=_image, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    _listing(findings)
    vex = _add(commands, "vex", client_commands.vex, "Write the decisions in force as VEX, for other tools.")
    about = vex.add_mutually_exclusive_group()
    about.add_argument(
        "image",
        nargs="?",
        type=_image,
        metavar="IMAGE",
        help="a reference, or a digest; by default all images",
    )
    about.add_argument("--repository", default="", metavar="NAME", help="all images of a repository (registry/path)")
    about.add_argument("--application", default="", metavar="SLUG", help="all images of an application")
    vex.add_argument("--format", choices=VEX_FORMATS, default=VEX_FORMATS[0])
    vex.add_argument("-o", "--output", metavar="FILE", help="write there instead of to the standard output")
    how = vex.add_mutually_exclusive_group()
    how.add_argument("--dsse", action="store_true", help="in a signed DSSE envelope")
    how.add_argument("--signature", metavar="FILE", help="write a signature there, for cosign verify-blob")
    vex.add_argument("--key", default="", metavar="NAME", help="the key that signs; by default the newest that does")
    _waiting(vex, 60)
    vexin = _add(commands, "vex-import", client_commands.vex_import, "Ask for the decisions that a VEX document says.")
    vexin.add_argument("file", metavar="FILE", help="a VEX document, .trivyignore or .grype.yaml; - for stdin")
    vexin.add_argument("--image", type=_image, metavar="IMAGE", help="the image that it is about (reference or digest)")
    inside = vexin.add_mutually_exclusive_group()
    inside.add_argument("--repository", metavar="NAME", help="ask for nothing outside of this repository")
    inside.add_argument("--application", metavar="SLUG", help="ask for nothing outside of this application")
    vexin.add_argument("--preview", action="store_true", help="say what would be asked for, and ask for nothing")
    vexin.add_argument("--signature", metavar="FILE", help="the author's signature beside it, base64")
    vexin.add_argument("--until", default="", metavar="TIME", help="when the decisions end (2026-12-31T00:00:00Z)")
    _waiting(vexin, 120)
    sample = _add(commands, "sample", client_commands.sample, "Load the sample organisation, or remove it.")
    sample.add_argument("--remove", action="store_true", help="remove everything that is marked as sample")
    _waiting(sample, 600)


def _about_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scanner", default="", help="the scanner's name, where the report does not say it")
    command.add_argument("--application", default="", help="whose a new repository is: an application's slug")
    command.add_argument("--renamed", action="store_true", help="the image got another name since it was scanned")


def _listing(command: argparse.ArgumentParser) -> None:
    command.add_argument("--limit", type=int, default=50, choices=range(1, 10_001), metavar="N", help="default 50")
    command.add_argument("--json", action="store_true", help="the documents themselves, one a line")
    _waiting(command, 30)


def _decision_commands(commands: Any) -> None:
    group = commands.add_parser("decisions", help="List, ask for, approve, reject, withdraw and revoke decisions.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = _add(verbs, "list", client_commands.decisions_list, "List decisions.")
    listing.add_argument("--status", default="", help="requested, approved, rejected, withdrawn, revoked or ended")
    listing.add_argument("--risk", default="", help="a risk's id")
    _listing(listing)
    show = _add(verbs, "show", client_commands.decisions_show, "Show one decision.")
    show.add_argument("id")
    _waiting(show, 30)
    ask = _add(verbs, "request", client_commands.decisions_request, "Ask for a decision on a risk.")
    ask.add_argument("--risk", required=True, help="a risk's id, or words that find exactly one, like a CVE's number")
    ask.add_argument("--kind", choices=KINDS, default="accept", help="default accept")
    where = ask.add_mutually_exclusive_group(required=True)
    for scope in SCOPES[:-1]:
        where.add_argument(f"--{scope}", help=f"only for this {scope}")
    where.add_argument("--organisation", action="store_true", help="everywhere")
    ask.add_argument("--reason", required=True, help="why, for the reviewer")
    ask.add_argument("--justification", choices=JUSTIFICATIONS, default="", help="of not_affected: what makes it so")
    ask.add_argument(
        "--control", action="append", default=[], type=int, metavar="ID", help="that it leans on; mitigate needs one"
    )
    ask.add_argument("--until", required=True, help="when it ends: 2027-01-31, or a time with its zone")
    ask.add_argument("--conditions", type=_json_object, default={}, help='a JSON object, like {"until_fix": true}')
    _waiting(ask, 30)
    for verb in VERBS:
        act = _add(verbs, verb, client_commands.decisions_act, f"{verb.capitalize()} a decision.")
        act.set_defaults(verb=verb)
        act.add_argument("id")
        if verb == "withdraw":
            act.set_defaults(comment="")
        else:
            needed = verb in ("reject", "revoke")
            act.add_argument("--comment", default="", required=needed, help="what the log and the other side read")
        _waiting(act, 30)


def _control_commands(commands: Any) -> None:
    group = commands.add_parser("controls", help="Controls: list, propose, confirm, give evidence, retire.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = _add(verbs, "list", client_commands.controls_list, "List controls.")
    listing.add_argument("--state", choices=CONTROL_STATES, default="", help="as it is now")
    listing.add_argument("--kind", choices=CONTROL_KINDS, default="")
    listing.add_argument("--application", default="", help="an application's slug")
    _listing(listing)
    add = _add(verbs, "add", client_commands.controls_add, "Propose a control.")
    add.add_argument("name")
    add.add_argument("--kind", choices=CONTROL_KINDS, required=True)
    where = add.add_mutually_exclusive_group(required=True)
    where.add_argument("--application", default="", help="that it covers, by its slug")
    where.add_argument("--organisation", action="store_true", help="it covers everything")
    add.add_argument("--alive-by", choices=WAYS, required=True, help="how it is known that it still holds")
    add.add_argument("--every", required=True, metavar="TIME", help="evidence comes at least this often: 12h, 30d")
    add.add_argument("--owner", default="", help="the person who answers for it (default the team)")
    add.add_argument("--description", default="", help="what it does, and where it is to be found")
    add.add_argument("--watch", type=_json_object, default={}, help="of observation: a JSON object (docs/controls.md)")
    _waiting(add, 30)
    seen = _add(verbs, "evidence", client_commands.controls_evidence, "Say that a control holds, or that it does not.")
    seen.add_argument("id")
    seen.add_argument("--kind", choices=WAYS[:2], default="heartbeat", help="default heartbeat")
    seen.add_argument("--says", choices=SAYS, default="holds", help="default holds")
    seen.add_argument("--note", default="", help="what was seen, and how")
    seen.add_argument("--url", default="", help="where it can be seen")
    seen.add_argument("--digest", default="", help="of a file that shows it: sha256:...")
    seen.add_argument("--seen-at", default="", metavar="TIME", help="default now")
    _waiting(seen, 30)
    for verb, work, text in (
        ("show", client_commands.controls_show, "Show one control."),
        ("confirm", client_commands.controls_confirm, "Confirm a control that somebody else proposed."),
        ("retire", client_commands.controls_retire, "Retire a control; what leans on it ends."),
    ):
        act = _add(verbs, verb, work, text)
        act.add_argument("id")
        if verb == "retire":
            act.add_argument("--reason", required=True, help="what the log and the other side read")
        _waiting(act, 30)


def _promotion_commands(commands: Any) -> None:
    ask = _add(commands, "promote", client_commands.promote, "Promote an image by digest; exit code 0, 1 or 2.")
    ask.add_argument("image", type=_image, metavar="IMAGE", help="registry/repository:tag, or @sha256:...")
    ask.add_argument("--to", required=True, metavar="ENVIRONMENT", help="where to: production")
    ask.add_argument(
        "--tag", action="append", default=[], metavar="TAG", help="that is moved to it there (default: its own)"
    )
    ask.add_argument(
        "--wait",
        nargs="?",
        type=_seconds,
        const=900,
        metavar="SECONDS",
        help="wait for the end, at most this long (900 where no number follows)",
    )
    ask.add_argument("--json", action="store_true", help="the document itself")
    group = commands.add_parser("promotions", help="List promotions, approve, reject, withdraw and retry them.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = _add(verbs, "list", client_commands.promotions_list, "List promotions.")
    listing.add_argument(
        "--status", default="", help="waiting, running, promoted, refused, failed, withdrawn, recalled"
    )
    listing.add_argument("--to", default="", metavar="ENVIRONMENT", help="only to this environment")
    _listing(listing)
    for verb in PROMOTION_VERBS:
        act = _add(verbs, verb, client_commands.promotions_act, f"{verb.capitalize()} a promotion.")
        act.set_defaults(verb=verb)
        act.add_argument("id")
        act.add_argument("--json", action="store_true", help="the document itself")
        if verb in ("approve", "reject"):
            act.add_argument("--comment", default="", required=verb == "reject", help="what the other side reads")
        else:
            act.set_defaults(comment="")
        _waiting(act, 30)
    back = _add(commands, "recall", client_commands.recall, "Call a digest back: no gate lets it pass any more.")
    back.add_argument("image", type=_image, metavar="IMAGE", help="a digest (sha256:...), or a reference")
    back.add_argument("--reason", required=True, help="whoever meets the refused image reads it")
    back.add_argument("--lift", action="store_true", help="lift it again: the image is judged by itself")
    back.add_argument("--json", action="store_true", help="the document itself")
    _waiting(back, 30)


def _workload_commands(commands: Any) -> None:
    group = commands.add_parser("workloads", help="What runs where.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    sync = _add(
        verbs,
        "sync",
        client_commands.workloads_sync,
        "Bring a cluster's workloads up to date with its pods, as kubectl get pods -A -o json lists them.",
    )
    sync.add_argument("file", nargs="?", default="-", metavar="FILE", help="the list; - for the standard input")
    sync.add_argument("--cluster", required=True, metavar="NAME", help="whose pods they are")
    sync.add_argument("--namespace", default="", help="the list is of this namespace alone")
    _waiting(sync, 300)


def _network_commands(commands: Any) -> None:
    group = commands.add_parser("network", help="Network policies as files: list, export and simulate.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = _add(verbs, "policies", client_commands.network_policies, "List policies that were asked for.")
    listing.add_argument("--state", default="", help="open, approved, rejected or withdrawn")
    listing.add_argument("--cluster", default="", metavar="NAME", help="of this cluster alone")
    _listing(listing)
    export = _add(
        verbs,
        "export",
        client_commands.network_export,
        "Write policies as kubectl apply -f takes them: one, a cluster's approved ones, or what the rules say.",
    )
    export.add_argument("number", nargs="?", default="", type=_digits, metavar="NUMBER", help="of one policy")
    export.add_argument("--application", default="", metavar="SLUG", help="what the rules say of it, instead")
    export.add_argument("--form", choices=("kubernetes", "cilium"), default="kubernetes", help="default kubernetes")
    export.add_argument("--cluster", default="", metavar="NAME", help="every approved one of it")
    export.add_argument("-o", "--output", default="", metavar="FILE", help="instead of the standard output")
    _waiting(export, 60)
    tried = _add(
        verbs,
        "simulate",
        client_commands.network_simulate,
        "What policies in a file would cut of what was recorded. Exit codes: 0 nothing, 1 something.",
    )
    tried.add_argument("file", metavar="FILE", help="YAML or JSON; - for the standard input")
    tried.add_argument("--cluster", required=True, metavar="NAME", help="where they would be applied")
    tried.add_argument("--json", action="store_true", help="the simulation's document")
    _waiting(tried, 120)


def _digits(text: str) -> str:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a policy's number, as `secguard network policies` lists")
    return text


def _admission_commands(commands: Any) -> None:
    group = commands.add_parser("admission", help="What clusters ask before anything starts.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    _certificate_command(verbs)
    agent_command.arguments(_add(verbs, "agent", agent_command.run, agent_command.WORDS))


def _certificate_command(verbs: Any) -> None:
    made = _add(
        verbs,
        "certificate",
        client_commands.admission_certificate,
        "Make the certificate of the proxy in a cluster; prints the webhook configurations that believe it.",
    )
    shipped = "secguard-admission"
    made.add_argument("--namespace", default=shipped, help=f"the proxy's namespace (default {shipped})")
    made.add_argument("--service", default=shipped, help=f"the proxy's service (default {shipped})")
    made.add_argument("--days", type=int, default=365, help="how long it lives (default 365)")
    made.add_argument("--ca", type=Path, metavar="FOLDER", help="the authority made earlier, which signs again")
    made.add_argument("--context", default="", metavar="NAME", help="of the kubeconfig, with --apply")
    to = made.add_mutually_exclusive_group()
    to.add_argument(
        "--out",
        type=Path,
        default=Path("secguard-admission-tls"),
        metavar="FOLDER",
        help="write the secret and the authority there (default secguard-admission-tls)",
    )
    to.add_argument("--apply", action="store_true", help="put them into the cluster with kubectl instead")


def _policy_commands(commands: Any) -> None:
    group = commands.add_parser("policy", help="The policy as files: test, diff, simulate, apply and export.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    for verb, words in (
        ("test", "Run a policy's tests, without a server. Exit codes: 0 all pass, 1 some fail."),
        ("diff", "What a file changes about the policy in force. Exit codes: 0 nothing, 1 something."),
        ("apply", "Keep a file as the next version; does nothing where it is kept already."),
        ("simulate", "What a draft would turn, now and in a period. Exit codes: 0 it blocks nothing new, 1 it does."),
    ):
        command = _policy_command(verbs, verb, words)
        command.add_argument("file", metavar="FILE", help="the policy, YAML")
        if verb != "simulate":
            command.add_argument("--tests", metavar="FILE", help="its tests; else those of FILE's name and .tests.yaml")
        if verb == "apply":
            command.add_argument("--activate", action="store_true", help="let it gate at once")
            command.add_argument(
                "--at", action="append", default=[], metavar="GATE=MODE", help="observe or warn there: admit=observe"
            )
            command.add_argument("--comment", default="", metavar="TEXT", help="what changes, and why")
        if verb == "simulate":
            command.add_argument("--since", default="", metavar="TIME", help="replay gates and admissions from here on")
            command.add_argument("--appetite", action="store_true", help="FILE is the draft of a risk appetite")
            command.add_argument("--json", action="store_true", help="the simulation's document")
        if verb in ("diff", "apply"):
            command.add_argument("--name", default="", metavar="NAME", help="of the policy on the server")
        if verb != "test":
            _waiting(command, 600 if verb == "simulate" else 60)
    export = _policy_command(verbs, "export", "Write the policy in force, and its tests, to files.")
    export.add_argument("--name", default="", metavar="NAME", help="the newest version of this policy instead")
    export.add_argument("-o", "--output", default="", metavar="FILE", help="the policy; its tests go beside it")
    _waiting(export, 60)


def _policy_command(verbs: Any, verb: str, words: str) -> argparse.ArgumentParser:
    def run(args: argparse.Namespace) -> int:
        from secguard import policy_commands  # noqa: PLC0415 - loads the rules, which no other command needs

        return int(getattr(policy_commands, verb)(args))

    return _add(verbs, verb, run, words)


def _compliance_commands(commands: Any) -> None:
    group = commands.add_parser("compliance", help="Frameworks of controls as files: check them.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")

    def run(args: argparse.Namespace) -> int:
        from secguard import compliance_commands  # noqa: PLC0415 - as with a policy's rules

        return compliance_commands.check(args)

    words = "Check a framework, without a server. Exit codes: 0 it can be used, 1 it has faults."
    command = _add(verbs, "check", run, words)
    command.add_argument("file", metavar="FILE", help="the framework, YAML")
    command.add_argument("--server", action="store_true", help="look up on the server which checks there are")
    _waiting(command, 60)


def _advisory_commands(commands: Any) -> None:
    group = commands.add_parser("advisories", help="Bring vulnerability data, and look it up.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    bring = _add(
        verbs,
        "import",
        client_commands.advisories_import,
        "Import advisories (OSV, secdb, Debian's tracker), KEV or EPSS: a file, a folder or an https address.",
    )
    bring.add_argument("sources", nargs="+", metavar="FILE|FOLDER|URL")
    _waiting(bring, 3600)
    listing = _add(verbs, "list", client_commands.advisories_list, "List advisories.")
    listing.add_argument("search", nargs="?", default="", help="an advisory's id, or any name of a flaw")
    listing.add_argument("--ecosystem", default="", help="as OSV writes it, like PyPI or Debian:12")
    listing.add_argument("--package", default="", help="a package of that ecosystem")
    _listing(listing)


def _key_commands(commands: Any) -> None:
    sign = _add(commands, "sign", client_commands.sign, "Have a worker sign an image where it lies.")
    sign.add_argument("image", type=_image, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    sign.add_argument("--key", required=True, metavar="NAME", help="the key's name")
    sign.add_argument(
        "--attest", action="store_true", help="put the verdict, the decisions in force and the SBOM beside it too"
    )
    sign.add_argument("--repository", default="", help="where the image lies, if that is in several places")
    sign.add_argument("--json", action="store_true", help="the documents themselves, one a line")
    _waiting(sign, 120)
    seen = _add(commands, "signatures", client_commands.signatures, "List who signed an image, and what that is worth.")
    seen.add_argument("image", type=_image, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    seen.add_argument("--look", action="store_true", help="have a worker look into the registry first")
    seen.add_argument("--repository", default="", help="where to look, if the image lies in several places")
    _listing(seen)
    carried = _add(
        commands, "passport", client_commands.passport, "Fetch an image's passport; or check one: passport verify FILE."
    )
    carried.add_argument("image", type=_image, metavar="IMAGE", help="a reference, or a digest; or the word verify")
    carried.add_argument(
        "file", nargs="?", metavar="FILE", help="after verify: the passport to check, without a server"
    )
    carried.add_argument(
        "--key",
        default="",
        metavar="KEY",
        help="the name of the key that signs; after verify: its public key, a PEM file",
    )
    carried.add_argument("-o", "--output", metavar="FILE", help="write there instead of to the standard output")
    carried.add_argument("--pdf", metavar="FILE", help="write it there as PDF, with the signed document attached")
    carried.add_argument("--json", action="store_true", help="after verify: the passport itself")
    _waiting(carried, 60)
    group = commands.add_parser("keys", help="The keys that sign, and whose signatures count besides.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = _add(verbs, "list", client_commands.keys_list, "List the keys that sign and those that did.")
    listing.add_argument("--trusted", action="store_true", help="other people's keys instead")
    _listing(listing)
    create = _add(verbs, "create", client_commands.keys_create, "Make or import a key.")
    create.add_argument("name", help="of the line of keys, like production")
    _key_origin(create)
    rotate = _add(verbs, "rotate", client_commands.keys_rotate, "Put a new key in the place of one that signs.")
    rotate.add_argument("name", help="the key's name or id")
    rotate.add_argument(
        "--overlap", type=int, default=90, metavar="DAYS", help="how long what the old one signed counts (default 90)"
    )
    _key_origin(rotate)
    for verb, words in (
        ("retire", "What a key signed counts no more, without a word against it."),
        ("revoke", "Nothing that a key ever signed counts, at once and for good."),
    ):
        act = _add(verbs, verb, client_commands.keys_end, words)
        act.set_defaults(verb=verb)
        act.add_argument("name", help="the key's name or id")
        act.add_argument("--reason", default="", required=verb == "revoke", help="what the log and others read")
        _waiting(act, 30)
    public = _add(verbs, "public", client_commands.keys_public, "Print a key's public part as PEM.")
    public.add_argument("name", help="the key's name or id")
    _waiting(public, 30)
    trust = _add(verbs, "trust", client_commands.keys_trust, "Let what somebody else's key signed count.")
    trust.add_argument("name", help="whose key it is")
    trust.add_argument("--key", required=True, metavar="FILE", help="the public key, PEM; - for the standard input")
    trust.add_argument("--repositories", required=True, metavar="PATTERN", help="registry.example/shop/*")
    trust.add_argument("--until", help="when the trust ends: a time with its zone (default: when it is withdrawn)")
    _waiting(trust, 30)
    distrust = _add(verbs, "distrust", client_commands.keys_distrust, "Withdraw the trust in somebody else's key.")
    distrust.add_argument("id")
    distrust.add_argument("--reason", required=True, help="what the log and others read")
    _waiting(distrust, 30)


def _key_origin(command: argparse.ArgumentParser) -> None:
    where = command.add_mutually_exclusive_group()
    where.add_argument(
        "--import",
        dest="import_file",
        default="",
        metavar="FILE",
        help="a private key, PEM; - for the standard input; its password in SECGUARD_KEY_PASSWORD",
    )
    where.add_argument("--pkcs11", action="store_true", help="make it in the server's PKCS #11 token")
    where.add_argument("--label", default="", help="take the key of that label, which is in the token already")
    _waiting(command, 30)


def _identity_commands(commands: Any) -> None:
    group = commands.add_parser("identities", help="Pipelines that need no secret: their own token is exchanged.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    _listing(_add(verbs, "list", client_commands.identities_list, "List the CI identities."))
    made = _add(verbs, "create", client_commands.identities_create, "Trust a pipeline's tokens.")
    made.add_argument("name")
    made.add_argument("--kind", choices=IDENTITY_KINDS, required=True, help="whose tokens they are")
    made.add_argument("--issuer", default="", metavar="URL", help="as in the token (default GitHub's, or gitlab.com)")
    made.add_argument("--audience", default="", help="as in the token (default the server's address)")
    made.add_argument(
        "--claim", action="append", required=True, metavar="NAME=PATTERN", help="repository=acme/shop; once for each"
    )
    made.add_argument("--jwks", default="", metavar="FILE", help="the issuer's keys, where the server cannot ask it")
    made.add_argument("--role", required=True, help="what it gets: viewer, developer or operator")
    made.add_argument("--team", default="", metavar="SLUG", help="in this team only")
    made.add_argument("--application", action="append", default=[], metavar="SLUG", help=ONLY_APPLICATION)
    made.add_argument("--repository", action="append", default=[], metavar="PATTERN", help=ONLY_REPOSITORY)
    made.add_argument("--minutes", type=int, default=15, help="how long a token lives, 60 at most (default 15)")
    _waiting(made, 30)
    gone = _add(verbs, "withdraw", client_commands.identities_withdraw, "Trust a pipeline no more.")
    gone.add_argument("identity", help="its id or its name")
    _waiting(gone, 30)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError("expected a JSON object")
    return value


def _server_commands(commands: Any) -> None:
    _add(commands, "up", server_commands.up, "Serve web, API and workers on this machine.")
    _add(commands, "migrate", server_commands.migrate, "Bring the database to this release's tables.")
    token = commands.add_parser("token", help="Tokens, on the server's machine.").add_subparsers(required=True)
    create = _add(token, "create", server_commands.token_create, "Make an API token; an unknown user or team is made.")
    create.add_argument("--role", required=True, help="the role it carries")
    create.add_argument("--user", help="whose it is (default: a service named after the role)")
    create.add_argument("--team", help="narrow it to this team")
    create.add_argument("--application", action="append", default=[], metavar="SLUG", help=ONLY_APPLICATION)
    create.add_argument("--repository", action="append", default=[], metavar="PATTERN", help=ONLY_REPOSITORY)
    create.add_argument("--expires", type=int, metavar="DAYS", help="days it lives (default 90)")
    create.add_argument("--print", action="store_true", help="print the token alone, for a script")
    user = commands.add_parser("user", help="People, on the server's machine.").add_subparsers(required=True)
    made = _add(user, "create", server_commands.user_create, "Make a person; prints a one-time sign-in link.")
    made.add_argument("name")
    made.add_argument("--role", required=True, help="their first role")
    made.add_argument("--team", help="in this team only; an unknown one is made")
    link = _add(user, "link", server_commands.user_link, "Print a new one-time sign-in link for a person.")
    link.add_argument("name")
    audit = commands.add_parser("audit", help="The audit log.").add_subparsers(required=True)
    _audit_commands(audit)


def _audit_commands(audit: Any) -> None:
    def command(name: str, run: Command, words: str) -> argparse.ArgumentParser:
        return _add(audit, name, audit_commands.saying_failures(run), words)

    verify = command("verify", audit_commands.verify, "Check that the audit log, or an export, is as it was written.")
    verify.add_argument("export", nargs="?", type=Path, metavar="EXPORT", help="check this export (NDJSON), offline")
    verify.add_argument("--file", type=Path, metavar="EXPORT", help="the same")
    verify.add_argument("--head", action="append", default=[], help="a head kept from earlier: SEQUENCE:DIGEST")
    proof = command("verify-proof", audit_commands.verify_proof, "Check a proof offline, by the keys that you keep.")
    proof.add_argument("proof", type=Path, metavar="PROOF", help="what `secguard audit prove` wrote")
    for one in (verify, proof):
        words = "a signed checkpoint kept from earlier; once for each"
        one.add_argument("--checkpoint", action="append", type=Path, default=[], metavar="NOTE", help=words)
    prove = command(
        "prove", audit_commands.prove, "Write the proof of one entry, or that a checkpoint continues another."
    )
    prove.add_argument("sequence", nargs="?", type=int, help="the entry's number")
    prove.add_argument("--from", dest="older", type=int, metavar="SIZE", help="entries of the older of two checkpoints")
    prove.add_argument("--size", type=int, help="entries of the checkpoint to prove it in (default: the newest)")
    taken = command("checkpoint", audit_commands.take_checkpoint, "Write the newest signed checkpoint.")
    taken.add_argument("--new", action="store_true", help="have a new one made of what the log holds now")
    keys = command("keys", audit_commands.keys, "Write the public keys that checkpoints are signed with.")
    witness = command("witness", audit_commands.witness, "Hold the newest checkpoint against the one kept in a file.")
    witness.add_argument("file", type=Path, metavar="FILE", help="where the checkpoint is kept; made at the first run")
    for one in (prove, taken, keys):
        one.add_argument(
            "-o", "--output", type=Path, metavar="FILE", help="write there instead of to the standard output"
        )
    for one in (verify, proof, taken, witness):
        one.add_argument("--key", type=Path, metavar="KEYS", help="the log's public keys, as you keep them")
    for one in (prove, taken, keys, witness):
        _waiting(one, 60)


if __name__ == "__main__":
    sys.exit(main())
