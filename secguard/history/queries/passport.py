"""All that a passport says of an image, as the asker may see it, in a fixed number of queries."""

from __future__ import annotations

import hashlib
from datetime import datetime
from importlib import metadata
from typing import Any

from django.conf import settings
from django.db.models import Max, Min, Q, Sum

from secguard.accounts.models import User
from secguard.admission.models import AdmissionDecision
from secguard.approvals.models import Vote
from secguard.approvals.queries import votes_of
from secguard.audit.services import head
from secguard.decisions.queries.reviewing import effective_status
from secguard.errors import NotFound
from secguard.history.passport import FORMAT, MAX_ROWS, bounded, instant, signed_by, summary_of_answers
from secguard.history.queries.held import held
from secguard.history.queries.places import Sight, scope_words, sight_of
from secguard.images import cyclonedx
from secguard.images.models import Image, Tag
from secguard.images.queries import bill_of
from secguard.policies.facts import Gate
from secguard.promotion.models import Promotion
from secguard.scans.models import Scan
from secguard.scans.queries import shown_references
from secguard.signing.models import Attestation, Recall, Signature, SigningKey

MOST = MAX_ROWS + 1


def passport_of(image: Image, user: User, now: datetime, key: SigningKey | None) -> dict[str, Any]:
    """The document at ``now``, which names ``key`` as the one that is to sign it. It judges nothing anew."""
    sight = sight_of(image, user)
    sections, left_out = bounded(
        {
            "places": _places(sight),
            "tags": _tags(sight),
            "scans": _scans(sight),
            "decisions": _decisions(sight, now),
            "signatures": _signatures(sight, now),
            "attestations": _attestations(sight),
            "recalls": _recalls(sight),
            "promotions": _promotions(sight),
        }
    )
    return {
        "format": FORMAT,
        "issued_at": instant(now),
        "issued_by": {"url": settings.PUBLIC_URL, "version": metadata.version("secguard")},
        "issued_to": {"name": user.username, "sees_everything": user.sees_everything},
        "signed_by": signed_by(key.name, key.fingerprint) if key else signed_by(None, None),
        "image": _identity(image),
        "sbom": _sbom(image, user),
        "findings": {"open": image.open_findings, "by_severity": image.severity_counts},
        "verdicts": [_verdict(image, gate, user, now) for gate in Gate],
        "admissions": _admissions(sight),
        "audit": {"sequence": (end := head()).sequence, "digest": end.digest},
        "left_out": left_out,
        **sections,
    }


def _identity(image: Image) -> dict[str, Any]:
    return {
        "digest": image.digest,
        "is_digest_asserted": image.is_digest_asserted,
        "config_digest": image.config_digest,
        "media_type": image.media_type,
        "os": f"{image.os_name} {image.os_version}".strip(),
        "architecture": f"{image.architecture} {image.variant}".strip(),
        "size_bytes": image.size_bytes,
        "built_at": instant(image.built_at),
        "first_seen_at": instant(image.first_seen_at),
        "last_scanned_at": instant(image.last_scanned_at),
    }


def _places(sight: Sight) -> list[dict[str, Any]]:
    rows = sight.image.places.filter(repository__in=list(sight.repositories))
    rows = rows.select_related("repository__application__team").order_by("repository__name")[:MOST]
    return [
        {
            "repository": p.repository.name,
            "application": p.repository.application.slug if p.repository.application else None,
            "team": p.repository.application.team.slug if p.repository.application else None,
            "first_seen_at": instant(p.first_seen_at),
        }
        for p in rows
    ]


def _tags(sight: Sight) -> list[str]:
    named = Q(image=sight.image) | Q(index__digest__in=sight.digests)
    rows = Tag.objects.filter(named, repository__in=list(sight.repositories)).select_related("repository")
    return sorted(f"{t.repository.name}:{t.name}" for t in rows.order_by("-moved_at", "pk")[:MOST])


def _sbom(image: Image, user: User) -> dict[str, Any] | None:
    """Of the bill of materials as it is served: the digest of its bytes."""
    try:
        bill = bill_of(image, user)
    except NotFound:
        return None
    body = cyclonedx.document(bill)
    return {
        "media_type": cyclonedx.MEDIA_TYPE,
        "sha256": hashlib.sha256(body).hexdigest(),
        "components": len(bill.components),
    }


def _scans(sight: Sight) -> list[dict[str, Any]]:
    rows = Scan.objects.visible_to(sight.user).filter(image=sight.image).select_related("requested_by", "image")
    scans = list(rows.select_related("report").defer("report__body", "report__condensed").order_by("-pk")[:MOST])
    shown = shown_references(sight.user, scans)
    return [
        {
            "id": s.pk,
            "scanner": s.scanner,
            "version": s.scanner_version,
            "status": s.status,
            "requested_by": s.requested_by.username if s.requested_by and shown[s.pk] == s.reference else None,
            "finished_at": instant(s.finished_at),
            "is_complete": s.is_complete,
            "covers": s.covers,
            "database_updated_at": instant(s.database_updated_at),
            "report_sha256": s.report.sha256 if s.report else None,
        }
        for s in scans
    ]


def _verdict(image: Image, gate: Gate, user: User, now: datetime) -> dict[str, Any]:
    found = held(image, gate, now, user)
    told: dict[str, Any] = {"stage": gate.value, "holds": found.holds, "why_not": found.why_not}
    if found.evaluation is None or found.document is None:
        return told | {"verdict": None}
    version = found.evaluation.policy_version
    return told | {
        "evaluation": found.evaluation.pk,
        "verdict": found.evaluation.verdict,
        "evaluated_at": instant(found.evaluation.evaluated_at),
        "valid_until": instant(found.evaluation.valid_until),
        "policy": {"name": version.policy.name, "version": version.number, "sha256": version.sha256},
        "input_sha256": found.evaluation.input.sha256,
        "replayed": found.replay.is_same,
        "differences": list(found.replay.differences),
        "decisions": [d["id"] for d in found.document["decisions"]],
        "counts": found.document["counts"],
        "reasons": [_reason(r) for r in found.document["reasons"]],
    }


def _reason(reason: dict[str, Any]) -> dict[str, Any]:
    return {name: reason[name] for name in ("rule", "effect", "message", "findings_total")}


def _decisions(sight: Sight, now: datetime) -> list[dict[str, Any]]:
    rows = sight.decisions().select_related("risk__vulnerability", "requested_by", "ended_by", "approval")
    decisions = list(rows.order_by("-pk")[:MOST])
    votes = votes_of([d.approval for d in decisions])
    return [
        {
            "id": d.pk,
            "kind": d.kind,
            "risk": d.risk.name,
            "scope": scope_words(d),
            "reason": d.reason,
            "justification": d.justification,
            "status": effective_status(d, now).value,
            "requested_by": d.requested_by.username,
            "requested_at": instant(d.requested_at),
            "decided_at": instant(d.decided_at),
            "expires_at": instant(d.expires_at),
            "ended_at": instant(d.ended_at),
            "ended_by": d.ended_by.username if d.ended_by else None,
            "end_reason": d.end_reason,
            "votes": [_vote(v) for v in votes.get(d.approval_id, [])],
        }
        for d in decisions
    ]


def _vote(v: Vote) -> dict[str, Any]:
    return {
        "by": v.voter.username,
        "choice": v.choice,
        "roles": sorted(v.roles),
        "comment": v.comment,
        "at": instant(v.created_at),
    }


def _signatures(sight: Sight, now: datetime) -> list[dict[str, Any]]:
    rows = Signature.objects.visible_to(sight.user).filter(digest__in=sight.digests).with_standing()
    return [
        {
            "digest": s.digest,
            "repository": s.repository.name,
            "what": s.what,
            "form": s.form,
            "predicate_type": s.predicate_type,
            "key": s.by,
            "standing": s.standing_at(now).value,
            "first_seen_at": instant(s.first_seen_at),
            "gone_at": instant(s.gone_at),
        }
        for s in rows.select_related("repository", "signing_key", "trusted_key").order_by("-pk")[:MOST]
    ]


def _attestations(sight: Sight) -> list[dict[str, Any]]:
    rows = Attestation.objects.filter(digest__in=sight.digests, repository__in=list(sight.repositories))
    return [
        {
            "digest": a.digest,
            "repository": a.repository.name,
            "predicate_type": a.predicate_type,
            "environment": a.environment,
            "key": a.signing_key.name,
            "fingerprint": a.signing_key.fingerprint,
            "made_at": instant(a.made_at),
            "withdrawn_at": instant(a.withdrawn_at),
            "reason": a.reason,
        }
        for a in rows.select_related("repository", "signing_key").order_by("-pk")[:MOST]
    ]


def _recalls(sight: Sight) -> list[dict[str, Any]]:
    rows = Recall.objects.filter(digest=sight.image.digest).select_related("recalled_by", "lifted_by")
    return [
        {
            "reason": r.reason,
            "recalled_by": r.recalled_by.username if r.recalled_by else None,
            "recalled_at": instant(r.recalled_at),
            "lifted_by": r.lifted_by.username if r.lifted_by else None,
            "lifted_at": instant(r.lifted_at),
            "lift_reason": r.lift_reason,
        }
        for r in rows.order_by("-pk")[:MOST]
    ]


def _promotions(sight: Sight) -> list[dict[str, Any]]:
    rows = Promotion.objects.visible_to(sight.user).filter(Q(image=sight.image) | Q(digest__in=sight.digests))
    promotions = list(rows.select_related("environment", "source", "requested_by", "approval").order_by("-pk")[:MOST])
    votes = votes_of([p.approval for p in promotions if p.approval])
    return [
        {
            "id": p.pk,
            "digest": p.digest,
            "from": p.source.name,
            "to": p.destination_name,
            "environment": p.environment.name,
            "status": p.status,
            "why": p.why,
            "requested_by": p.requested_by.username if p.requested_by else None,
            "requested_at": instant(p.requested_at),
            "finished_at": instant(p.finished_at),
            "evaluations": p.evaluation_ids,
            "votes": [_vote(v) for v in votes.get(p.approval_id or 0, [])],
        }
        for p in promotions
    ]


def _admissions(sight: Sight) -> dict[str, Any]:
    rows = AdmissionDecision.objects.visible_to(sight.user).filter(image=sight.image).order_by()
    by_outcome = rows.values_list("outcome").annotate(Sum("count"), Min("first_at"), Max("last_at"))
    clusters = rows.order_by("cluster__name").values_list("cluster__name", flat=True).distinct()[:100]
    return summary_of_answers(by_outcome) | {"clusters": list(clusters)}
