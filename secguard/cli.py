"""The ``secguard`` command.

Most of it is a thin client over the REST API (SECGUARD_URL, SECGUARD_TOKEN); ``up``, ``migrate``, ``token``, ``user``
and ``audit verify`` without a file work on the server's own machine. Exit codes: 0 pass or warn, 1 blocked
(``audit``: not as it was written), 2 could not tell or could not do, with the reason in words.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from secguard import audit_commands, client_commands, environment, key_arguments, server_commands
from secguard.agent import command as agent_command
from secguard.arguments import (
    ONLY_APPLICATION,
    ONLY_REPOSITORY,
    Command,
    add_command,
    image_name,
    json_object,
    listing_options,
    number,
    wait_option,
    whole_seconds,
)
from secguard.client.controls import KINDS as CONTROL_KINDS
from secguard.client.controls import SAYS, WAYS
from secguard.client.controls import STATES as CONTROL_STATES
from secguard.client.decisions import JUSTIFICATIONS, KINDS, SCOPES, VERBS
from secguard.client.formats import FORMATS
from secguard.client.gate import STAGES
from secguard.client.promotions import VERBS as PROMOTION_VERBS
from secguard.client.rest import CouldNotTell
from secguard.client.verdict import Exit
from secguard.client.vex import FORMATS as VEX_FORMATS
from secguard.errors import SecGuardError


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
    key_arguments.add_keys(commands)
    key_arguments.add_identities(commands)
    _server_commands(commands)
    return top


def _pipeline_commands(commands: Any) -> None:
    gate = add_command(commands, "gate", client_commands.gate, "Ask whether an image may go on; exit code 0, 1 or 2.")
    gate.add_argument("image", type=image_name, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    gate.add_argument("--report", metavar="FILE", help="post this scanner's output first; - for the standard input")
    _about_report(gate)
    gate.add_argument("--stage", choices=STAGES, default="build", help="default build")
    gate.add_argument("--format", choices=sorted(FORMATS), default="table", help="default table")
    gate.add_argument("--output", metavar="FILE", help="write there instead of to the standard output")
    wait_option(gate, 120)
    report = add_command(commands, "report", client_commands.report, "Post a scanner's output.")
    report.add_argument("file", metavar="FILE", help="the report; - for the standard input")
    report.add_argument("--image", default="", help="what it is about, where the report does not say it")
    _about_report(report)
    wait_option(report, 120)
    scan = add_command(commands, "scan", client_commands.scan, "Have a worker scan an image; exit code as the gate's.")
    scan.add_argument("target", type=image_name, metavar="IMAGE|PATH", help="a reference, an archive, or an OCI layout")
    scan.add_argument("--image", default="", help="what the image in an archive is called: registry/repository:tag")
    scan.add_argument("--application", default="", metavar="SLUG", help="whose it is, for a new repository")
    scan.add_argument("--cancel", action="store_true", help="call off the scan whose number is given instead")
    scan.add_argument("--stage", choices=STAGES, default="build", help="default build")
    scan.add_argument("--format", choices=sorted(FORMATS), default="table", help="default table")
    scan.add_argument("--output", metavar="FILE", help="write there instead of to the standard output")
    wait_option(scan, 900)
    images = add_command(commands, "images", client_commands.images, "List images.")
    images.add_argument("search", nargs="?", default="", help="words to look for")
    listing_options(images)
    findings = add_command(commands, "findings", client_commands.findings, "List what was found in an image.")
    findings.add_argument("image", type=image_name, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    listing_options(findings)
    vex = add_command(commands, "vex", client_commands.vex, "Write the decisions in force as VEX, for other tools.")
    about = vex.add_mutually_exclusive_group()
    about.add_argument(
        "image",
        nargs="?",
        type=image_name,
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
    wait_option(vex, 60)
    vexin = add_command(
        commands, "vex-import", client_commands.vex_import, "Ask for the decisions that a VEX document says."
    )
    vexin.add_argument("file", metavar="FILE", help="a VEX document, .trivyignore or .grype.yaml; - for stdin")
    vexin.add_argument(
        "--image", type=image_name, metavar="IMAGE", help="the image that it is about (reference or digest)"
    )
    inside = vexin.add_mutually_exclusive_group()
    inside.add_argument("--repository", metavar="NAME", help="ask for nothing outside of this repository")
    inside.add_argument("--application", metavar="SLUG", help="ask for nothing outside of this application")
    vexin.add_argument("--preview", action="store_true", help="say what would be asked for, and ask for nothing")
    vexin.add_argument("--signature", metavar="FILE", help="the author's signature beside it, base64")
    vexin.add_argument("--until", default="", metavar="TIME", help="when the decisions end (2026-12-31T00:00:00Z)")
    wait_option(vexin, 120)
    sample = add_command(commands, "sample", client_commands.sample, "Load the sample organisation, or remove it.")
    sample.add_argument("--remove", action="store_true", help="remove everything that is marked as sample")
    wait_option(sample, 600)


def _about_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--scanner", default="", help="the scanner's name, where the report does not say it")
    command.add_argument("--application", default="", help="whose a new repository is: an application's slug")
    command.add_argument("--renamed", action="store_true", help="the image got another name since it was scanned")


def _decision_commands(commands: Any) -> None:
    group = commands.add_parser("decisions", help="List, ask for, approve, reject, withdraw and revoke decisions.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = add_command(verbs, "list", client_commands.decisions_list, "List decisions.")
    listing.add_argument("--status", default="", help="requested, approved, rejected, withdrawn, revoked or ended")
    listing.add_argument("--risk", default="", help="a risk's id")
    listing_options(listing)
    show = add_command(verbs, "show", client_commands.decisions_show, "Show one decision.")
    show.add_argument("id")
    wait_option(show, 30)
    ask = add_command(verbs, "request", client_commands.decisions_request, "Ask for a decision on a risk.")
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
    ask.add_argument("--conditions", type=json_object, default={}, help='a JSON object, like {"until_fix": true}')
    wait_option(ask, 30)
    for verb in VERBS:
        act = add_command(verbs, verb, client_commands.decisions_act, f"{verb.capitalize()} a decision.")
        act.set_defaults(verb=verb)
        act.add_argument("id")
        if verb == "withdraw":
            act.set_defaults(comment="")
        else:
            needed = verb in ("reject", "revoke")
            act.add_argument("--comment", default="", required=needed, help="what the log and the other side read")
        wait_option(act, 30)


def _control_commands(commands: Any) -> None:
    group = commands.add_parser("controls", help="Controls: list, propose, confirm, give evidence, retire.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = add_command(verbs, "list", client_commands.controls_list, "List controls.")
    listing.add_argument("--state", choices=CONTROL_STATES, default="", help="as it is now")
    listing.add_argument("--kind", choices=CONTROL_KINDS, default="")
    listing.add_argument("--application", default="", help="an application's slug")
    listing_options(listing)
    add = add_command(verbs, "add", client_commands.controls_add, "Propose a control.")
    add.add_argument("name")
    add.add_argument("--kind", choices=CONTROL_KINDS, required=True)
    where = add.add_mutually_exclusive_group(required=True)
    where.add_argument("--application", default="", help="that it covers, by its slug")
    where.add_argument("--organisation", action="store_true", help="it covers everything")
    add.add_argument("--alive-by", choices=WAYS, required=True, help="how it is known that it still holds")
    add.add_argument("--every", required=True, metavar="TIME", help="evidence comes at least this often: 12h, 30d")
    add.add_argument("--owner", default="", help="the person who answers for it (default the team)")
    add.add_argument("--description", default="", help="what it does, and where it is to be found")
    add.add_argument("--watch", type=json_object, default={}, help="of observation: a JSON object (docs/controls.md)")
    wait_option(add, 30)
    seen = add_command(
        verbs, "evidence", client_commands.controls_evidence, "Say that a control holds, or that it does not."
    )
    seen.add_argument("id")
    seen.add_argument("--kind", choices=WAYS[:2], default="heartbeat", help="default heartbeat")
    seen.add_argument("--says", choices=SAYS, default="holds", help="default holds")
    seen.add_argument("--note", default="", help="what was seen, and how")
    seen.add_argument("--url", default="", help="where it can be seen")
    seen.add_argument("--digest", default="", help="of a file that shows it: sha256:...")
    seen.add_argument("--seen-at", default="", metavar="TIME", help="default now")
    wait_option(seen, 30)
    for verb, work, text in (
        ("show", client_commands.controls_show, "Show one control."),
        ("confirm", client_commands.controls_confirm, "Confirm a control that somebody else proposed."),
        ("retire", client_commands.controls_retire, "Retire a control; what leans on it ends."),
    ):
        act = add_command(verbs, verb, work, text)
        act.add_argument("id")
        if verb == "retire":
            act.add_argument("--reason", required=True, help="what the log and the other side read")
        wait_option(act, 30)


def _promotion_commands(commands: Any) -> None:
    ask = add_command(commands, "promote", client_commands.promote, "Promote an image by digest; exit code 0, 1 or 2.")
    ask.add_argument("image", type=image_name, metavar="IMAGE", help="registry/repository:tag, or @sha256:...")
    ask.add_argument("--to", required=True, metavar="ENVIRONMENT", help="where to: production")
    ask.add_argument(
        "--tag", action="append", default=[], metavar="TAG", help="that is moved to it there (default: its own)"
    )
    ask.add_argument(
        "--wait",
        nargs="?",
        type=whole_seconds,
        const=900,
        metavar="SECONDS",
        help="wait for the end, at most this long (900 where no number follows)",
    )
    ask.add_argument("--json", action="store_true", help="the document itself")
    group = commands.add_parser("promotions", help="List promotions, approve, reject, withdraw and retry them.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = add_command(verbs, "list", client_commands.promotions_list, "List promotions.")
    listing.add_argument(
        "--status", default="", help="waiting, running, promoted, refused, failed, withdrawn, recalled"
    )
    listing.add_argument("--to", default="", metavar="ENVIRONMENT", help="only to this environment")
    listing_options(listing)
    for verb in PROMOTION_VERBS:
        act = add_command(verbs, verb, client_commands.promotions_act, f"{verb.capitalize()} a promotion.")
        act.set_defaults(verb=verb)
        act.add_argument("id")
        act.add_argument("--json", action="store_true", help="the document itself")
        if verb in ("approve", "reject"):
            act.add_argument("--comment", default="", required=verb == "reject", help="what the other side reads")
        else:
            act.set_defaults(comment="")
        wait_option(act, 30)
    back = add_command(commands, "recall", client_commands.recall, "Call a digest back: no gate lets it pass any more.")
    back.add_argument("image", type=image_name, metavar="IMAGE", help="a digest (sha256:...), or a reference")
    back.add_argument("--reason", required=True, help="whoever meets the refused image reads it")
    back.add_argument("--lift", action="store_true", help="lift it again: the image is judged by itself")
    back.add_argument("--json", action="store_true", help="the document itself")
    wait_option(back, 30)


def _workload_commands(commands: Any) -> None:
    group = commands.add_parser("workloads", help="What runs where.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    sync = add_command(
        verbs,
        "sync",
        client_commands.workloads_sync,
        "Bring a cluster's workloads up to date with its pods, as kubectl get pods -A -o json lists them.",
    )
    sync.add_argument("file", nargs="?", default="-", metavar="FILE", help="the list; - for the standard input")
    sync.add_argument("--cluster", required=True, metavar="NAME", help="whose pods they are")
    sync.add_argument("--namespace", default="", help="the list is of this namespace alone")
    wait_option(sync, 300)


def _network_commands(commands: Any) -> None:
    group = commands.add_parser("network", help="Network policies as files: list, export and simulate.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = add_command(verbs, "policies", client_commands.network_policies, "List policies that were asked for.")
    listing.add_argument("--state", default="", help="open, approved, rejected or withdrawn")
    listing.add_argument("--cluster", default="", metavar="NAME", help="of this cluster alone")
    listing_options(listing)
    export = add_command(
        verbs,
        "export",
        client_commands.network_export,
        "Write policies as kubectl apply -f takes them: one, a cluster's approved ones, or what the rules say.",
    )
    export.add_argument("number", nargs="?", default="", type=number, metavar="NUMBER", help="of one policy")
    export.add_argument("--application", default="", metavar="SLUG", help="what the rules say of it, instead")
    export.add_argument("--form", choices=("kubernetes", "cilium"), default="kubernetes", help="default kubernetes")
    export.add_argument("--cluster", default="", metavar="NAME", help="every approved one of it")
    export.add_argument("-o", "--output", default="", metavar="FILE", help="instead of the standard output")
    wait_option(export, 60)
    tried = add_command(
        verbs,
        "simulate",
        client_commands.network_simulate,
        "What policies in a file would cut of what was recorded. Exit codes: 0 nothing, 1 something.",
    )
    tried.add_argument("file", metavar="FILE", help="YAML or JSON; - for the standard input")
    tried.add_argument("--cluster", required=True, metavar="NAME", help="where they would be applied")
    tried.add_argument("--json", action="store_true", help="the simulation's document")
    wait_option(tried, 120)


def _admission_commands(commands: Any) -> None:
    group = commands.add_parser("admission", help="What clusters ask before anything starts.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    _certificate_command(verbs)
    agent_command.arguments(add_command(verbs, "agent", agent_command.run, agent_command.WORDS))


def _certificate_command(verbs: Any) -> None:
    made = add_command(
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
            wait_option(command, 600 if verb == "simulate" else 60)
    export = _policy_command(verbs, "export", "Write the policy in force, and its tests, to files.")
    export.add_argument("--name", default="", metavar="NAME", help="the newest version of this policy instead")
    export.add_argument("-o", "--output", default="", metavar="FILE", help="the policy; its tests go beside it")
    wait_option(export, 60)


def _policy_command(verbs: Any, verb: str, words: str) -> argparse.ArgumentParser:
    def run(args: argparse.Namespace) -> int:
        from secguard import policy_commands  # noqa: PLC0415 - loads the rules, which no other command needs

        return int(getattr(policy_commands, verb)(args))

    return add_command(verbs, verb, run, words)


def _compliance_commands(commands: Any) -> None:
    group = commands.add_parser("compliance", help="Frameworks of controls as files: check them.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")

    def run(args: argparse.Namespace) -> int:
        from secguard import compliance_commands  # noqa: PLC0415 - as with a policy's rules

        return compliance_commands.check(args)

    words = "Check a framework, without a server. Exit codes: 0 it can be used, 1 it has faults."
    command = add_command(verbs, "check", run, words)
    command.add_argument("file", metavar="FILE", help="the framework, YAML")
    command.add_argument("--server", action="store_true", help="look up on the server which checks there are")
    wait_option(command, 60)


def _advisory_commands(commands: Any) -> None:
    group = commands.add_parser("advisories", help="Bring vulnerability data, and look it up.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    bring = add_command(
        verbs,
        "import",
        client_commands.advisories_import,
        "Import advisories (OSV, secdb, Debian's tracker), KEV or EPSS: a file, a folder or an https address.",
    )
    bring.add_argument("sources", nargs="+", metavar="FILE|FOLDER|URL")
    wait_option(bring, 3600)
    listing = add_command(verbs, "list", client_commands.advisories_list, "List advisories.")
    listing.add_argument("search", nargs="?", default="", help="an advisory's id, or any name of a flaw")
    listing.add_argument("--ecosystem", default="", help="as OSV writes it, like PyPI or Debian:12")
    listing.add_argument("--package", default="", help="a package of that ecosystem")
    listing_options(listing)


def _server_commands(commands: Any) -> None:
    add_command(commands, "up", server_commands.up, "Serve web, API and workers on this machine.")
    add_command(commands, "migrate", server_commands.migrate, "Bring the database to this release's tables.")
    token = commands.add_parser("token", help="Tokens, on the server's machine.").add_subparsers(required=True)
    create = add_command(
        token, "create", server_commands.token_create, "Make an API token; an unknown user or team is made."
    )
    create.add_argument("--role", required=True, help="the role it carries")
    create.add_argument("--user", help="whose it is (default: a service named after the role)")
    create.add_argument("--team", help="narrow it to this team")
    create.add_argument("--application", action="append", default=[], metavar="SLUG", help=ONLY_APPLICATION)
    create.add_argument("--repository", action="append", default=[], metavar="PATTERN", help=ONLY_REPOSITORY)
    create.add_argument("--expires", type=int, metavar="DAYS", help="days it lives (default 90)")
    create.add_argument("--print", action="store_true", help="print the token alone, for a script")
    user = commands.add_parser("user", help="People, on the server's machine.").add_subparsers(required=True)
    made = add_command(user, "create", server_commands.user_create, "Make a person; prints a one-time sign-in link.")
    made.add_argument("name")
    made.add_argument("--role", required=True, help="their first role")
    made.add_argument("--team", help="in this team only; an unknown one is made")
    link = add_command(user, "link", server_commands.user_link, "Print a new one-time sign-in link for a person.")
    link.add_argument("name")
    audit = commands.add_parser("audit", help="The audit log.").add_subparsers(required=True)
    _audit_commands(audit)


def _audit_commands(audit: Any) -> None:
    def command(name: str, run: Command, words: str) -> argparse.ArgumentParser:
        return add_command(audit, name, audit_commands.saying_failures(run), words)

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
        wait_option(one, 60)


if __name__ == "__main__":
    sys.exit(main())
