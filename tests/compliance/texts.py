"""A small framework, for tests."""

from __future__ import annotations

from typing import Final

SMALL: Final = """\
name: own-rules
title: Our own rules
version: "2026-01"
source: https://example.org/rules
description: |
  What we ask of every application.
sections:
  - id: "1"
    title: Images
    controls:
      - id: "1.1"
        title: Know what is inside
        about: Every image is scanned and has a bill of materials.
        checks: [images-scanned, sbom-known]
      - id: "1.2"
        title: Have a bill of materials
        about: Every image has one.
        checks: [sbom-known]
  - id: "2"
    title: People
    controls:
      - id: "2.1"
        title: Train everybody
        about: Everybody is trained once a year.
        unmeasured: Nobody tells SecGuard who was trained.
"""
