"""What contains an attack: proposed, a person's yes, and done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import yaml
from django.db import IntegrityError, transaction
from django.utils import timezone

from secguard.accounts.models import Application, User
from secguard.audit.models import AuditEntry
from secguard.errors import Conflict, Invalid, NotAllowed, NotFound
from secguard.images.models import Image, Repository
from secguard.incidents.containment import Form
from secguard.incidents.lifecycle import Decision
from secguard.incidents.models import Containment, Incident
from secguard.incidents.services import containing, handling
from secguard.incidents.services.containing import Yes
from secguard.incidents.services.handling import Verdict
from secguard.jobs.services import enqueue
from secguard.signing.services import recalled
from secguard.workloads.models import Workload
from tests.fixtures_people import Person
from tests.fixtures_reports import Post, report
from tests.incidents.conftest import Sees, event

pytestmark = pytest.mark.django_db
ATTACK = Verdict(Decision.ATTACK, "A reverse shell.")


@pytest.fixture
def image(post: Post, application: Application, web: Workload) -> Image:
    post(report(image=1))
    Repository.objects.update(application=application)
    image = Image.objects.get()
    web.images.set([image])
    return image


@pytest.fixture
def attack(image: Image, incident: Incident, developer: Person) -> Incident:
    return handling.decide(incident.pk, ATTACK, actor=developer)


def of(attack: Incident, kind: str) -> Containment:
    return attack.containments.filter(kind=kind).latest("pk")


def test_an_attack_touches_nothing_by_itself(attack: Incident, image: Image) -> None:
    assert sorted(attack.containments.values_list("kind", "status")) == [
        ("deny", "proposed"), ("recall", "proposed"), ("scale", "proposed"),
    ]  # fmt: skip
    assert not recalled([image.digest])
    assert "1 workload" in " ".join(of(attack, "recall").touches)
    assert of(attack, "deny").document == ""


def test_a_yes_calls_the_digest_back_by_its_own_rules(attack: Incident, image: Image, reviewer: Person) -> None:
    row = containing.approve(of(attack, "recall").pk, Yes(), actor=reviewer)
    assert (row.status, row.done_by) == ("done", reviewer)
    assert recalled([image.digest])[image.digest].reason == f"Incident {attack.pk}: A reverse shell."
    assert AuditEntry.objects.filter(action__in=["image:recall", "containment:approve"]).count() == 2
    attack.refresh_from_db()
    assert attack.status == "attack"


def test_who_may_not_recall_the_image_does_not_by_an_incident(
    attack: Incident, image: Image, make_person: Callable[..., Person], other_application: Application,
    application: Application,
) -> None:  # fmt: skip
    ours = make_person("ours", "operator", team=application.team)
    place = Repository.objects.get()
    other = Repository.objects.create(registry=place.registry, name="x/y", path="y", application=other_application)
    image.places.create(repository=other)
    with pytest.raises(NotAllowed, match="image:recall"):
        containing.approve(of(attack, "recall").pk, Yes(), actor=ours)
    assert (of(attack, "recall").status, recalled([image.digest])) == ("proposed", {})


def test_the_network_is_cut_off_by_labels_that_a_person_gives(attack: Incident, operator: Person) -> None:
    pk = of(attack, "deny").pk
    with pytest.raises(Invalid, match="labels of its pods") as refused:
        containing.approve(pk, Yes(), actor=operator)
    assert refused.value.where == "labels"
    row = containing.approve(pk, Yes("app=web, tier=front"), actor=operator)
    document = yaml.safe_load(row.document)
    assert document["spec"] == {
        "podSelector": {"matchLabels": {"app": "web", "tier": "front"}}, "policyTypes": ["Ingress", "Egress"],
    }  # fmt: skip
    assert document["metadata"]["namespace"] == "shop"
    assert (row.status, row.done_at) == ("approved", None)
    assert any("add up" in words for words in row.touches)


def test_ciliums_form_denies_before_anything_allows(attack: Incident, operator: Person) -> None:
    row = containing.approve(of(attack, "deny").pk, Yes("app=web", Form.CILIUM), actor=operator)
    document = yaml.safe_load(row.document)
    assert (document["kind"], document["spec"]["egressDeny"]) == ("CiliumNetworkPolicy", [{"toEntities": ["all"]}])


@pytest.mark.parametrize("labels", ["app", "app=web;x", "=web", "app=we!b", "a=b," * 11, "app=\n- evil: x"])
def test_labels_are_labels(attack: Incident, operator: Person, labels: str) -> None:
    with pytest.raises(Invalid):
        containing.approve(of(attack, "deny").pk, Yes(labels), actor=operator)


def test_it_is_contained_once_all_that_was_approved_is_done(attack: Incident, operator: Person) -> None:
    scale = containing.approve(of(attack, "scale").pk, Yes(), actor=operator)
    assert "kubectl scale deployment/web --namespace shop --replicas=0" in scale.document
    containing.refuse(of(attack, "recall").pk, "Others run it.", actor=operator)
    containing.refuse(of(attack, "deny").pk, "It ends anyway.", actor=operator)
    attack.refresh_from_db()
    assert attack.status == "attack"
    containing.applied(scale.pk, actor=operator)
    attack.refresh_from_db()
    assert attack.status == "contained"
    assert attack.history.filter(what__startswith="contained").exists()


def test_a_list_of_pods_shows_it_gone(attack: Incident, operator: Person, run_jobs: Callable[[], int]) -> None:
    scale = containing.approve(of(attack, "scale").pk, Yes(), actor=operator)
    enqueue(containing.LOOK, {}, key="1")
    run_jobs()
    scale.refresh_from_db()
    assert scale.status == "approved"
    Workload.objects.update(gone_at=timezone.now())
    enqueue(containing.LOOK, {}, key="2")
    run_jobs()
    scale.refresh_from_db()
    assert (scale.status, scale.done_by, scale.note) == ("done", None, "A list of pods shows none of it.")


def test_what_failed_may_be_approved_again(attack: Incident, operator: Person) -> None:
    scale = containing.approve(of(attack, "scale").pk, Yes(), actor=operator)
    containing.failed(scale.pk, "No rights there.", actor=operator)
    assert containing.approve(scale.pk, Yes(), actor=operator).status == "approved"


def test_who_may_say_yes(
    attack: Incident, developer: Person, stranger: Person, viewer: Person, make_person: Callable[..., Person],
    other_application: Application,
) -> None:  # fmt: skip
    pk = of(attack, "scale").pk
    for person in (developer, viewer):
        with pytest.raises(NotAllowed, match="incident:contain"):
            containing.approve(pk, Yes(), actor=person)
    theirs = make_person("theirs", "operator", team=other_application.team)
    for person in (stranger, theirs):
        with pytest.raises(NotFound):
            containing.approve(pk, Yes(), actor=person)
    robot = make_person("robot", "operator")
    User.objects.filter(pk=robot.pk).update(is_service=True)
    robot.is_service = True
    with pytest.raises(NotAllowed, match="a person's yes"):
        containing.approve(pk, Yes(), actor=robot)
    assert of(attack, "scale").status == "proposed"


def test_closed_nothing_waits_any_more(attack: Incident, reviewer: Person) -> None:
    pk = of(attack, "scale").pk
    handling.close(attack.pk, "A drill.", actor=reviewer)
    assert set(attack.containments.values_list("status", flat=True)) == {"refused"}
    with pytest.raises(Conflict):
        containing.approve(pk, Yes(), actor=reviewer)
    with pytest.raises(Conflict, match="closed"):
        containing.propose(attack.pk, actor=reviewer)


def test_refused_it_may_be_proposed_anew(attack: Incident, reviewer: Person) -> None:
    containing.refuse(of(attack, "scale").pk, "Not yet.", actor=reviewer)
    containing.propose(attack.pk, actor=reviewer)
    assert attack.containments.filter(kind="scale").count() == 2
    assert attack.containments.count() == 4


def test_nothing_is_approved_by_nobody(attack: Incident) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        attack.containments.update(status="approved")


def test_what_cannot_be_named_is_not_proposed(sees: Sees, reviewer: Person) -> None:
    (loose,) = sees(event(1, workload="web; rm -rf /"))
    handling.decide(loose.pk, ATTACK, actor=reviewer)
    assert not loose.containments.exists()
