"""Real flows of other people's tools, read from the archives in ``../shared/corpora``; and a small estate of edges."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from secguard.accounts.models import Application
from secguard.network import edges
from secguard.network.models import Edge, Heard, Peer
from secguard.workloads.models import Cluster, Workload
from tests.scans.conftest import corpus, corpus_members, mutate

__all__ = ["corpus", "corpus_members", "mutate"]


class Estate:
    """Rows, made as flows would make them."""

    def __init__(self, cluster: str = "prod") -> None:
        self.now = timezone.now()
        self.cluster = Cluster.objects.create(name=cluster)
        Heard.objects.create(cluster=cluster, since=self.now - timedelta(days=30), last_at=self.now)

    def workload(self, place: str, application: Application | None = None, labels: Any = None) -> Peer:
        """``shop/web``, running, with labels as flows tell them."""
        namespace, _, name = place.partition("/")
        workload = Workload.objects.create(
            cluster=self.cluster, namespace=namespace, name=name, kind="Deployment", application=application
        )
        end = edges.Peer(edges.Sort.WORKLOAD, name, self.cluster.name, namespace, "Deployment")
        return self.end(end, workload=workload, labels={"app": name} if labels is None else labels)

    def outside(self, name: str) -> Peer:
        sort = edges.Sort.NETWORK if "/" in name else edges.Sort.NAME
        networks = [] if "/" in name else ["198.51.100.0/24"]
        return self.end(edges.Peer(sort, name), networks=networks)

    def end(self, end: edges.Peer, **columns: Any) -> Peer:
        return Peer.objects.create(
            sort=end.sort.value, name=end.name, cluster=end.cluster, namespace=end.namespace, kind=end.kind,
            is_world=edges.is_world(end), first_at=self.now, last_at=self.now, **columns,
        )  # fmt: skip

    def edge(
        self, source: Peer, destination: Peer, port: int = 443, verdict: str = "forwarded", **columns: Any
    ) -> Edge:
        told = {"protocol": "tcp", "count": 7, "first_at": self.now, "last_at": self.now} | columns
        return Edge.objects.create(source=source, destination=destination, port=port, verdict=verdict, **told)


@pytest.fixture
def estate(db: None) -> Estate:
    return Estate()


@pytest.fixture
def shop(estate: Estate, application: Application, other_application: Application) -> dict[str, Any]:
    """web (ours) speaks to db (ours), to pay/api (another team's) and outside; the internet speaks to web; pay/api was
    denied at db."""
    web = estate.workload("shop/web", application, {"app": "web"})
    db = estate.workload("shop/db", application, {"app": "db"})
    pay = estate.workload("pay/api", other_application)
    secret = estate.workload("vault/jewels", other_application)
    mail, internet = estate.outside("mail.example.org"), estate.outside("203.0.113.0/24")
    made = {
        "web_db": estate.edge(web, db, 5432),
        "web_pay": estate.edge(web, pay, new_until=estate.now + timedelta(days=3)),
        "pay_db": estate.edge(pay, db, 5432, "denied"),
        "pay_secret": estate.edge(pay, secret),
        "web_mail": estate.edge(web, mail),
        "in": estate.edge(internet, web),
        "scan": estate.edge(web, secret, 0, anomaly="ports", anomaly_at=estate.now),
    }
    ends = {"web": web, "db": db, "pay": pay, "secret": secret, "mail": mail, "internet": internet}
    return {"estate": estate, **ends, "edges": made}
