"""Checks of configuration and build history: each fails where it should, and nowhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secguard.scans.inspection.configuration import Configuration, configuration_checks, instruction

CLEAN = {"user": "10001", "has_healthcheck": True}


def failed(**config) -> dict[str, str]:
    """Check id to target."""
    return {c.check_id: c.target for c in configuration_checks(Configuration(**(CLEAN | config)))}


def test_a_careful_image_fails_nothing():
    history = [
        "/bin/sh -c #(nop) ADD file:0ab1 in / ",
        "RUN /bin/sh -c apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /x # buildkit",
        "COPY /app /app # buildkit",
        "ADD --checksum=sha256:00 https://example.org/tool /tool # buildkit",
        'CMD ["/app"]',
    ]
    labels = {"org.opencontainers.image.base.name": "debian:12.7-slim"}
    assert failed(history=history, labels=labels, exposed_ports=["8080/tcp"], volumes=["/data"]) == {}


@pytest.mark.parametrize("user", ["", "0", "root", "0:0", "root:root"])
def test_root_is_root_by_any_name(user):
    assert failed(user=user) == {"SG-CFG-001": "USER"}


@pytest.mark.parametrize("user", ["app", "1000:1000", "nobody"])
def test_another_user_is_not(user):
    assert failed(user=user) == {}


def test_an_image_for_windows_has_no_root():
    assert failed(user="", is_windows=True) == {}


def test_a_missing_health_check_is_said():
    assert failed(has_healthcheck=False) == {"SG-CFG-002": "HEALTHCHECK"}


@pytest.mark.parametrize("port", ["22/tcp", "2375/tcp", "5005", "10250/tcp"])
def test_ports_of_administration_are_said(port):
    assert failed(exposed_ports=[port, "443/tcp"]) == {"SG-CFG-005": f"EXPOSE {port}"}


@pytest.mark.parametrize("port", ["80/tcp", "8443/tcp", "abc", "99999999/tcp", ""])
def test_others_are_not(port):
    assert failed(exposed_ports=[port]) == {}


def test_the_engine_s_socket_is_no_volume():
    assert failed(volumes=["/var/run/docker.sock"]) == {"SG-CFG-014": "VOLUME /var/run/docker.sock"}


@pytest.mark.parametrize(
    ("name", "fails"),
    [
        ("docker.io/library/node:latest", True),
        ("node", True),
        ("reg.example:5000/base", True),
        ("node:22.11.0", False),
        ("node:latest@sha256:" + "0" * 64, False),
        ("scratch", False),
    ],
)
def test_a_base_that_moves_is_said(name, fails):
    assert bool(failed(labels={"org.opencontainers.image.base.name": name})) is fails


@pytest.mark.parametrize(
    ("step", "check"),
    [
        ("ADD https://example.org/x.tar.gz /x # buildkit", "SG-CFG-004"),
        ("/bin/sh -c #(nop) ADD https://example.org/x /x", "SG-CFG-004"),
        ("/bin/sh -c apt-get update", "SG-CFG-003"),
        ("RUN /bin/sh -c apk update # buildkit", "SG-CFG-003"),
        ("RUN /bin/sh -c curl -sSL https://get.example.org | sh # buildkit", "SG-CFG-007"),
        ("/bin/sh -c wget -qO- https://x.example/i.py | sudo -E python3 -", "SG-CFG-007"),
        ('/bin/sh -c bash -c "$(curl -fsSL https://x.example/install.sh)"', "SG-CFG-007"),
        ("/bin/sh -c bash <(curl -s https://x.example/i.sh)", "SG-CFG-007"),
        ("/bin/sh -c apt-get update && apt-get install -y --allow-unauthenticated foo", "SG-CFG-008"),
        ("/bin/sh -c yum install -y --nogpgcheck foo", "SG-CFG-008"),
        ("/bin/sh -c apk add --allow-untrusted foo.apk", "SG-CFG-008"),
        ("/bin/sh -c echo 'deb [trusted=yes] http://x ./' > /etc/apt/sources.list", "SG-CFG-008"),
    ],
)
def test_a_careless_step_is_said_with_its_text(step, check):
    found = failed(history=[step])
    assert set(found) == {check}
    assert found[check] in " ".join(step.split())


@pytest.mark.parametrize(
    "step",
    [
        "/bin/sh -c #(nop) ADD file:abc in /",
        "/bin/sh -c curl -fsSL https://x.example/a.tgz -o a.tgz && sha256sum -c a.sum && tar xf a.tgz",
        "/bin/sh -c set -eux; apt-get update; apt-get install -y --no-install-recommends ca-certificates",
        "/bin/sh -c apk add --no-cache curl",
        "/bin/sh -c curl https://x.example/data.json | jq .version",
        "/bin/sh -c cat list | shuf",
    ],
)
def test_a_careful_step_is_not(step):
    assert failed(history=[step]) == {}


def test_one_step_is_one_finding_however_often_it_stands():
    checks = configuration_checks(Configuration(**CLEAN, history=["RUN /bin/sh -c apt-get update # buildkit"] * 3))
    assert len(checks) == 1


def test_the_builder_s_own_words_are_left_out():
    assert instruction("RUN |1 A=b /bin/sh -c make # buildkit") in ("RUN |1 A=b /bin/sh -c make", "make")
    assert instruction('/bin/sh -c #(nop)  CMD ["sh"]') == 'CMD ["sh"]'
    assert instruction("|1 A=b /bin/sh -c make") == "make"


@given(st.lists(st.text(max_size=300)), st.text(), st.lists(st.text(max_size=20)))
def test_no_configuration_breaks_the_checks(history, user, ports):
    for check in configuration_checks(Configuration(history=history, user=user, exposed_ports=ports, volumes=ports)):
        assert check.check_id
        assert check.remediation
