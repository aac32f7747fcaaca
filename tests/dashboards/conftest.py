"""An organisation that grows: every step adds the same again of everything that pages list."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.fixtures_reports import digest, flaw, report


class Organisation:
    """What was made so far, for addresses and counts."""

    def __init__(self, people: dict[str, Any], post: Any, run_jobs: Callable[[], int]) -> None:
        self.people = people
        self.post = post
        self.run_jobs = run_jobs
        self.steps = 0

    def grow(self, application: Any, *, reference: str = "reg.example/shop/service") -> None:
        """One more repository of ``application``: two images, four flaws, a workload, three decisions, a person."""
        self.steps += 1
        n = self.steps
        for build in (1, 2):
            self._post(f"{reference}-{n}:{build}", 10 * n + build, n, application)
        self.run_jobs()
        self._workload(application, digest(10 * n + 2), n)
        self._decide(f"{reference}-{n}", n)
        self._settle(n, application)
        self._advise(n)
        self._sign(n)
        self._trust(n, application)
        self._track(n, application)
        self._go_away(n)
        self._promote(digest(10 * n + 2), n)
        self.run_jobs()

    def _post(self, reference: str, number: int, n: int, application: Any) -> None:
        flaws = [
            flaw(f"CVE-2026-{n:03}1", f"openssl{n}", severity="critical", fixed_versions=["1.1.2"]),
            flaw(f"CVE-2026-{n:03}2", f"zlib{n}", severity="high", fixed_versions=["1.3"]),
            flaw(f"CVE-2026-{n:03}3", f"bash{n}", severity="medium"),
            flaw(f"CVE-2026-{n:03}4", f"curl{n}", severity="low"),
        ]
        image = {"reference": reference, "digest": digest(number)}
        scan = self.post(report(*flaws, image=image), application=application.slug)
        assert scan.status == "finished", scan.problem

    def _go_away(self, n: int) -> None:
        """The reviewer is away on one more day, and somebody else is the deputy."""
        from django.utils import timezone

        from secguard.accounts.models import User
        from secguard.approvals.models import Absence

        begins = timezone.now() + timedelta(days=100 + n)
        deputy = User.objects.create(username=f"deputy-{n}")
        ends = begins + timedelta(hours=9)
        Absence.objects.create(person=self.people["reviewer"], deputy=deputy, starts_at=begins, ends_at=ends)

    def _workload(self, application: Any, image: str, n: int) -> None:
        from secguard.images.models import Image
        from secguard.workloads.models import Cluster, Workload

        cluster, _ = Cluster.objects.get_or_create(name="production")
        made = Workload.objects.create(cluster=cluster, namespace="shop", name=f"service-{n}", application=application)
        made.images.add(Image.objects.get(digest=image))
        made.volumes.create(name="data", kind="persistentVolumeClaim", source=f"data-{n}")
        self._admit(cluster, made.images.get(), n)

    def _admit(self, cluster: Any, image: Any, n: int) -> None:
        """One cluster more that asks, and two answers about the image."""
        from django.utils import timezone

        from secguard.admission.models import AdmissionDecision, BreakGlass, ClusterGate
        from secguard.workloads.models import Cluster

        ClusterGate.objects.create(cluster=Cluster.objects.create(name=f"cluster-{n}"))
        now = timezone.now()
        BreakGlass.objects.create(
            cluster=cluster, namespace=f"n-{n}", digest=image.digest, minutes=5, reason="Why.",
            requested_by=self.people["developer"],
        )  # fmt: skip
        for outcome in ("denied", "allowed"):
            AdmissionDecision.objects.create(
                key=f"{outcome}{n}", cluster=cluster, namespace="shop", reference=f"reg.example/shop/service-{n}:2",
                digest=image.digest, image=image, outcome=outcome, mode="enforce", first_at=now, last_at=now,
            )  # fmt: skip

    def _decide(self, repository: str, n: int) -> None:
        """One request that waits, one that is approved and ends within the month, one that was rejected."""
        from django.utils import timezone

        from secguard.decisions import queries, services
        from secguard.findings.models import Risk

        asker, reviewer = self.people["developer"], self.people["reviewer"]
        control = self._control(n)
        for last, act in ((3, None), (4, services.approve), (2, services.reject)):
            risk = Risk.objects.get(vulnerability__name=f"CVE-2026-{n:03}{last}")
            asked = services.request_decision(
                services.Ask(
                    risk.pk,
                    "accept",
                    queries.find_scope(asker, "repository", repository),
                    "The flawed function is not called.",
                    timezone.now() + timedelta(days=12),
                    {},
                    controls=[control],
                ),
                actor=asker,
            )
            if act is not None:
                act(asked.pk, actor=reviewer, comment="seen")

    def _control(self, n: int) -> int:
        """A control that the decisions lean on, going stale."""
        from django.utils import timezone

        from secguard.decisions import services

        asker, reviewer, then = self.people["developer"], self.people["reviewer"], timezone.now() - timedelta(hours=20)
        application = asker.memberships.get().team.applications.order_by("pk").first()
        new = services.NewControl(f"Rule {n}", "process", "heartbeat", 24, application=application)
        made = services.propose(new, actor=asker)
        services.confirm(made.pk, actor=reviewer)
        services.add_evidence(made.pk, services.Evidence(seen_at=then), actor=asker)
        return int(made.pk)

    def _sign(self, n: int) -> None:
        """Another key of ours, and another that is trusted."""
        from django.utils import timezone

        from secguard.images.models import Repository
        from secguard.signing import ecdsa, services
        from secguard.signing.models import Signature, SigningKey, TrustedKey

        administrator = self.people["administrator"]
        services.create_key(f"key-{n}", services.NewKey(), actor=administrator)
        trust = services.Trust(f"Vendor {n}", ecdsa.generate().public.pem, "reg.example/**")
        services.trust_key(trust, actor=administrator)
        now, repository = timezone.now(), Repository.objects.order_by("pk")[0]
        for number, (party, name) in enumerate((("signing_key", f"key-{n}"), ("trusted_key", f"Vendor {n}"))):
            key = (SigningKey if party == "signing_key" else TrustedKey).objects.get(name=name)
            Signature.objects.create(
                repository=repository, digest=digest(12), identity=f"{n}-{number}", form="tag", place="x",
                first_seen_at=now, verified_at=now, **{party: key},
            )  # fmt: skip

    def _trust(self, n: int, application: Any) -> None:
        """Another pipeline that needs no secret."""
        from secguard.accounts.services import NewIdentity, create_ci_identity
        from secguard.accounts.trust import Kind, Trust

        trust = Trust(Kind.OTHER, "https://issuer.example", "here", {"sub": f"shop-{n}"})
        create_ci_identity(NewIdentity(f"Pipeline {n}", trust, "developer", application.team), actor=None)

    def _track(self, n: int, application: Any) -> None:
        """Another tracker, and an issue in it."""
        from secguard.findings.models import Risk
        from secguard.trackers.models import Issue
        from secguard.trackers.services import TrackerEdit, add_tracker

        edit = TrackerEdit(name=f"backlog {n}", base_url="https://8.8.8.8", token="0123456789")
        tracker = add_tracker(edit, kind="github", project="a/b", team=None, actor=None)[0]
        risk = Risk.objects.get(vulnerability__name=f"CVE-2026-{n:03}1")
        issue = Issue.objects.create(
            tracker=tracker, risk=risk, team=application.team, marker=f"m{n}", key=f"#{n}", status="linked"
        )
        issue.acts.create(tracker=tracker, kind="tell", word="fixed")

    def _promote(self, image_digest: str, n: int) -> None:
        """Another environment, and promotions to it: one that waits for a reviewer, one that failed."""
        from django.utils import timezone

        from secguard.accounts.roles import Role
        from secguard.approvals.services import open_requests
        from secguard.images.models import Image
        from secguard.promotion.models import Environment, Promotion

        image, asker = Image.objects.get(digest=image_digest), self.people["operator"]
        place = image.places.select_related("repository__registry").get().repository
        environment = Environment.objects.create(
            name=f"stage-{n}", position=n, registry=place.registry, path_prefix=f"stage-{n}", key_name=f"key-{n}"
        )
        (request,) = open_requests([{Role.SECURITY_REVIEWER: 1}], requester=asker, now=timezone.now())
        for status, approval in (("waiting", request), ("failed", None)):
            Promotion.objects.create(
                digest=image.digest, image=image, asked_reference=f"{place.name}:2", source=place, tags=["2", "latest"],
                environment=environment, destination_name=f"reg.example/stage-{n}/{place.path}", status=status,
                requested_by=asker, approval=approval,
            )  # fmt: skip

    def _advise(self, n: int) -> None:
        """A feed's file with one advisory, and a registry."""
        affected = {"package": {"ecosystem": "PyPI", "name": f"package{n}"}, "versions": ["1.0"]}
        advisory = {"id": f"PYSEC-2026-{n}", "modified": "2026-01-01T00:00:00Z", "affected": [affected]}
        asked = (
            (
                "advisories/import/?name=feed.json",
                json.dumps(advisory).encode(),
                "application/octet-stream",
                (200, 202),
            ),
            ("registries/", json.dumps({"host": f"registry-{n}.example"}), "application/json", (201,)),
        )
        for path, body, kind, expected in asked:
            answer = self.people["administrator"].api.post(f"/api/v1/{path}", body, content_type=kind)
            assert answer.status_code in expected, answer.content

    def _settle(self, n: int, application: Any) -> None:
        """A person with a token and a role, and a team with an application."""
        from secguard.accounts.models import Application, Team

        person = self.people["make"](f"person{n}", "developer", team=application.team)
        assert person.pk
        team = Team.objects.create(name=f"Team {n}", slug=f"team-{n}")
        Application.objects.create(name=f"Application {n}", slug=f"application-{n}", team=team)


@pytest.fixture
def organisation(
    developer: Any,
    reviewer: Any,
    administrator: Any,
    operator: Any,
    make_person: Any,
    post: Any,
    run_jobs: Callable[[], int],
) -> Organisation:
    people = {
        "developer": developer,
        "reviewer": reviewer,
        "administrator": administrator,
        "operator": operator,
        "make": make_person,
    }
    return Organisation(people, post, run_jobs)
