"""The documents that people copy from: what they name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from secguard import cli

DOCS = Path(__file__).parent.parent / "docs"
CHECKOUT = DOCS.parent
SOURCES = (
    "settings.py",
    "environment.py",
    "local.py",
    "up.py",
    "client/rest.py",
    "client/identity.py",
    "client_commands.py",
)


def fenced(name: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / name).read_text(), re.M | re.S)


def test_each_setting_that_is_read_is_in_the_table_and_the_other_way_round():
    read = {
        name
        for source in SOURCES
        for name in re.findall(r'"(SECGUARD_[A-Z_]+)"', (CHECKOUT / "secguard" / source).read_text())
    }
    told = set(re.findall(r"^\| `(SECGUARD_[A-Z_]+)`", (DOCS / "configuration.md").read_text(), re.M))
    assert read == told


def test_the_pipelines_are_yaml_and_call_the_gate():
    documents = [yaml.safe_load(text) for text in fenced("ci-examples.md", "yaml")]
    assert len(documents) == 3
    for text in fenced("ci-examples.md", "yaml") + fenced("ci-examples.md", "groovy"):
        assert "secguard gate" in text or "[secguard, gate," in text


def commands() -> list[str]:
    text = "".join(path.read_text() for path in (DOCS / "ci-examples.md", DOCS / "install.md")).replace("\\\n", " ")
    lines = re.findall(
        r"(?:^|[\s`'/])(secguard (?:gate|report|decisions|token|user|audit|sample|migrate)\b[^`'|>#&\n]*)", text
    )
    return sorted({line.strip() for line in lines if "..." not in line and "[-" not in line and "[--" not in line})


@pytest.mark.parametrize("command", commands())
def test_each_command_that_is_shown_can_be_typed(command):
    words = re.findall(r'"[^"]*"|\S+', command)[1:]
    parsed = cli.parser().parse_args([word.strip('"') for word in words])
    assert callable(parsed.run)


def test_compose_has_no_secret_of_its_own_and_a_health_check_for_each_service():
    text = (CHECKOUT / "docker-compose.yml").read_text()
    services = yaml.safe_load(text)["services"]
    assert set(services) == {"migrate", "web", "worker", "worker-scheduled", "beat", "postgres", "redis"}
    assert all("healthcheck" in service for name, service in services.items() if name != "migrate")
    secrets = re.findall(r"^\s+\w*(?:SECRET|PASSWORD)\w*: (.*)$", text, re.M)
    assert secrets
    assert all(value.startswith("${") and ":?" in value for value in secrets)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_the_locks_hold_hashes_and_no_host(name):
    text = (CHECKOUT / name).read_text()
    assert not re.search(r"https?://|index-url|find-links", text)
    requirements = re.findall(r"^([a-z0-9][a-z0-9._-]*)==.*?(?=^[a-z0-9]|\Z)", text, re.M | re.S)
    assert len(requirements) > 50
    for block in re.findall(r"^[a-z0-9][^\n]*\n(?:    .*\n)*", text, re.M):
        assert "--hash=sha256:" in block, block.splitlines()[0]
