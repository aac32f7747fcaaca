"""The OpenAPI document says what the API does, and no operation fails however it is asked.

Requests are made by schemathesis from the document itself, for an administrator and for a developer: right ones, and
ones that break the document's rules. Each is undone afterwards, so every request meets the same data.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import hypothesis
import jsonschema
import pytest
import schemathesis
from django.db import transaction
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.fixtures_people import Person
from tests.fixtures_reports import digest, flaw, report
from tests.test_permissions import baseline_of, ci_identity, happened, spoken  # noqa: F401 - the fixtures

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 5
NEEDS_A_WORD = {"/api/v1/decisions/blast-radius/", "/api/v1/audit/consistency/"}
"""Takes exactly one of several parameters, or the sizes of checkpoints, which the document has no way to say."""


@cache
def document() -> dict[str, Any]:
    with GENERATOR_STATS.silence():
        generated: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return generated


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document()["paths"].items():
        for method, operation in item.items():
            yield path, method, operation


def test_the_document_is_made_without_a_warning() -> None:
    GENERATOR_STATS.reset()
    SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    said = [*GENERATOR_STATS._warn_cache, *GENERATOR_STATS._error_cache]
    assert not said, "\n".join(said)


def test_the_document_is_openapi_3_1_and_its_schemas_are_json_schema() -> None:
    assert document()["openapi"].startswith("3.1")
    for name, schema in document()["components"]["schemas"].items():
        jsonschema.Draft202012Validator.check_schema(schema)
        assert schema, name


@pytest.mark.parametrize("name", ["title", "description", "version"])
def test_the_document_says_what_it_is_about(name: str) -> None:
    assert document()["info"][name]


def test_operation_ids_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(ids) == len(set(ids))


def test_every_operation_is_described_and_says_how_it_refuses() -> None:
    for path, method, operation in operations():
        assert operation.get("description"), f"{method} {path} has no description"
        for status in ("400", "401", "403", "404", "default"):
            refusal = operation["responses"][status]
            assert refusal["description"]
            assert list(refusal["content"]) == ["application/problem+json"], f"{method} {path} {status}"


def test_only_what_changes_something_may_meet_another_state() -> None:
    for path, method, operation in operations():
        assert ("409" in operation["responses"]) is (method != "get"), f"{method} {path}"


def test_no_parameter_is_named_as_a_column_is() -> None:
    named = {p["name"] for _, _, operation in operations() for p in operation.get("parameters", [])}
    assert named
    assert not [name for name in named if "__" in name]


@pytest.mark.django_db
def test_every_query_parameter_of_the_document_is_known_and_no_other(administrator: Person) -> None:
    from django.urls import resolve

    from secguard.web.openapi import query_parameters

    for path, method, operation in operations():
        told = {p["name"] for p in operation.get("parameters", []) if p["in"] == "query"}
        concrete = path.replace("{digest}", digest(1)).replace("{slug}", "x")
        view = resolve(re.sub(r"\{\w+\}", "1", concrete)).func
        assert query_parameters(view, method.upper()) == told, f"{method} {path}"
    refused = administrator.api.get("/api/v1/images/?severty=high")
    assert refused.status_code == 400
    assert refused["Content-Type"] == "application/problem+json"


def test_no_choice_has_a_made_up_name() -> None:
    """A name with a checksum in it changes with the choices, and every client that was generated from it breaks."""
    named = [name for name, schema in document()["components"]["schemas"].items() if "enum" in schema]
    assert named
    assert not [name for name in named if any(letter.isdigit() for letter in name)]


@pytest.mark.django_db
def test_it_is_served_to_anybody_as_it_was_generated(client: Any) -> None:
    """What the API can do is no secret; what is in it is."""
    served = client.get("/api/schema/?format=json")
    assert served.status_code == 200
    assert served.json()["paths"].keys() == document()["paths"].keys()


@pytest.mark.django_db
def test_the_docs_page_keeps_to_the_content_security_policy(client: Any) -> None:
    answer = client.get("/api/docs/")
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "'unsafe-inline'" not in answer["Content-Security-Policy"]
    assert "http" not in page.replace("http-equiv", "")
    assert "<script>" not in page
    assert "<style>" not in page


# --- every operation, asked in every way ---


@pytest.fixture
def filled(
    developer: Person,
    operator: Person,
    reviewer: Person,
    application: Any,
    post: Any,
    happened: dict[str, Any],  # noqa: F811
    spoken: dict[str, Any],  # noqa: F811
) -> dict[str, Any]:
    """One of everything, and the values that path parameters take so that requests reach it."""
    from secguard.findings.models import Exposure, Finding, Risk
    from secguard.images.models import Repository
    from secguard.policies.models import Evaluation
    from secguard.policies.services import active_version
    from secguard.scans.models import Scan

    flaws = [flaw("CVE-2026-1"), flaw("CVE-2026-2", "zlib", severity="low")]
    installed = [{"purl": f"pkg:deb/debian/{name}@1.1.1"} for name in ("openssl", "zlib")]
    post(report(*flaws, components=installed), developer, application=application.slug)
    risk = Risk.objects.order_by("pk")[0]
    asked = developer.api.post(
        "/api/v1/decisions/",
        {
            "kind": "accept",
            "risk": risk.pk,
            "scope": {"repository": "reg.example/shop/web"},
            "reason": "It is not reachable from outside.",
            "expires_at": in_days(5),
        },
    )
    assert asked.status_code == 201, asked.content
    seen = {"cluster": "here", "name": "web", "application": application.slug, "images": [digest(1)]}
    workload = operator.api.post("/api/v1/workloads/", seen)
    assert workload.status_code == 201, workload.content
    version = active_version()
    return {
        "images": digest(1),
        "exposures": Exposure.objects.order_by("pk")[0].pk,
        "evaluations": Evaluation.objects.order_by("pk")[0].pk,
        "registries": Repository.objects.get().registry_id,
        "repositories": Repository.objects.get().pk,
        "findings": Finding.objects.order_by("pk")[0].pk,
        "risks": risk.pk,
        "scans": Scan.objects.get().pk,
        "decisions": asked.json()["id"],
        "absences": _absence(developer, reviewer),
        "appetite": 1,
        "policies": version.policy_id,
        "policy-versions": version.pk,
        "workloads": workload.json()["id"],
        "users": developer.pk,
        "memberships": developer.memberships.get().pk,
        "teams": application.team.slug,
        "applications": application.slug,
        "ci-identities": ci_identity(application),
        **_ways_in(developer),
        "tokens": developer.tokens.order_by("pk")[0].pk,
        **_sealed(),
        "homes": "security",
        "events": happened["event"],
        "sensors": happened["sensor"],
        "simulations": _simulation(developer),
        "controls": _control(developer, application),
        **_planned(developer, application),
        "frameworks": _framework(),
        "{name}/controls": "1.1",
        "network/policies": spoken["network_policy"],
        "network/rules": spoken["network_rule"],
        "network/segments": spoken["segment"],
        "reach": spoken["network_end"],
        **_proposed(developer),
        **_attacked(reviewer, application),
        "baselines": digest(1),
        "baseline-changes": baseline_of(digest(1), developer)["baseline_change"],
        **_data(operator, developer, application),
    }


def _sealed() -> dict[str, int]:
    """An entry of the audit log, and the checkpoint that has it."""
    from django.utils import timezone

    from secguard.audit import services

    made = services.make_checkpoint(timezone.now(), is_asked=True)
    assert made is not None
    return {"audit": 1, "checkpoints": made.pk}


def _absence(developer: Person, reviewer: Person) -> int:
    """A day on which the reviewer is away."""
    from datetime import timedelta

    from django.utils import timezone

    from secguard.approvals.models import Absence

    begins = timezone.now() + timedelta(days=100)
    ends = begins + timedelta(hours=9)
    return Absence.objects.create(person=reviewer, deputy=developer, starts_at=begins, ends_at=ends).pk


def _planned(developer: Person, application: Any) -> dict[str, int]:
    """A checklist, and a request that one of its requirements does not apply."""
    from secguard.planning import services

    checklist = services.choose_template(application.pk, "containers", actor=developer)
    waiver = services.ask_for_waiver(application.pk, "threats-modelled", "It holds nothing.", None, actor=developer)
    return {"templates": checklist.template_id, "not-applicable": waiver.pk}


def _framework() -> str:
    """A framework of our own, and what was measured for it."""
    from secguard.compliance import services
    from tests.compliance.texts import SMALL

    made = services.make_framework(SMALL, actor=None)
    services.measure_due()
    services.keep_days()
    return made.name


def _ways_in(developer: Person) -> dict[str, int]:
    from tests.test_permissions import ways_in

    made = ways_in(developer)
    return {"sessions": made["session"], "second-factors": made["factor"]}


def _simulation(developer: Person) -> int:
    """A draft that was tried, or would be, were a worker here."""
    rules = "name: x\nrules: [{id: a, each: image, when: 'image.exposed', effect: warn, message: m}]"
    asked = developer.api.post("/api/v1/policies/simulate/", {"source": rules, "estate": True})
    assert asked.status_code == 202, asked.content
    return int(asked.json()["id"])


def _data(operator: Person, developer: Person, application: Any) -> dict[str, int]:
    """An advisory, its feed and its import, and a notice."""
    from django.utils import timezone

    from secguard.advisories.models import Advisory, Feed, Import
    from secguard.notifications import services
    from secguard.notifications.digest import Line

    line = Line(key="1", what="CVE-2026-00001", where="shop/web", url="/images/")
    services.notify([developer.pk], services.Telling("new-flaw", (line,), application.team_id), now=timezone.now())
    operator.api.get("/api/v1/feeds/")
    feed = Feed.objects.order_by("pk").first() or Feed.objects.create(
        name="f", title="F", kind="osv", url="https://f.example/a"
    )
    key, trusted = _keys()
    return {
        "signing-keys": key,
        "trusted-keys": trusted,
        **_asked_about(operator),
        **_promoted(operator),
        "advisories": Advisory.objects.create(source="osv", name="X-1", content_hash="0" * 32).pk,
        "feeds": feed.pk,
        "imports": Import.objects.create(name="feed.json").pk,
        "notifications": developer.notices.order_by("pk")[0].pk,
        "channels": _channel(),
        "export-targets": _export_target(),
        **_tracked(application),
        "kinds": "new-flaw",
    }


def _tracked(application: Any) -> dict[str, int]:
    """A tracker, and an issue of a risk."""
    from secguard.findings.models import Risk
    from secguard.trackers.models import Issue
    from secguard.trackers.services import TrackerEdit, add_tracker

    edit = TrackerEdit(name="backlog", base_url="https://8.8.8.8", token="0123456789")
    tracker = add_tracker(edit, kind="github", project="a/b", team=None, actor=None)[0]
    risk = Risk.objects.order_by("pk")[0]
    issue = Issue.objects.create(tracker=tracker, risk=risk, team=application.team, marker="m", key="#1")
    return {"trackers": tracker.pk, "issues": issue.pk}


def _attacked(reviewer: Person, application: Any) -> dict[str, Any]:
    """An attack, what would contain it, and what was decided to be expected."""
    from django.utils import timezone

    from secguard.incidents.models import Containment, Expectation, Incident

    now = timezone.now()
    said: dict[str, Any] = {"decided_by": reviewer, "decided_at": now}
    incident = Incident.objects.create(
        key="k", line="l", status="attack", decision="attack", application=application, technique="T1059",
        rule="A shell", title="A shell", kind="process", place="x", first_at=now, last_at=now, **said,
    )  # fmt: skip
    proposed = Containment.objects.create(incident=incident, kind="scale", proposed_at=now)
    expected = Expectation.objects.create(place="x", until=now, reason="known", incident=incident, **said)
    return {"incidents": incident.pk, "containments": proposed.pk, "expectations": expected.pk}


def _channel() -> int:
    """A channel of the organisation."""
    from secguard.channels.services import ChannelEdit, add_channel

    return add_channel(ChannelEdit("chat", "https://8.8.8.8/hook"), format_="secguard", team=None, actor=None)[0].pk


def _export_target() -> int:
    """A target that events are posted to."""
    from secguard.exports.services import Start, TargetEdit, add_target

    edit = TargetEdit(name="siem", address="https://8.8.8.8/hook", format="ocsf")
    return add_target(edit, sink="webhook", start=Start.NOW, actor=None)[0].pk


def _proposed(developer: Person) -> dict[str, int]:
    """A trusted author of VEX documents, and a document."""
    import zlib

    from secguard.decisions.models import VexDocument
    from secguard.decisions.services.vexin import trust_author

    document = VexDocument.objects.create(
        sha256="0" * 64, body=zlib.compress(b"{}"), size_bytes=2, format="openvex", statements=1, posted_by=developer
    )
    return {"vex-documents": document.pk, "vex-authors": trust_author("Somebody", actor=None).pk}


def _control(developer: Person, application: Any) -> int:
    """A control with a piece of evidence."""
    from secguard.decisions import services

    new = services.NewControl("Rule 942100", "waf-or-ips-rule", "heartbeat", 24, application=application)
    made = services.propose(new, actor=developer)
    services.add_evidence(made.pk, services.Evidence(), actor=developer)
    return int(made.pk)


def _keys() -> tuple[int, int]:
    from secguard.signing import ecdsa, services

    trust = services.Trust("Base images", ecdsa.generate().public.pem, "reg.example/base/*")
    return services.create_key("production", services.NewKey(), actor=None).pk, services.trust_key(trust, actor=None).pk


def _asked_about(operator: Person) -> dict[str, int]:
    """A cluster that asks, what it was answered, and a break-glass."""
    from django.utils import timezone

    from secguard.admission.models import AdmissionDecision, BreakGlass, ClusterGate
    from secguard.images.models import Image
    from secguard.workloads.models import Cluster

    gate, now = ClusterGate.objects.create(cluster=Cluster.objects.get(name="here")), timezone.now()
    kept = AdmissionDecision.objects.create(
        key="k",
        cluster=gate.cluster,
        image=Image.objects.get(),
        outcome="denied",
        mode="enforce",
        first_at=now,
        last_at=now,
    )
    glass = BreakGlass.objects.create(
        cluster=gate.cluster, namespace="shop", digest=digest(1), minutes=5, reason="Why.", requested_by=operator
    )
    return {"clusters": gate.pk, "admission-decisions": kept.pk, "break-glass": glass.pk}


def _promoted(operator: Person) -> dict[str, int]:
    """The image on its way to the second environment."""
    from secguard.images.models import Image, Repository
    from secguard.promotion.models import Environment, Promotion

    place = Repository.objects.order_by("pk")[0]
    names = ("build", "production")
    _, last = (Environment.objects.create(name=n, position=i, registry=place.registry) for i, n in enumerate(names))
    made = Promotion.objects.create(
        digest=digest(1), image=Image.objects.get(), source=place, environment=last, asked_reference=place.name,
        destination_name=place.name, requested_by=operator,
    )  # fmt: skip
    return {"environments": last.pk, "promotions": made.pk}


def in_days(days: int) -> str:
    from datetime import timedelta

    from django.utils import timezone

    return (timezone.now() + timedelta(days=days)).isoformat()


@pytest.fixture
def one_connection(filled: dict[str, Any]) -> Iterator[None]:
    """A request ends by closing what it used; here that is the test's own transaction (Django's client does this).

    After ``filled``: that client connects these signals again at the end of each of its requests.
    """
    from django.core.signals import request_finished, request_started
    from django.db import close_old_connections

    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@cache
def api() -> Any:
    from django.core.wsgi import get_wsgi_application

    loaded = schemathesis.openapi.from_dict(document())
    loaded.app = get_wsgi_application()
    return loaded


RESOURCES = sorted({path.split("/")[3] for path, _, _ in operations()})


@pytest.mark.django_db
@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize("resource", RESOURCES)
def test_no_request_breaks_the_server(
    resource: str, filled: dict[str, Any], administrator: Person, developer: Person
) -> None:
    tokens = [person.api._credentials["HTTP_AUTHORIZATION"] for person in (administrator, developer)]
    for path, method, _ in operations():
        if path.split("/")[3] == resource:
            found = {status for mode in GenerationMode for status in ask(path, method, mode, tokens, filled)}
            if method == "get" and path not in NEEDS_A_WORD:
                # Else the answers above were refusals alone, and nothing of the document was looked at.
                assert 200 in found, f"{method} {path} was answered with {found} only"


def ask(path: str, method: str, mode: GenerationMode, tokens: list[str], filled: dict[str, Any]) -> set[int]:
    """Makes requests that keep to the document (or do not), each as every person; returns the statuses met."""
    statuses: set[int] = set()
    given = parameters_of(path, filled)

    @hypothesis.settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[hypothesis.Phase.generate],
    )
    @hypothesis.given(case=api()[path][method].as_strategy(mode))
    def send(case: Any) -> None:
        if mode is GenerationMode.POSITIVE:
            case.path_parameters = {**(case.path_parameters or {}), **given}
        for token in tokens:
            # Asked for in this process nothing unpacks an answer, as every client of the network does.
            headers = {"Authorization": token, "Accept-Encoding": "identity"}
            with transaction.atomic(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                statuses.add(case.call_and_validate(headers=headers, checks=CHECKS).status_code)
                transaction.set_rollback(True)

    send()
    return statuses


def parameters_of(path: str, filled: dict[str, Any]) -> dict[str, Any]:
    """The path's parameter, such that it names something that is there."""
    words = path.strip("/").split("/")
    places = [at for at, word in enumerate(words) if word.startswith("{")]
    # "network/policies" where "policies" alone are others.
    return {words[at][1:-1]: filled.get("/".join(words[at - 2 : at])) or filled[words[at - 1]] for at in places}
