"""What docs/audit.md promises to who verifies an export without SecGuard: its own program does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.db import transaction

from secguard.audit import services

PAGE = Path(__file__).parents[2] / "docs" / "audit.md"


def run(folder: Path) -> int:
    program = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert program is not None
    environment = {**os.environ, "PYTHONPATH": ""}
    return subprocess.run(
        [sys.executable, "-Ic", program[1]], cwd=folder, env=environment, capture_output=True
    ).returncode


@pytest.mark.django_db
def test_the_program_in_the_document_verifies_an_export(tmp_path: Path) -> None:
    details = {
        "comment": 'behind "a wall"\n\t\x7f\u2028 – ключ 🔑',
        "score": 9.8,
        "many": [1, True, None, {"b": 1, "a": 2}],
    }
    with transaction.atomic():
        for number in range(3):
            services.record(
                "decision:approve", actor=None, subject_type="decision", subject_id=number, subject="é", details=details
            )
    file = tmp_path / "audit.ndjson"
    lines = list(services.export())
    file.write_text("".join(lines), encoding="utf-8")
    assert run(tmp_path) == 0
    altered = json.loads(lines[1]) | {"subject": "e"}
    file.write_text("".join([lines[0], json.dumps(altered) + "\n", lines[2]]), encoding="utf-8")
    assert run(tmp_path) == 1
    file.write_text("".join([lines[0], lines[2]]), encoding="utf-8")
    assert run(tmp_path) == 1
