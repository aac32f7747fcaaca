"""Decisions as VEX, for others' tools: what was decided on images' vulnerabilities. Pure.

``judgements`` says what is told, ``writers`` in which form: OpenVEX 0.2.0, CycloneDX 1.6, CSAF 2.0 (``csaf_vex``).
``openvex`` is the document that goes along with one image, as an attestation's predicate.
"""

from secguard.decisions.vex.judgements import Judgement, Product, Ruling, Told
from secguard.decisions.vex.writers.openvex import CONTEXT, openvex

__all__ = ["CONTEXT", "Judgement", "Product", "Ruling", "Told", "openvex"]
