"""Which image a report is about: what it says, what the sender says, and whether the two agree. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from secguard.errors import Invalid
from secguard.images.reference import Reference, is_digest, parse, try_parse
from secguard.scans.report import Subject

UNRESOLVED = "unresolved:"


@dataclass(frozen=True, slots=True)
class Target:
    """The image a report is stored under."""

    digest: str
    """The manifest digest; else the config digest; else one made of the repository and tag."""
    is_asserted: bool
    """True only for a manifest digest: nothing else can be promoted or admitted (DESIGN rule 1)."""
    config_digest: str
    place: Reference | None
    """Where it lies, as far as anybody said."""

    @property
    def is_by_tag(self) -> bool:
        return not self.is_asserted and not self.config_digest


def target_of(subject: Subject, named: str, *, is_renamed: bool = False) -> Target:
    """Decide what the report is about.

    ``named``: the sender's ``image`` (a reference or a digest alone, may be empty). ``is_renamed``: the sender says
    that the image has got another name since the scan; digests must agree all the same.
    Raises ``Invalid`` where nobody names an image, or where the two name different ones.
    """
    asked, asked_digest = _asked(named)
    told = _told(subject)
    digest = _digest(subject, told, asked_digest)
    place = asked or told
    if place is None and not digest and not subject.image_id:
        raise Invalid(
            f"The report does not say which image it is about{_instead(subject)}, and the request does not either. "
            "Name it: ?image=registry/repository:tag or ?image=registry/repository@sha256:…",
            code="no-image",
            where="image",
        )
    if asked and not is_renamed and not _agree(subject, told, asked, digest, asked_digest):
        raise Invalid(
            f"The report is about {subject.reference!r}; the request names {str(asked)!r}. Post it under the image it "
            "is about, or add ?renamed=true (--renamed) where that image was only given another name.",
            code="other-image",
            where="image",
        )
    return _target(subject, digest, place)


def _asked(named: str) -> tuple[Reference | None, str]:
    if not named:
        return None, ""
    if is_digest(named):
        return None, named
    reference = parse(named)
    return reference, reference.digest


def _told(subject: Subject) -> Reference | None:
    for text in (subject.reference, *subject.repository_digests):
        reference = try_parse(text) if subject.kind == "image" else None
        if reference is not None:
            return reference
    return None


def _digest(subject: Subject, told: Reference | None, asked: str) -> str:
    listed = [d for r in subject.repository_digests if is_digest(d := r.rpartition("@")[2])]
    own = subject.digest if is_digest(subject.digest) else (told.digest if told else "")
    known = {d for d in (own, *listed) if d}
    # The tool may tell only the config digest, and a sender who has no more may name the image by it.
    if asked and asked == subject.image_id:
        return own
    if asked and known and asked not in known:
        raise Invalid(
            f"The report is about {sorted(known)[0]}; the request names {asked}. They are different images.",
            code="other-image",
            where="image",
        )
    return asked or own or (listed[0] if len(set(listed)) == 1 else "")


def _agree(subject: Subject, told: Reference | None, asked: Reference, digest: str, asked_digest: str) -> bool:
    if told is None or (asked_digest and digest == asked_digest):
        return True
    also = {r.partition("@")[0] for r in subject.repository_digests}
    same_place = told.repository == asked.repository or asked.repository in {_name(a) for a in also}
    same_tag = not (told.tag and asked.tag) or told.tag == asked.tag
    return same_place and same_tag


def _name(text: str) -> str:
    reference = try_parse(text)
    return reference.repository if reference else text


def _target(subject: Subject, digest: str, place: Reference | None) -> Target:
    config = subject.image_id if is_digest(subject.image_id) else ""
    if digest:
        return Target(digest, True, config, place)
    if config:
        return Target(config, False, config, place)
    name = f"{place.repository}:{place.tag or 'latest'}" if place else subject.image_id
    made = hashlib.sha256((UNRESOLVED + name).encode()).hexdigest()
    return Target(f"sha256:{made}", False, "", place)


def _instead(subject: Subject) -> str:
    return f" (it is about the {subject.kind} {subject.reference!r})" if subject.reference else ""
