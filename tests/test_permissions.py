"""Every route by every role. A route without a row in ``tests/permissions/*.txt`` fails, and so does a wrong answer.

A row is ``METHOD PATH [BODY] => STATUS …`` with one status for each of ``ACTORS``; ``#`` begins a comment. ``{name}``
in it stands for something in the first team's world (``estate`` and ``world`` below); ``stranger`` belongs to another
team. A body is JSON: sent as it is to the API, as a form to a page. Each request runs alone and is undone afterwards.

A route with parameters that are no object's (a format suffix of the API's router) is covered by its plain twin.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.audit import services as audit
from tests.fixtures_people import Person, api_client

ACTORS = (
    "anonymous",
    "stranger",
    "viewer",
    "developer",
    "operator",
    "reviewer",
    "business_approver",
    "administrator",
)
TABLES = Path(__file__).parent / "permissions"
ROW = re.compile(r"(?P<method>[A-Z]+)\s+(?P<path>/\S*)\s*(?P<body>\{.*\})?\s*=>\s*(?P<statuses>[\d\s]+)")


@dataclass(frozen=True)
class Row:
    place: str
    method: str
    path: str
    body: str
    statuses: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def read_rows() -> Iterator[Row]:
    for table in sorted(TABLES.glob("*.txt")):
        for number, line in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
            text = line.split("#")[0].strip()
            if not text:
                continue
            found = ROW.fullmatch(text)
            assert found is not None, f"{table.name}:{number} is no row: {line}"
            statuses = tuple(int(word) for word in found["statuses"].split())
            assert len(statuses) == len(ACTORS), f"{table.name}:{number} needs {len(ACTORS)} statuses"
            yield Row(f"{table.name}:{number}", found["method"], found["path"], found["body"] or "", statuses)


ROWS = list(read_rows())


@pytest.fixture
def estate(db: None) -> dict[str, Any]:
    """What stands in the database beside people."""
    with transaction.atomic():
        entry = audit.record("team:create", actor=None, subject_type="team", subject_id=1, subject="Payments")
    return {"audit": entry.sequence} | checkpoint_made() | vulnerability_data() | keys()


def checkpoint_made() -> dict[str, Any]:
    """A checkpoint of the audit log."""
    made = audit.make_checkpoint(timezone.now(), is_asked=True)
    assert made is not None
    return {"checkpoint": made.pk, "signed": made.size}


def keys() -> dict[str, Any]:
    """A key that signs and one that is trusted, with the public part of a third."""
    from secguard.signing import ecdsa, services

    trust = services.Trust("Base images", ecdsa.generate().public.pem, "reg.example/base/*")
    return {
        "key": services.create_key("production", services.NewKey(), actor=None).pk,
        "trusted": services.trust_key(trust, actor=None).pk,
        "public_key": ecdsa.generate().public.pem.replace("\n", "\\n"),
    }


def vulnerability_data() -> dict[str, Any]:
    from secguard.advisories.models import Advisory, Feed, Import

    return {
        "feed": Feed.objects.create(name="mirror", title="Mirror", kind="osv", url="https://mirror.example/a.zip").pk,
        "import": Import.objects.create(name="all.zip").pk,
        "advisory": Advisory.objects.create(source="osv", name="GHSA-x", content_hash="0").pk,
    }


@pytest.fixture
def decided(developer: Person, reviewer: Person, business_approver: Person, application: Application) -> dict[str, Any]:
    """Two decisions that the developer asked for, one of them approved, and a risk that nobody asked about."""
    from secguard.approvals.models import Absence
    from secguard.decisions import queries, services
    from secguard.images.models import Registry
    from tests.decisions.conftest import Estate

    rows, now = Estate(), timezone.now()
    repository = rows.repository("shop/api", application)
    Registry.objects.update(configured_at=timezone.now())
    risks = [rows.risk() for _ in range(3)]
    rows.image(repository, risks, at=now)
    scope = queries.find_scope(developer, "repository", repository.name)
    asks = [services.Ask(r.pk, "accept", scope, "known", now + timedelta(days=9)) for r in risks[:2]]
    waiting, approved = (services.request_decision(ask, actor=developer) for ask in asks)
    services.approve(approved.pk, actor=reviewer)
    new = services.NewControl("Rule 942100", "waf-or-ips-rule", "heartbeat", 24, application=application)
    away = Absence.objects.create(
        person=reviewer, deputy=business_approver, starts_at=now + timedelta(days=90), ends_at=now + timedelta(days=91)
    )
    return {
        **proposed(waiting, application),
        "absence": away.pk,
        "control": services.propose(new, actor=developer).pk,
        "confirmed": rows.control(application, developer, at=now).pk,
        "decision": waiting.pk,
        "approved": approved.pk,
        "risk": risks[2].pk,
        "repository": repository.name,
        "repository_id": repository.pk,
        "registry": repository.registry_id,
        "soon": (now + timedelta(days=9)).date().isoformat(),
    }


def proposed(decision: Any, application: Application) -> dict[str, Any]:
    """An author who is trusted for the application, and the document that asked for the decision."""
    import zlib

    from secguard.decisions.models import VexDocument, VexProposal
    from secguard.decisions.services.vexin import trust_author

    author = trust_author("Author Zebra", actor=None, application=application)
    document = VexDocument.objects.create(
        sha256="0" * 64, body=zlib.compress(b"zebra"), size_bytes=5, format="openvex", author="Author Zebra",
        statements=1, posted_by=decision.requested_by,
    )  # fmt: skip
    VexProposal.objects.create(document=document, decision=decision, statement=0)
    return {"vex_author": author.pk, "vex_document": document.pk}


def signed(image: Any) -> None:
    """A signature by our key beside the image, and a worker that is to look again."""
    from secguard.images.models import Repository
    from secguard.signing import services
    from secguard.signing.models import Signature, SigningKey

    repository, now = Repository.objects.get(), timezone.now()
    Signature.objects.create(
        repository=repository, digest=image.digest, identity="0" * 64, form="tag", place=f"of {repository.name}",
        docker_reference=repository.name, signing_key=SigningKey.objects.first(), first_seen_at=now, verified_at=now,
    )  # fmt: skip
    services.ask(image, services.Ask(repository.name), actor=None)


@pytest.fixture
def judged(decided: dict[str, Any], application: Application, developer: Person) -> dict[str, Any]:
    """The image that the decisions are about: scanned, running, and the policy that judges it."""
    from secguard.findings.models import Exposure, Finding
    from secguard.images.models import Image, ImageComponent
    from secguard.policies.facts import Gate
    from secguard.policies.services import active_version, verdict_of
    from secguard.scans.models import Scan
    from secguard.workloads.models import Cluster, Workload

    image, version = Image.objects.get(), active_version()
    component = Finding.objects.order_by("pk")[0].component
    ImageComponent.objects.create(image=image, component=component, purl=str(component))
    scan = Scan.objects.create(image=image, reference=decided["repository"], scanner="trivy", status="finished")
    cluster = Cluster.objects.create(name="here")
    workload = Workload.objects.create(cluster=cluster, name="api", application=application)
    workload.images.add(image)
    signed(image)
    return {
        "digest": image.digest,
        "finding": Finding.objects.order_by("pk")[0].pk,
        "exposure": Exposure.objects.order_by("pk")[0].pk,
        "evaluation": verdict_of(image, Gate.BUILD).evaluation_id,
        "scan": scan.pk,
        "workload": workload.pk,
        "policy": version.policy_id,
        "version": version.pk,
    }


@pytest.fixture
def asked_about(judged: dict[str, Any], operator: Person) -> dict[str, Any]:
    """The cluster where the image runs may ask, and was refused it once; the operator asked for a break-glass."""
    from secguard.admission.models import AdmissionDecision, BreakGlass, ClusterGate
    from secguard.images.models import Image
    from secguard.workloads.models import Cluster

    cluster, now = Cluster.objects.get(name="here"), timezone.now()
    image = Image.objects.get(digest=judged["digest"])
    gate = ClusterGate.objects.create(cluster=cluster)
    kept = AdmissionDecision.objects.create(
        key="0" * 64, cluster=cluster, namespace="shop", workload_kind="Deployment", workload_name="api",
        reference=f"registry.example.org/shop/api@{image.digest}", digest=image.digest, image=image, outcome="denied",
        repository_id=image.places.get().repository_id,
        mode="enforce", reason="1 flaw.", evaluation_id=judged["evaluation"], first_at=now, last_at=now,
    )  # fmt: skip
    glass = BreakGlass.objects.create(
        cluster=cluster, namespace="shop", digest=image.digest, minutes=5, reason="Why.", requested_by=operator
    )
    return {"gate": gate.pk, "admitted": kept.pk, "glass": glass.pk}


@pytest.fixture
def on_the_way(judged: dict[str, Any], operator: Person) -> dict[str, Any]:
    """The image waits for a reviewer before it goes to the second environment; another way there failed before."""
    from secguard.accounts.roles import Role
    from secguard.approvals.services import open_requests
    from secguard.images.models import Image, Repository
    from secguard.promotion.models import Environment, Promotion

    place, image = Repository.objects.get(), Image.objects.get(digest=judged["digest"])
    environments = [
        Environment.objects.create(name=name, position=at, registry=place.registry, key_name="production")
        for at, name in enumerate(("build", "live", "empty"), start=1)
    ]
    same: dict[str, Any] = {
        "digest": image.digest, "image": image, "source": place, "environment": environments[1],
        "asked_reference": place.name, "requested_by": operator,
    }  # fmt: skip
    (request,) = open_requests([{Role.SECURITY_REVIEWER: 1}], requester=operator, now=timezone.now())
    waiting = Promotion.objects.create(**same, destination_name="a/b", status="waiting", approval=request)
    failed = Promotion.objects.create(**same, destination_name="a/c", status="failed")
    return {
        "environment": environments[1].pk,
        "empty_environment": environments[2].pk,
        "promotion": waiting.pk,
        "failed_promotion": failed.pk,
    }


@pytest.fixture
def told(developer: Person, application: Application) -> int:
    """What the developer, and nobody else, is told of the first team's things."""
    from secguard.notifications import services
    from secguard.notifications.digest import Line

    line = Line(key="1", what="CVE-2026-00001", where="shop/api", url="/images/")
    services.notify([developer.pk], services.Telling("new-flaw", (line,), application.team_id), now=timezone.now())
    return int(developer.notices.get(kind="new-flaw").pk)


@pytest.fixture
def posted_to(application: Application) -> dict[str, Any]:
    """A channel of the first team, and one of the organisation."""
    from secguard.channels.services import ChannelEdit, add_channel

    edit = ChannelEdit("chat", "https://8.8.8.8/hook")
    team, wide = (add_channel(edit, format_="secguard", team=t, actor=None)[0] for t in (application.team, None))
    return {"channel": team.pk, "wide_channel": wide.pk}


@pytest.fixture
def sent_to(db: None) -> dict[str, Any]:
    """Two targets of the organisation: one over syslog, one webhook."""
    from secguard.exports.services import Start, TargetEdit, add_target

    places = {"export_target": ("syslog-tls", "8.8.8.8:6514"), "webhook_target": ("webhook", "https://8.8.8.8/hook")}
    made = {}
    for name, (sink, address) in places.items():
        edit = TargetEdit(name=name, address=address, format="cef")
        made[name] = add_target(edit, sink=sink, start=Start.NOW, actor=None)[0].pk
    return made


@pytest.fixture
def tracked(application: Application, decided: dict[str, Any]) -> dict[str, Any]:
    """A tracker of the first team, one of the organisation, and an issue of a risk of the team's."""
    from secguard.trackers.models import Issue
    from secguard.trackers.services import TrackerEdit, add_tracker

    edit = TrackerEdit(name="backlog", base_url="https://8.8.8.8", token="0123456789")
    places = [add_tracker(edit, kind="github", project="a/b", team=t, actor=None)[0] for t in (application.team, None)]
    issue = Issue.objects.create(
        tracker=places[0], risk_id=decided["risk"], team=application.team, marker="m", key="#1", status="linked"
    )
    return {"tracker": places[0].pk, "wide_tracker": places[1].pk, "issue": issue.pk}


@pytest.fixture
def simulation(developer: Person, application: Application) -> int:
    """A draft of the policy that the developer tries over the first team's things."""
    from secguard.laboratory.models import Simulation

    now = timezone.now()
    made = Simulation.objects.create(
        kind="policy", name="strict", source="name: strict", until=now, asked_by=developer, expires_at=now
    )
    made.teams.add(application.team)
    return int(made.pk)


@pytest.fixture
def planned(developer: Person, application: Application) -> dict[str, Any]:
    """What is asked of the first team's application, and that one requirement is said not to apply."""
    from secguard.planning import services

    checklist = services.choose_template(application.pk, "containers", actor=developer)
    waiver = services.ask_for_waiver(application.pk, "threats-modelled", "It holds nothing.", None, actor=developer)
    return {"planning_template": checklist.template_id, "waiver": waiver.pk}


@pytest.fixture
def framed(application: Application) -> dict[str, Any]:
    """A framework of our own, and how the first team's application stands with it."""
    from secguard.compliance import services
    from tests.compliance.texts import SMALL

    made = services.make_framework(SMALL, actor=None)
    services.measure_due()
    services.keep_days()
    return {"own_framework": made.name}


@pytest.fixture
def kept(developer: Person) -> dict[str, Any]:
    """A view of the developer's own that is written to them each week."""
    from secguard.dashboards import services
    from secguard.dashboards.homes import Audience
    from secguard.dashboards.report import Form
    from secguard.dashboards.slices import Slice

    view = services.save_view("Zebra", Audience.BUSINESS, Slice(), actor=developer)
    letters = services.subscribe(view.pk, 0, 8, Form.HTML, actor=developer, now=timezone.now())
    return {"view": view.pk, "letters_key": services.key_of(letters)}


@pytest.fixture
def happened(application: Application) -> dict[str, Any]:
    """An event of the first team's, one of nobody's, and a sensor of which something was set aside."""
    from secguard.events.models import Batch, Event, Sensor
    from secguard.events.record import Kind, Line, story_of
    from secguard.events.services.recording import record

    now = timezone.now()
    same: dict[str, Any] = {"kind": Kind.PROCESS, "source": "falco", "at": now, "title": "A shell in shop/api"}
    owner = {"application_id": application.pk, "team_id": application.team_id}
    with transaction.atomic():
        record([Line(story=story_of("ours"), **owner, **same), Line(story=story_of("nobody's"), **same)], now)
    ours, wide = Event.objects.order_by("pk")
    sensor = Sensor.objects.create(name="falco", token_hash="0" * 64)
    Batch.objects.create(
        channel="events", sensor=sensor, received_at=now, count=1, body=b"", failed_at=now, failure="Error"
    )
    return {"event": ours.key, "wide_event": wide.key, "sensor": sensor.pk}


@pytest.fixture
def attacked(judged: dict[str, Any], application: Application, reviewer: Person) -> dict[str, Any]:
    """Three incidents in the first team's workload: open, closed, and an attack with what would contain it; and what
    was decided to be expected there."""
    from secguard.images.models import Image
    from secguard.incidents.models import Containment, Expectation, Incident

    now = timezone.now()
    same: dict[str, Any] = {
        "workload_id": judged["workload"], "image": Image.objects.get(digest=judged["digest"]), "line": "l",
        "application": application, "technique": "T1059", "first_at": now, "last_at": now, "count": 3,
        "digest": judged["digest"], "rule": "A shell", "title": "A shell in shop/api", "kind": "process",
        "place": f"workload:{judged['workload']}", "workload_name": "api", "workload_kind": "Deployment",
    }  # fmt: skip
    decided = {"decision": "attack", "decided_by": reviewer, "decided_at": now}
    found = [Incident.objects.create(key=f"{n}", status=s, **same) for n, s in enumerate(("open", "closed"))]
    attack = Incident.objects.create(key="2", status="attack", **decided, **same)
    said: dict[str, Any] = {"proposed_at": now, "incident": attack}
    proposed = Containment.objects.create(kind="deny", **said)
    approved = Containment.objects.create(
        kind="scale", status="approved", decided_by=reviewer, decided_at=now, document="x", **said
    )
    expected = Expectation.objects.create(
        rule="A shell", place=same["place"], application=application, incident=found[1], until=now + timedelta(days=9),
        reason="known", decided_by=reviewer, decided_at=now,
    )  # fmt: skip
    return {
        "incident": found[0].pk, "closed_incident": found[1].pk, "attack": attack.pk, "containment": proposed.pk,
        "approved_containment": approved.pk, "expectation": expected.pk,
    }  # fmt: skip


@pytest.fixture
def spoken(
    application: Application, other_application: Application, operator: Person, developer: Person
) -> dict[str, Any]:
    """Two workloads of the first team's that speak to each other, and a policy that was asked for one of them."""
    from secguard.network.policy import Form
    from secguard.network.services import proposing
    from tests.network.conftest import Estate as Network

    made = Network("spoken")
    web, db = made.workload("spoken/web", application), made.workload("spoken/db", application)
    made.edge(web, db, 5432)
    asked = proposing.propose(proposing.About(Form.KUBERNETES, db.pk), "", actor=operator)
    return {"network_end": web.pk, "network_policy": asked.pk, **ruled(application, operator, developer)}


def ruled(application: Application, operator: Person, developer: Person) -> dict[str, Any]:
    """A segment of the first team's, and a rule that the developer asked for within its application."""
    from secguard.network.segmentation import Effect
    from secguard.network.services import ruling, segments

    edit = segments.SegmentEdit("Spoken", [{"application": application.slug}])
    segment = segments.create(edit, application.team_id, actor=operator)
    end = f"application:{application.slug}"
    rule = ruling.ask(ruling.RuleEdit(end, end, "tcp/5432", Effect.ALLOW, "It has to."), actor=developer)
    return {"segment": segment.pk, "network_rule": rule.pk}


@pytest.fixture
def usual(judged: dict[str, Any], developer: Person) -> dict[str, Any]:
    """What is normal for the image, something outside of it, and what the developer asked to let join."""
    return baseline_of(judged["digest"], developer)


def baseline_of(digest: str, developer: Person) -> dict[str, Any]:
    from secguard.approvals.services import open_requests
    from secguard.images.models import Image
    from secguard.runtime.models import Baseline, BaselineChange, BaselineDeviation, BaselineItem
    from secguard.runtime.services.baseline_deciding import SEATS

    now = timezone.now()
    row = Baseline.objects.create(
        image=Image.objects.get(digest=digest), status="proposed", learning_since=now - timedelta(days=20)
    )
    BaselineItem.objects.create(baseline=row, kind="syscall", name="read")
    outside = BaselineDeviation.objects.create(
        baseline=row, kind="process", name="/bin/sh", deviation="name", reason="x"
    )
    asked = BaselineChange.objects.create(
        baseline=row, what="join", reason="Ours.", asked_by=developer, asked_at=now,
        request=open_requests([SEATS], requester=developer, now=now)[0],
    )  # fmt: skip
    return {"deviation": outside.pk, "baseline_change": asked.pk}


@pytest.fixture
def world(
    viewer: Person,
    developer: Person,
    operator: Person,
    reviewer: Person,
    business_approver: Person,
    administrator: Person,
    stranger: Person,
    application: Application,
    estate: dict[str, Any],
    decided: dict[str, Any],
    judged: dict[str, Any],
    asked_about: dict[str, Any],
    on_the_way: dict[str, Any],
    posted_to: dict[str, Any],
    sent_to: dict[str, Any],
    tracked: dict[str, Any],
    attacked: dict[str, Any],
    told: int,
    simulation: int,
    happened: dict[str, Any],
    spoken: dict[str, Any],
    usual: dict[str, Any],
    kept: dict[str, Any],
    request: pytest.FixtureRequest,
) -> dict[str, Any]:
    """What ``{name}`` in a row stands for: all of it belongs to the first team or to the organisation."""
    several = request.node.callspec.params.get("rows") if hasattr(request.node, "callspec") else None
    # Everything that a checklist asks is measured: made only for the rows that speak of one.
    text = None if several is None else " ".join(f"{row.path} {row.body}" for row in several)
    planned = request.getfixturevalue("planned") if text is None or re.search("planning|checklist|waiver", text) else {}
    if text is None or "own_framework" in text:
        planned |= request.getfixturevalue("framed")
    return (
        estate
        | decided
        | judged
        | asked_about
        | on_the_way
        | posted_to
        | sent_to
        | tracked
        | attacked
        | happened
        | spoken
        | usual
        | kept
        | planned
        | {
            "team": application.team.slug,
            "team_id": application.team_id,
            "application": application.slug,
            "person": developer.pk,
            "membership": developer.memberships.get().pk,
            "token": api_token_of(developer),
            "ci_identity": ci_identity(application),
            **ways_in(developer),
            "notice": told,
            "simulation": simulation,
        }
    )


def api_token_of(person: Person) -> int:
    """A token beside the one that the person's own requests carry."""
    api_client(person, "developer")
    return int(person.tokens.order_by("-pk")[0].pk)


def ways_in(person: Person) -> dict[str, int]:
    """A second factor of the person's, and a browser in which they are signed in."""
    from secguard.accounts.models import SecondFactor, SignedIn

    ends = timezone.now() + timedelta(hours=1)
    session = SignedIn.objects.create(
        user=person, session_key="x" * 32, device="Firefox", address="192.0.2.*", way="password", ends_at=ends
    )
    return {"factor": SecondFactor.objects.create(user=person, kind="totp", name="App").pk, "session": session.pk}


def ci_identity(application: Application) -> int:
    """A pipeline of the first team's that is trusted."""
    from secguard.accounts.services import NewIdentity, create_ci_identity
    from secguard.accounts.trust import Kind, Trust

    trust = Trust(Kind.OTHER, "https://issuer.example", "here", {"sub": "shop"})
    return int(create_ci_identity(NewIdentity("Pipeline", trust, "developer", application.team), actor=None).pk)


def fill(text: str, world: dict[str, Any]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: str(world[found[1]]), text)


def answer(row: Row, actor: Person | None, world: dict[str, Any]) -> int:
    path, is_api = fill(row.path, world), row.path.startswith("/api/")
    client = Client() if actor is None else actor.api if is_api else actor.client
    body = json.loads(fill(row.body, world)) if row.body else {}
    kwargs: dict[str, Any] = {"content_type": "application/json"} if is_api and actor is None else {}
    with transaction.atomic():
        # An HTTP client keeps its cookies; a request that signs out or in must not speak for the next one.
        cookies = client.cookies.copy()
        response = getattr(client, row.method.lower())(path, body or None, **kwargs)
        if response.streaming:
            b"".join(response)
        client.cookies = cookies
        transaction.set_rollback(True)
    return int(response.status_code)


def together() -> Iterator[tuple[Row, ...]]:
    """The rows of a table, some at a time: the world that they speak of takes longer to make than they to ask."""
    for _, rows in groupby(ROWS, key=lambda row: row.place.partition(":")[0]):
        while several := tuple(islice(rows, 12)):
            yield several


@pytest.mark.once
@pytest.mark.django_db
@pytest.mark.parametrize("rows", list(together()), ids=lambda rows: rows[0].place)
def test_each_role_gets_its_answer(
    rows: tuple[Row, ...], world: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    people = {name: None if name == "anonymous" else request.getfixturevalue(name) for name in ACTORS}
    wrong = []
    for row in rows:
        found = tuple(answer(row, person, world) for person in people.values())
        if found != row.statuses:
            wrong.append(f"{row.place} {row}\n  found: {' '.join(map(str, found))}")
    assert not wrong, "\n".join(wrong)


# --- no route without a row ---


def routes(
    patterns: list[URLPattern | URLResolver], route: str = "", spaces: tuple[str, ...] = ()
) -> Iterator[tuple[str, str, str]]:
    """(full name, route, method) of every route; a function view counts with GET or, if it takes none, POST."""
    for pattern in patterns:
        here = route + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            inner = (*spaces, pattern.namespace) if pattern.namespace else spaces
            yield from routes(pattern.url_patterns, here, inner)
        elif "format" not in here:
            name = ":".join((*spaces, pattern.name or here))
            for method in methods(pattern.callback):
                yield name, here, method


def methods(view: Any) -> list[str]:
    """The methods of an API view; ``ANY`` for a function, which says it only when it is asked."""
    if actions := getattr(view, "actions", None):
        return [method.upper() for method in actions if method != "head"]
    if cls := getattr(view, "cls", None) or getattr(view, "view_class", None):
        known = ("get", "post", "put", "patch", "delete")
        return [method.upper() for method in known if callable(getattr(cls, method, None))]
    return ["ANY"]


SAMPLES = {"digest": "sha256:" + "0" * 64}
"""For paths that take only what looks right."""


def covered() -> set[tuple[str, str]]:
    names = set()
    for row in ROWS:
        path = re.sub(r"\{(\w+)\}", lambda found: SAMPLES.get(found[1], "1"), row.path).partition("?")[0]
        name = resolve(path).view_name
        names |= {(name, row.method), (name, "ANY")}
    return names


def test_every_route_has_a_row() -> None:
    have = covered()
    missing = sorted(
        f"{method} {route} ({name})"
        for name, route, method in routes(get_resolver().url_patterns)
        if (name, method) not in have
    )
    assert not missing, "add rows to tests/permissions/*.txt for:\n  " + "\n  ".join(missing)


def test_the_table_speaks_of_every_role() -> None:
    from secguard.accounts.roles import Role

    assert {role.value.replace("security-", "").replace("-", "_") for role in Role} <= set(ACTORS)
