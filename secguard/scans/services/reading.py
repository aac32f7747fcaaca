"""Kept reports, read."""

from __future__ import annotations

import zlib

import msgspec

from secguard.scans import translation
from secguard.scans.condensed import Condensed, unpack
from secguard.scans.models import Report
from secguard.scans.readers import read_report
from secguard.scans.report import OWN_SCANNER, ScanReport


def read(raw: bytes, scanner: str = "") -> ScanReport:
    """Read a report of any known format; text that no database holds (NUL) is replaced, here and nowhere else."""
    return read_report(raw.replace(b"\\u0000", b"\\ufffd"), scanner)


def condensed(report_id: int, scanner: str) -> Condensed:
    """A kept report as it was read when it was accepted; else read again."""
    kept = Report.objects.values_list("condensed", flat=True).get(pk=report_id)
    found = unpack(bytes(kept)) if kept else None
    if found is not None:
        return found
    raw = zlib.decompress(Report.objects.values_list("body", flat=True).get(pk=report_id))
    if scanner == OWN_SCANNER:
        return translation.condense(msgspec.json.decode(raw, type=ScanReport))
    return translation.condense(read(raw, scanner))
