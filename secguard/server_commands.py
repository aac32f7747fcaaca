"""What ``secguard`` does on the server's own machine. Each loads what it needs: a pipeline's gate loads no server."""

from __future__ import annotations

import argparse
import os
import sys


def up(_args: argparse.Namespace) -> int:
    from secguard.up import up as serve  # noqa: PLC0415

    return serve(dict(os.environ), lambda text: print(text, flush=True))


def migrate(_args: argparse.Namespace) -> int:
    from secguard import administration  # noqa: PLC0415

    print(administration.migrate())
    return 0


def token_create(args: argparse.Namespace) -> int:
    from secguard import administration  # noqa: PLC0415

    raw, words = administration.create_token(
        args.role,
        user=args.user,
        team=args.team,
        days=args.expires,
        applications=args.application,
        repositories=args.repository,
    )
    print(raw)
    if not args.print:
        print(f"{words} It is shown this once.", file=sys.stderr)
    return 0


def user_create(args: argparse.Namespace) -> int:
    from secguard import administration  # noqa: PLC0415

    print(administration.create_user(args.name, args.role, team=args.team))
    return 0


def user_link(args: argparse.Namespace) -> int:
    from secguard import administration  # noqa: PLC0415

    print(administration.sign_in_link(args.name))
    return 0


def audit_verify(args: argparse.Namespace) -> int:
    from secguard import administration  # noqa: PLC0415

    intact, words = administration.verify_audit(args.head)
    print(words)
    return 0 if intact else 1
