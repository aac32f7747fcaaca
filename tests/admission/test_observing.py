"""A cluster's admission settings as evidence of a control: seen by SecGuard itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from secguard.admission.models import ClusterGate
from secguard.admission.services.observing import SILENT, look
from secguard.decisions import services
from secguard.decisions.controls import ControlState
from secguard.decisions.models import Control
from secguard.errors import Invalid, NotAllowed, NotFound
from secguard.workloads.models import Cluster

pytestmark = pytest.mark.django_db
WATCH = {"observer": "admission-settings", "cluster": "prod", "namespace": "shop", "refuses": ["privileged"]}


@pytest.fixture
def gate(db) -> ClusterGate:
    return ClusterGate.objects.create(
        cluster=Cluster.objects.create(name="prod"), effects={"privileged": "block"}, heard_at=timezone.now()
    )


@pytest.fixture
def propose(gate, application):
    def make(actor, **changed) -> Control:
        watch = WATCH | changed
        new = services.NewControl("No root on nodes", "configuration", "observation", 24, "", application, None, watch)
        return services.propose(new, actor=actor)

    return make


def test_settings_are_watched_and_what_changes_them_contradicts(propose, gate, operator, reviewer):
    control = propose(operator)
    services.confirm(control.pk, actor=reviewer)
    assert services.observe() == 1
    control.refresh_from_db()
    assert control.state_at(timezone.now()) is ControlState.ALIVE
    gate.namespaces = {"sh*": "warn"}
    gate.save()
    assert services.observe() == 1
    control.refresh_from_db()
    assert control.state_at(timezone.now()) is ControlState.CONTRADICTED
    assert control.evidence.first().note == "Namespace shop of prod is set to warn."


def test_what_is_seen_of_a_cluster(gate):
    now = timezone.now()
    watch = {k: v for k, v in WATCH.items() if k != "observer"}
    assert look(watch, None, now).note == "Namespace shop of prod enforces and refuses privileged."
    assert look(watch | {"refuses": ["host-pid", "privileged"]}, None, now).says == "contradicts"
    assert look(watch, None, now + SILENT + timedelta(hours=1)) is None
    assert look(watch | {"cluster": "gone"}, None, now).says == "contradicts"


def test_only_who_may_read_a_clusters_settings_has_them_watched(propose, developer, operator):
    with pytest.raises(NotAllowed, match="cluster:edit"):
        propose(developer)
    with pytest.raises(NotFound):
        propose(operator, cluster="elsewhere")
    for changed in ({"refuses": ["magic"]}, {"refuses": "privileged"}, {"namespace": 7}, {"more": 1}):
        with pytest.raises(Invalid) as found:
            propose(operator, **changed)
        assert found.value.where.startswith("watch")
