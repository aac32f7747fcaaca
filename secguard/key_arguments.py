"""``secguard keys``, ``sign``, ``signatures`` and ``identities``: what may stand on their lines."""

from __future__ import annotations

import argparse
from typing import Any

from secguard import client_commands
from secguard.arguments import ONLY_APPLICATION, ONLY_REPOSITORY, add_command, image_name, listing_options, wait_option
from secguard.client.identities import KINDS as IDENTITY_KINDS


def add_keys(commands: Any) -> None:
    sign = add_command(commands, "sign", client_commands.sign, "Have a worker sign an image where it lies.")
    sign.add_argument("image", type=image_name, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    sign.add_argument("--key", required=True, metavar="NAME", help="the key's name")
    sign.add_argument(
        "--attest", action="store_true", help="put the verdict, the decisions in force and the SBOM beside it too"
    )
    sign.add_argument("--repository", default="", help="where the image lies, if that is in several places")
    sign.add_argument("--json", action="store_true", help="the documents themselves, one a line")
    wait_option(sign, 120)
    seen = add_command(
        commands, "signatures", client_commands.signatures, "List who signed an image, and what that is worth."
    )
    seen.add_argument("image", type=image_name, metavar="IMAGE", help="a reference, or a digest (sha256:...)")
    seen.add_argument("--look", action="store_true", help="have a worker look into the registry first")
    seen.add_argument("--repository", default="", help="where to look, if the image lies in several places")
    listing_options(seen)
    carried = add_command(
        commands, "passport", client_commands.passport, "Fetch an image's passport; or check one: passport verify FILE."
    )
    carried.add_argument("image", type=image_name, metavar="IMAGE", help="a reference, or a digest; or the word verify")
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
    wait_option(carried, 60)
    group = commands.add_parser("keys", help="The keys that sign, and whose signatures count besides.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing = add_command(verbs, "list", client_commands.keys_list, "List the keys that sign and those that did.")
    listing.add_argument("--trusted", action="store_true", help="other people's keys instead")
    listing_options(listing)
    create = add_command(verbs, "create", client_commands.keys_create, "Make or import a key.")
    create.add_argument("name", help="of the line of keys, like production")
    _key_origin(create)
    rotate = add_command(verbs, "rotate", client_commands.keys_rotate, "Put a new key in the place of one that signs.")
    rotate.add_argument("name", help="the key's name or id")
    rotate.add_argument(
        "--overlap", type=int, default=90, metavar="DAYS", help="how long what the old one signed counts (default 90)"
    )
    _key_origin(rotate)
    for verb, words in (
        ("retire", "What a key signed counts no more, without a word against it."),
        ("revoke", "Nothing that a key ever signed counts, at once and for good."),
    ):
        act = add_command(verbs, verb, client_commands.keys_end, words)
        act.set_defaults(verb=verb)
        act.add_argument("name", help="the key's name or id")
        act.add_argument("--reason", default="", required=verb == "revoke", help="what the log and others read")
        wait_option(act, 30)
    public = add_command(verbs, "public", client_commands.keys_public, "Print a key's public part as PEM.")
    public.add_argument("name", help="the key's name or id")
    wait_option(public, 30)
    trust = add_command(verbs, "trust", client_commands.keys_trust, "Let what somebody else's key signed count.")
    trust.add_argument("name", help="whose key it is")
    trust.add_argument("--key", required=True, metavar="FILE", help="the public key, PEM; - for the standard input")
    trust.add_argument("--repositories", required=True, metavar="PATTERN", help="registry.example/shop/*")
    trust.add_argument("--until", help="when the trust ends: a time with its zone (default: when it is withdrawn)")
    wait_option(trust, 30)
    distrust = add_command(
        verbs, "distrust", client_commands.keys_distrust, "Withdraw the trust in somebody else's key."
    )
    distrust.add_argument("id")
    distrust.add_argument("--reason", required=True, help="what the log and others read")
    wait_option(distrust, 30)


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
    wait_option(command, 30)


def add_identities(commands: Any) -> None:
    group = commands.add_parser("identities", help="Pipelines that need no secret: their own token is exchanged.")
    verbs = group.add_subparsers(title="what to do", required=True, metavar="VERB")
    listing_options(add_command(verbs, "list", client_commands.identities_list, "List the CI identities."))
    made = add_command(verbs, "create", client_commands.identities_create, "Trust a pipeline's tokens.")
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
    wait_option(made, 30)
    gone = add_command(verbs, "withdraw", client_commands.identities_withdraw, "Trust a pipeline no more.")
    gone.add_argument("identity", help="its id or its name")
    wait_option(gone, 30)
