"""What to do about a look that failed, by the code of its problem. Pure.

The problem's own words say what was found; these say what helps, for who did not set the registry up.
"""

from __future__ import annotations

REGISTRY = frozenset(
    {
        "registry-not-set-up",
        "registry-refused",
        "registry-certificate",
        "registry-unreachable",
        "destination-not-allowed",
        "bad-ca-certificate",
    }
)
"""Mended where the registry is set up."""
WORDS = {
    "not-there": "Look whether the tag is still in the registry, and whether the name is spelled as it is there.",
    "registry-not-set-up": "Set the registry up, and scan it again.",
    "registry-refused": "Let the registry's user read this repository, or set another user and password up.",
    "registry-certificate": "Set the registry's certificate authority up, where it is one of your own.",
    "registry-unreachable": "Look whether the registry runs, and whether this server may reach its port.",
    "destination-not-allowed": "Name the other host among those the registry may send us to, if it is meant to.",
    "registry-stalls": "The registry is slow or overloaded. Scan it again once it answers.",
    "registry-falters": "The registry is in trouble. Scan it again once it answers.",
    "bad-ca-certificate": "Set the registry's CA certificate up anew.",
    "bad-archive": "Write the archive again (docker save, or skopeo copy to oci-archive:), and upload it.",
    "not-an-archive": "Write the archive again (docker save, or skopeo copy to oci-archive:), and upload it.",
    "archive-gone": "Upload the archive again.",
    "no-room": "Give the server's data folder more room, and scan it again.",
    "disk-full": "Give the server's data folder more room, and scan it again.",
    "disk": "Look at the server's data folder: its disk does not take what is written.",
    "image-too-large": "Make the image smaller, or raise SECGUARD_MAX_IMAGE_BYTES on the server.",
    "platforms-failed": "Open the platforms that failed: each says why.",
}
_BROKEN = frozenset(
    {
        "bad-compression",
        "bad-document",
        "bad-tar",
        "decompression-bomb",
        "not-a-layer",
        "too-many-entries",
        "wrong-blob-digest",
        "wrong-blob-size",
        "wrong-diff-id",
        "wrong-manifest-digest",
    }
)


def way_out(code: str) -> str:
    """A sentence; empty where the problem's own words are all there is to say."""
    if code in WORDS:
        return WORDS[code]
    if code in _BROKEN:
        return "The image itself is damaged or made to harm. Build and push it again; do not run it as it is."
    return ""
