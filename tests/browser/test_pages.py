"""Every page in both themes and on two widths: it answers, complains of nothing, fits, and axe finds nothing serious.

Reading and deciding without JavaScript at all is the last test.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import URLPattern, URLResolver, get_resolver
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD, Installation, OpenAs, Watched
from tests.fixtures_reports import report

pytestmark = [pytest.mark.browser, pytest.mark.corpus]

OLD, NEW = "sha256:" + "3c" * 32, "sha256:" + "4d" * 32
CLEAN, BACK = "sha256:" + "5e" * 32, "sha256:" + "6f" * 32
REPOSITORY = "registry.example.org/a-department/with-a-rather-long-name/payments-reconciliation-service"
FLAW = "CVE-2019-18224"

PAGES = {
    "network:map": "/network/",
    "a namespace on the map": "/network/?namespace=shop&cluster=prod",
    "network:edges": "/network/edges/",
    "network:reach": "/network/reach/{network_end}/",
    "network:policies": "/network/policies/",
    "network:policy-new": "/network/policies/new/?end={network_end}&form=cilium",
    "network:policy": "/network/policies/{network_policy}/",
    "network:segments": "/network/segments/",
    "the matrix by application": "/network/segments/?by=application",
    "network:segment-new": "/network/segments/new/",
    "network:segment": "/network/segments/{segment}/",
    "network:rules": "/network/rules/",
    "network:rule-new": "/network/rules/new/",
    "network:rule": "/network/rules/{network_rule}/",
    "network:rule-policies": "/network/rules/policies/?application=ledger",
    "home": "/",
    "begin": "/begin/",
    "images:list": "/images/",
    "images:detail": f"/images/{OLD}/",
    "images:components": f"/images/{OLD}/components/",
    "history:image": f"/images/{OLD}/history/",
    "history at an instant": f"/images/{OLD}/history/?at=2020-01-31T12:00",
    "repositories:list": "/repositories/",
    "repositories:detail": "/repositories/{repository}/",
    "repositories:tags": "/repositories/{repository}/tags/",
    "scans:list": "/scans/",
    "scans:new": "/scans/new/",
    "scans:detail": "/scans/{scan}/",
    "risks:list": "/risks/",
    "risks:work": "/risks/open/",
    "risks:detail": "/risks/{risk}/",
    "decisions:list": "/decisions/",
    "decisions:new": "/decisions/new/?risk={risk}",
    "decisions:preview": "/decisions/new/preview/?risk={risk}&kind=accept&scope=organisation",
    "decisions:queue": "/decisions/queue/",
    "decisions:detail": "/decisions/{waiting}/",
    "decisions:reach": "/decisions/{waiting}/reach/",
    "decisions:withdraw": "/decisions/{waiting}/withdraw/",
    "decisions:revoke": "/decisions/{approved}/revoke/",
    "decisions:appetite": "/appetite/",
    "decisions:appetite-version": "/appetite/1/",
    "decisions:vex": "/vex/",
    "decisions:vex-document": "/vex/{vex}/",
    "decisions:vex-authors": "/vex/authors/",
    "decisions:vex-author-withdraw": "/vex/authors/{vex_author}/withdraw/",
    "controls:list": "/controls/",
    "controls:new": "/controls/new/",
    "controls:detail": "/controls/{control}/",
    "controls:retire": "/controls/{control}/retire/",
    "approvals:absences": "/absences/",
    "policies:detail": "/policy/",
    "policies:edit": "/policy/new/",
    "policies:version": "/policy/1/",
    "policies:observed": "/policy/observed/",
    "laboratory:list": "/policy/simulations/",
    "laboratory:new": "/policy/simulations/new/",
    "laboratory:detail": "/policy/simulations/{simulation}/",
    "laboratory:rows": "/policy/simulations/{simulation}/rows/",
    "laboratory:decisions": "/policy/simulations/{simulation}/decisions/",
    "compliance:home": "/compliance/",
    "compliance:applications": "/compliance/applications/",
    "frameworks:list": "/compliance/frameworks/",
    "frameworks:detail": "/compliance/frameworks/nist-800-190/",
    "frameworks:control": "/compliance/frameworks/nist-800-190/controls/4.1.1/",
    "frameworks:versions": "/compliance/frameworks/nist-800-190/versions/",
    "frameworks:new": "/compliance/new-framework/",
    "applications:list": "/applications/",
    "applications:new": "/applications/new/",
    "applications:detail": "/applications/ledger/",
    "applications:edit": "/applications/ledger/edit/",
    "planning:list": "/planning/",
    "planning:checklist": "/applications/ledger/checklist/",
    "a checklist that was not begun": "/applications/till/checklist/",
    "planning:templates": "/planning/templates/",
    "planning:template": "/planning/templates/{planning_template}/",
    "planning:template-new": "/planning/templates/new/",
    "feeds:list": "/feeds/",
    "feeds:address": "/feeds/{feed}/",
    "homes:detail": "/homes/developers/",
    "the home of operations": "/homes/operations/?environment=production&days=30",
    "the home of security": "/homes/security/?days=365",
    "the home of business": "/homes/business/",
    "homes:views": "/homes/views/",
    "landscape:home": "/landscape/",
    "notifications:list": "/notifications/",
    "notifications:settings": "/notifications/settings/",
    "forecast:list": "/forecast/",
    "baselines:list": "/baselines/",
    "baselines:detail": f"/images/{NEW}/baseline/",
    "incidents:list": "/incidents/",
    "incidents:all": "/incidents/all/?status=all",
    "incidents:detail": "/incidents/{attack}/",
    "an incident that waits": "/incidents/{incident}/",
    "incidents:expectations": "/incidents/expected/",
    "channels:list": "/settings/channels/",
    "channels:new": "/settings/channels/new/",
    "channels:detail": "/settings/channels/{channel}/",
    "channels:remove": "/settings/channels/{channel}/remove/",
    "exports:list": "/exports/",
    "exports:new": "/exports/new/",
    "exports:detail": "/exports/{export_target}/",
    "exports:move": "/exports/{export_target}/move/",
    "exports:remove": "/exports/{export_target}/remove/",
    "trackers:list": "/settings/trackers/",
    "trackers:new": "/settings/trackers/new/",
    "trackers:detail": "/settings/trackers/{tracker}/",
    "trackers:remove": "/settings/trackers/{tracker}/remove/",
    "registries:list": "/settings/registries/",
    "registries:new": "/settings/registries/new/",
    "registries:detail": "/settings/registries/{registry}/",
    "clusters:list": "/settings/clusters/",
    "clusters:new": "/settings/clusters/new/",
    "clusters:detail": "/settings/clusters/{gate}/",
    "admissions:list": "/admissions/",
    "events:list": "/events/",
    "events, each by itself": "/events/?view=each",
    "events that match nothing": "/events/?kind=flow",
    "events:detail": "/events/{event}/",
    "events:series": "/events/series/?days=2",
    "events:storage": "/events/storage/",
    "sensors:list": "/settings/sensors/",
    "sensors:new": "/settings/sensors/new/",
    "sensors:detail": "/settings/sensors/{sensor}/",
    "retention:edit": "/settings/retention/",
    "break-glass:list": "/break-glass/",
    "break-glass:new": "/break-glass/new/",
    "break-glass:detail": "/break-glass/{glass}/",
    "admissions:detail": "/admissions/{admitted}/",
    "promotions:list": "/promotions/",
    "promotions:new": f"/promotions/new/?image={REPOSITORY}@{OLD}&to=production&tags=2026.11.24-build.4711",
    "promotions:detail": "/promotions/{to_vote}/",
    "a refused promotion": "/promotions/{refused}/",
    "recalls:new": f"/images/{CLEAN}/recall/",
    "an image that was called back": f"/images/{BACK}/",
    "a recall to lift": f"/images/{BACK}/recall/",
    "environments:list": "/settings/environments/",
    "environments:new": "/settings/environments/new/",
    "environments:detail": "/settings/environments/{environment}/",
    "environments:delete": "/settings/environments/{environment}/delete/",
    "workloads:list": "/workloads/",
    "workloads:detail": "/workloads/{workload}/",
    "image-signatures": f"/images/{OLD}/signatures/",
    "keys:list": "/settings/keys/",
    "keys:new": "/settings/keys/new/",
    "keys:detail": "/settings/keys/{key}/",
    "keys:rotate": "/settings/keys/{key}/rotate/",
    "keys:retire": "/settings/keys/{key}/retire/",
    "keys:revoke": "/settings/keys/{key}/revoke/",
    "trusted-keys:list": "/settings/trusted-keys/",
    "trusted-keys:new": "/settings/trusted-keys/new/",
    "trusted-keys:detail": "/settings/trusted-keys/{trusted}/",
    "trusted-keys:withdraw": "/settings/trusted-keys/{trusted}/withdraw/",
    "audit:list": "/audit/",
    "audit:detail": "/audit/1/",
    "audit:checkpoints": "/audit/checkpoints/",
    "settings:home": "/settings/",
    "settings:person-new": "/settings/people/new/",
    "settings:person": "/settings/people/{user}/",
    "settings:person-deactivate": "/settings/people/{user}/deactivate/",
    "settings:teams": "/settings/teams/",
    "settings:team-new": "/settings/teams/new/",
    "settings:team": "/settings/teams/finance/",
    "settings:tokens": "/settings/tokens/",
    "settings:ci-identities": "/settings/ci-identities/",
    "settings:ci-identity-new": "/settings/ci-identities/new/",
    "settings:ci-identity": "/settings/ci-identities/{ci_identity}/",
    "accounts:profile": "/account/",
    "accounts:password": "/account/password/",
    "accounts:security": "/account/security/",
    "accounts:app-new": "/account/security/app/",
    "accounts:passkey-new": "/account/security/passkey/",
    "accounts:recovery-codes": "/account/security/recovery-codes/",
    "accounts:token-new": "/account/tokens/new/",
    "a problem": "/images/sha256:" + "0" * 64 + "/",
    "a list that finds nothing": "/images/?q=nothing-of-that-name",
}
SIGNED_OUT = {"login": "/sign-in/"}
NOT_PAGES = {
    "flows-hook", "network:policy-decide", "network:segment-end", "network:rule-decide",  # POST alone
    "baselines:ask", "baselines:reopen", "baselines:expect", "baselines:vote", "baselines:withdraw",  # POST alone
    "second-factor", "passkey",  # after the first step, and POST: looked at in test_passkeys
    "external-begin", "external-callback", "external-acs", "external-metadata",  # to a provider and back
    "accounts:factor-remove", "accounts:session-end", "accounts:sessions-end", "settings:person-end-sessions",
    "healthz", "readyz", "metrics", "schema", "logout", "sign-in-link", "sample",  # no page, or an act
    "docs",  # Swagger's own page
    "public-key", "audit:keys",  # PEM
    "audit:proof", "audit:checkpoint-note", "audit:checkpoint-new",  # files, and POST alone
    "homes:view-new", "homes:view-delete", "homes:letters", "homes:letters-end",  # POST alone
    "homes:unsubscribe",  # from a letter
    "decisions:undo", "controls:confirm", "controls:evidence", "approvals:absence-end",
    "decisions:vote", "decisions:appetite-activate", "policies:activate", "laboratory:cancel",  # POST alone
    "feeds:schedule", "feeds:upload", "feeds:fetch",
    "incidents:act", "incidents:several", "incidents:containment", "incidents:expectation-end",  # POST alone
    "planning:choose", "planning:measure", "planning:answer", "planning:waiver-ask", "planning:waiver-vote",
    "planning:waiver-end", "applications:impact", "frameworks:retire",
    "admission-validate", "admission-mutate", "admission-imagereview", "admission-external-data", "clusters:token",
    "break-glass:act", "promotions:vote", "promotions:act",
    "registry-hook", "runtime-hook", "registries:webhook-token", "scans:cancel", "scans:again", "scans:upload",
    "repositories:watch", "notifications:read", "notifications:read-all",
    "notifications:kinds", "channels:test", "channels:secret",
    "exports:test", "exports:pause", "exports:resume", "exports:secret",
    "trackers:test", "trackers:secret", "trackers:issue-new", "trackers:issue-act",
    "sensors:token", "sensors:drop", "sensors:retry",
    "github-hook", "jira-hook", "jira-hook-secret",
    "images:rebuild",  # needs our own scans: looked at in test_own_eyes
    "notifications:detail",  # leads on to what the notice is about
    "accounts:token-rotate", "accounts:token-revoke", "settings:person-reactivate", "settings:person-link",
    "settings:person-remove-second-factors", "settings:ci-identity-withdraw",
    "settings:role-revoke",  # confirmations, all of one template with settings:person-deactivate
}  # fmt: skip
OF_REVIEWER = {"planning:list", "planning:checklist", "decisions:queue", "decisions:revoke", "promotions:detail"}
OF_REQUESTER = {"decisions:withdraw"}
STATUS = {"a problem": 404}


@pytest.fixture(scope="module")
def estate(installation: Installation, buster: Path) -> dict[str, Any]:
    """One repository with two images, one request that waits, one decision in force; the ids for the pages."""
    made = installation
    made.make_person("dora", "developer", "Finance")
    made.make_person("vera", "security-reviewer")
    made.make_person("amy", "administrator")
    made.make_application("Ledger", "finance")
    made.make_application("Till", "finance")
    developer = made.make_token("dora", "developer")
    reviewer = made.make_token("vera", "security-reviewer")
    for tag, digest in (("2026.11.24-build.4711", OLD), ("2026.11.25-build.4712", NEW)):
        posted = made.run(
            "report", str(buster), "--image", f"{REPOSITORY}:{tag}@{digest}", "--application", "ledger", "--renamed",
            token=developer,
        )  # fmt: skip
        assert posted.returncode == 0, posted.stderr
    risks = made.api("GET", "risks/", token=developer).json()["results"]
    critical = next(r["id"] for r in risks if r["severity"] == "critical")
    other = next(r["id"] for r in risks if r["severity"] != "critical")
    waiting = ask(made, developer, critical)
    approved = ask(made, developer, other)
    answer = made.api("POST", f"decisions/{approved}/approve/", token=reviewer, json={"comment": "until then"})
    assert answer.status_code == 200, answer.text
    scans = made.api("GET", "scans/", token=developer).json()["results"]
    users = made.api("GET", "users/").json()["results"]
    key = made.api("POST", "signing-keys/", json={"name": "production"})
    assert key.status_code == 201, key.text
    trust = {
        "name": "Base images",
        "repositories": "registry.example.org/base/*",
        "public_key": key.json()["public_pem"],
    }
    trusted = made.api("POST", "trusted-keys/", json=trust)
    assert trusted.status_code == 201, trusted.text
    pipeline = {
        "name": "Ledger, main branch",
        "kind": "github",
        "issuer": "https://token.actions.githubusercontent.com",
        "audience": installation.url,
        "claims": {"repository": "acme/ledger", "ref": "refs/heads/main"},
        "role": "developer",
    }
    identity = made.api("POST", "ci-identities/", json=pipeline)
    assert identity.status_code == 201, identity.text
    return {
        **spoken(made),
        **leaned_on(made, developer),
        **planned(made, developer),
        **brought(made, developer, risks),
        "ci_identity": identity.json()["id"],
        "simulation": tried(made),
        "key": key.json()["id"],
        "trusted": trusted.json()["id"],
        "channel": posted_to(made),
        **happened(made),
        **alarmed(made),
        "export_target": sent_to(made),
        "tracker": tracked(made),
        **denied(made),
        "workload": noted(made),
        **on_their_way(made),
        "feed": made.api("GET", "feeds/").json()["results"][0]["id"],
        "registry": made.api("GET", "registries/").json()["results"][0]["id"],
        "risk": critical,
        "other": other,
        "waiting": waiting,
        "approved": approved,
        "scan": scans[0]["id"],
        "repository": made.api("GET", "repositories/", token=developer).json()["results"][0]["id"],
        "user": next(u["id"] for u in users if u["username"] == "dora"),
    }


def spoken(made: Installation) -> dict[str, Any]:
    """Flows between workloads and with outside, and a policy that was asked for one of them."""
    sensor = made.api("POST", "sensors/", json={"name": "mesh", "cluster": "prod", "takes_flows": True})
    assert sensor.status_code == 201, sensor.text
    pods = {"namespace": "shop", "workload_kind": "Deployment"}
    web, db = (pods | {"workload": name, "labels": [f"app={name}"]} for name in ("web", "db"))
    mail = {"identity": "world", "ip": "203.0.113.9", "names": ["mail.example.org"]}
    now = datetime.now(UTC).isoformat()
    same = {"time": now, "verdict": "forwarded", "protocol": "tcp", "port": 443}
    flows = [
        same | {"source": web, "destination": db, "port": 5432},
        same | {"source": web, "destination": mail},
        same | {"source": {"ip": "198.51.100.7"}, "destination": web, "verdict": "denied"},
    ]
    body = {"schema": "secguard-flows/v1", "source": "mesh", "flows": flows}
    headers = {"Authorization": f"Bearer {sensor.json()['token']}"}
    answer = httpx.post(f"{made.url}/hooks/flows/", json=body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    until = time.monotonic() + 60
    while not (edges := made.api("GET", "network/edges/").json()["results"]):
        assert time.monotonic() < until, "no flow was folded"
        time.sleep(1)
    end = next(e["source_id"] for e in edges if e["port"] == 5432)
    asked = made.api("POST", "network/policies/", json={"end": end, "reason": "Only what was seen."})
    assert asked.status_code == 201, asked.text
    return {"network_end": end, "network_policy": asked.json()["id"], **ruled(made)}


def ruled(made: Installation) -> dict[str, Any]:
    """Segments of the organisation, one of them closed, and a rule between them that waits."""
    ids = []
    told: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("Shops of the whole company", {"namespace": "shop"}, "closed"), ("Outside", {"outside": True}, "observe"),
    )  # fmt: skip
    for name, member, stance in told:
        segment = made.api("POST", "network/segments/", json={"name": name, "members": [member], "stance": stance})
        assert segment.status_code == 201, segment.text
        ids.append(segment.json()["id"])
    rule = {"source": f"segment:{ids[0]}", "destination": f"segment:{ids[1]}", "ports": "tcp/443", "reason": "Mail."}
    asked = made.api("POST", "network/rules/", json=rule)
    assert asked.status_code == 201, asked.text
    return {"segment": ids[0], "network_rule": asked.json()["id"]}


def leaned_on(installation: Installation, token: str) -> dict[str, int]:
    """A control that somebody else confirmed, and that was seen to hold."""
    body = {"name": "Rule 942100", "kind": "waf-or-ips-rule", "description": "Stops what looks like SQL."}
    body |= {"covers": {"application": "ledger"}, "kept_alive_by": "heartbeat", "every_hours": 24}
    made = installation.api("POST", "controls/", token=token, json=body)
    assert made.status_code == 201, made.text
    for act in ("confirm", "evidence"):
        done = installation.api("POST", f"controls/{made.json()['id']}/{act}/")
        assert done.status_code in (200, 201), done.text
    return {"control": made.json()["id"]}


def planned(installation: Installation, token: str) -> dict[str, int]:
    """A checklist with answers, and a request that something does not apply."""
    path = "applications/ledger/checklist/"
    begun = installation.api("POST", path, token=token, json={"template": "containers"})
    assert begun.status_code == 200, begun.text
    link = "https://wiki.example.org/a-department/with-a-rather-long-name/threats?version=2026-11-24#top"
    body = {"requirement": "threats-modelled", "is_kept": True, "text": "Kept in the wiki.", "evidence": link}
    for sent in (body, body | {"is_kept": False, "text": "The model\n\nis of last year."}):
        done = installation.api("POST", f"{path}answers/", token=token, json=sent)
        assert done.status_code == 201, done.text
    words = {"requirement": "sensitivity-stated", "reason": "It holds nothing of anybody's."}
    asked = installation.api("POST", f"{path}not-applicable/", token=token, json=words)
    assert asked.status_code == 201, asked.text
    return {"planning_template": installation.api("GET", "planning/templates/").json()["results"][0]["id"]}


def brought(installation: Installation, token: str, risks: list[dict[str, Any]]) -> dict[str, int]:
    """A list of what is to be ignored in one image, and an author whose documents may ask."""
    name = next(r["vulnerability"] for r in reversed(risks) if r["vulnerability"])
    raw = f"{name} # not reachable\n".encode()
    made = installation.api("POST", f"images/{NEW}/vex/", token=token, content=raw)
    assert made.status_code in (200, 201), made.text
    for row in made.json()["results"]:  # the queue's own tests count what waits
        done = installation.api("POST", f"decisions/{row['decision']}/withdraw/", token=token)
        assert done.status_code == 200, done.text
    author = installation.api("POST", "vex-authors/", json={"pattern": "Example Vendor", "note": "base images"})
    assert author.status_code == 201, author.text
    return {"vex": made.json()["document"], "vex_author": author.json()["id"]}


def sent_to(installation: Installation) -> int:
    """A target of the organisation."""
    made = installation.api("POST", "export-targets/", json={"name": "SOC", "address": "8.8.8.8:6514"})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def happened(installation: Installation) -> dict[str, Any]:
    """A sensor, and what the product told of itself meanwhile."""
    made = installation.api("POST", "sensors/", json={"name": "falco-in-the-production-cluster-of-finance"})
    assert made.status_code == 201, made.text
    until = time.monotonic() + 60
    while not (rows := installation.api("GET", "events/?kind=gate").json()["results"]):
        assert time.monotonic() < until, "no gate was told of"
        time.sleep(1)
    return {"event": rows[0]["id"], "sensor": made.json()["id"]}


def alarmed(made: Installation) -> dict[str, Any]:
    """An incident that is an attack, one that waits, and one that was decided to be expected."""
    sensor = made.api("POST", "sensors/", json={"name": "falco", "cluster": "prod"})
    assert sensor.status_code == 201, sensor.text
    now = datetime.now(UTC).isoformat()
    alerts = [
        {
            "time": now, "rule": f"Reverse shell {name} connected to a remote host", "priority": "Critical",
            "tags": [f"T107{n}"], "output": "A shell.",
            "output_fields": {
                "k8s.ns.name": "payments-production", "k8s.deployment.name": "payments-reconciliation-service",
                "proc.exepath": "/usr/local/bin/payments-reconciliation/sh",
            },
        }
        for n, name in enumerate(("one", "two", "three"))
    ]  # fmt: skip
    headers = {"Authorization": f"Bearer {sensor.json()['token']}"}
    answer = httpx.post(f"{made.url}/hooks/falco/", json=alerts, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text
    until = time.monotonic() + 60
    while len(rows := made.api("GET", "incidents/").json()["results"]) < len(alerts):
        assert time.monotonic() < until, "no incident was made"
        time.sleep(1)
    for row, decision in zip(rows, ("attack", "expected"), strict=False):
        said = {"decision": decision, "reason": "Seen by the night shift."}
        answer = made.api("POST", f"incidents/{row['id']}/decide/", json=said)
        assert answer.status_code == 200, answer.text
    return {"attack": rows[0]["id"], "incident": rows[2]["id"]}


def posted_to(installation: Installation) -> int:
    """A channel of the organisation."""
    made = installation.api("POST", "channels/", json={"name": "#security", "url": "https://8.8.8.8/hook"})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def tracked(installation: Installation) -> int:
    """A tracker of the organisation; nothing is asked of it."""
    body = {"name": "Backlog", "kind": "github", "base_url": "https://8.8.8.8", "project": "shop/backlog"}
    made = installation.api("POST", "trackers/", json=body | {"token": "not-a-real-token", "is_active": False})
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def tried(installation: Installation) -> int:
    """A draft that blocks everything, tried over the estate and the last day, and done."""
    when = "finding.severity_rank > 0"
    rule = f"{{id: a-rule, each: finding, when: '{when}', effect: block, message: '{{count}} at {{reference}}'}}"
    since = (datetime.now(UTC) - timedelta(days=1)).isoformat()
    body = {"source": f"name: a stricter policy\nrules: [{rule}]", "since": since}
    made = installation.api("POST", "policies/simulate/", json=body)
    assert made.status_code == 202, made.text
    for _ in range(120):
        found = installation.api("GET", f"simulations/{made.json()['id']}/").json()
        if found["status"] != "waiting":
            break
        time.sleep(0.5)
    assert found["status"] == "done", found
    return int(found["id"])


def denied(installation: Installation) -> dict[str, int]:
    """A cluster that asked about an image that nobody knows, and what it was answered."""
    made = installation.api("POST", "clusters/", json={"name": "production", "namespaces": {"team-*": "warn"}})
    assert made.status_code == 201, made.text
    token = installation.api("POST", f"clusters/{made.json()['id']}/token/").json()["token"]
    pod = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "web", "image": f"{REPOSITORY}:unknown"}]}}
    request = {"uid": "1", "operation": "CREATE", "namespace": "shop", "kind": {"kind": "Pod"}, "object": pod}
    body = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
    headers = {"Authorization": f"Bearer {token}"}
    answer = httpx.post(f"{installation.url}/admission/v1/validate", json=body, headers=headers)
    assert answer.json()["response"]["allowed"] is False, answer.text
    (kept,) = installation.api("GET", "admission-decisions/").json()["results"]
    words = {"cluster": "production", "namespace": "shop", "digest": NEW, "reason": "The shop is down without it."}
    glass = installation.api("POST", "break-glass/", json=words).json()["id"]
    return {"gate": made.json()["id"], "admitted": kept["id"], "glass": glass}


def noted(installation: Installation) -> int:
    """A workload that runs both images, on volumes of which one holds data and one is the node's."""
    volumes = [
        {"name": "data", "kind": "persistentVolumeClaim", "source": "payments-reconciliation-service-data-0"},
        {"name": "logs", "kind": "hostPath", "source": "/var/log/containers", "read_only": True},
        {"name": "settings", "kind": "configMap", "source": "settings", "read_only": True},
    ]
    body: dict[str, Any] = {"cluster": "production", "namespace": "shop", "name": "payments-reconciliation-service"}
    body |= {"application": "ledger", "images": [OLD, NEW], "volumes": volumes}
    made = installation.api("POST", "workloads/", json=body)
    assert made.status_code == 201, made.text
    return int(made.json()["id"])


def on_their_way(installation: Installation) -> dict[str, int]:
    """Two environments; a promotion that was refused, one that waits for a vote, and an image that was called back."""
    host = REPOSITORY.partition("/")[0]
    made = installation.api("POST", "registries/", json={"host": host})
    assert made.status_code == 201, made.text
    for name, more in (("build", {}), ("production", {"path_prefix": "a-prefix", "key_name": "production"})):
        body = {"name": name, "registry": host, "approvers": {"security-reviewer": 2}, **more}
        made = installation.api("POST", "environments/", json=body)
        assert made.status_code == 201, made.text
    place = f"{REPOSITORY}-without-flaws"
    for digest in (CLEAN, BACK):
        clean = report(image={"reference": f"{place}:1", "digest": digest}, covers=["vulnerability", "malware"])
        posted = installation.api("POST", "reports/?wait=60&application=ledger", content=clean)
        assert posted.status_code in (200, 201), posted.text
    asked = []
    for image in (f"{REPOSITORY}@{OLD}", f"{place}@{CLEAN}"):
        body = {"image": image, "to": "production", "tags": ["2026.11.24-build.4711", "latest"]}
        promotion = installation.api("POST", "promotions/", json=body)
        assert promotion.status_code == 201, promotion.text
        asked.append(promotion.json())
    assert [p["status"] for p in asked] == ["refused", "waiting"]
    back = installation.api("POST", f"images/{BACK}/recall/", json={"reason": "The build machine was broken into."})
    assert back.status_code == 201, back.text
    return {"environment": made.json()["id"], "refused": asked[0]["id"], "to_vote": asked[1]["id"]}


def ask(installation: Installation, token: str, risk: int) -> int:
    body = {
        "kind": "accept",
        "risk": risk,
        "scope": {"repository": REPOSITORY},
        "reason": "It is not reachable: no name from outside reaches the resolver.\n\nSee the threat model.",
        "expires_at": "2026-12-10T00:00:00Z",
    }
    answer = installation.api("POST", "decisions/", token=token, json=body)
    assert answer.status_code == 201, answer.text
    return int(answer.json()["id"])


def test_every_page_is_in_the_table() -> None:
    found = set(names(get_resolver().url_patterns))
    assert found - PAGES.keys() - SIGNED_OUT.keys() == NOT_PAGES & found


def names(patterns: list[Any], prefix: str = "") -> Any:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            space = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            if pattern.namespace != "api":
                yield from names(pattern.url_patterns, space)
        elif isinstance(pattern, URLPattern) and pattern.name:
            yield f"{prefix}{pattern.name}"


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_page(theme: str, width: int, open_as: OpenAs, estate: dict[str, Any]) -> None:
    options = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
    watched = Watched()
    pages = {who: open_as(who, **options).new_page() for who in ("amy", "vera", "dora")}
    for page in pages.values():
        watched.watch(page)
    faults = []
    for name, path in PAGES.items():
        who = "vera" if name in OF_REVIEWER else "dora" if name in OF_REQUESTER else "amy"
        faults += [f"{name}: {fault}" for fault in faults_of(pages[who], path.format(**estate), watched, name)]
    assert not faults, "\n".join(faults)


CUT_HEADS = """[...document.querySelectorAll("main thead th")]
    .filter(e => e.closest("thead").clientWidth > 1 && e.scrollWidth > e.clientWidth + 1)
    .map(e => e.innerText.trim())"""
"""The heads of columns that do not fit them; where a narrow screen hides the heads, none."""


CUT_HINTS = """[...document.querySelectorAll("main input[placeholder]")].filter(e => {
    const style = getComputedStyle(e), pen = document.createElement("canvas").getContext("2d");
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const room = e.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    return e.clientWidth > 1 && pen.measureText(e.placeholder).width > room;
}).map(e => e.placeholder)"""
"""What fields say that is to be typed, where the field is too narrow for its words."""


def faults_of(page: Page, path: str, watched: Watched, name: str) -> list[str]:
    """What is wrong with one page, in words."""
    answer = page.goto(path)
    assert answer is not None
    wanted = STATUS.get(name, 200)
    faults = [] if answer.status == wanted else [f"answers {answer.status}"]
    complaints = [c for c in watched.take() if not (wanted >= 400 and f"{wanted}" in c)]
    overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    cut = page.evaluate(CUT_HEADS)
    hints = page.evaluate(CUT_HINTS)
    found = Axe().run(page).response["violations"]
    serious = [v for v in found if v["impact"] in ("serious", "critical")]
    return [
        *faults,
        *(f"the browser says: {c}" for c in complaints),
        *([f"is {overflow} pixels too wide"] if overflow > 0 else []),
        *(f"the head {head!r} does not fit its column" for head in cut),
        *(f"the words {hint!r} do not fit their field" for hint in hints),
        *(f"axe: {v['id']}: {v['nodes'][0]['html'][:200]} {v['nodes'][0]['failureSummary'][:200]}" for v in serious),
    ]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_sign_in_page(theme: str, browser: Any, installation: Installation) -> None:
    for width in (1280, 390):
        context = browser.new_context(
            base_url=installation.url, color_scheme=theme, viewport={"width": width, "height": 900}
        )
        page, watched = context.new_page(), Watched()
        watched.watch(page)
        assert faults_of(page, SIGNED_OUT["login"], watched, "login") == []
        context.close()


@pytest.mark.parametrize("who", ["dora", "vera"])
def test_the_home_of_each_audience(who: str, open_as: OpenAs, estate: dict[str, Any]) -> None:
    page, watched = open_as(who).new_page(), Watched()
    watched.watch(page)
    assert faults_of(page, "/", watched, "home") == []
    wanted = {"dora": "What to fix", "vera": "What waits for a decision"}[who]
    expect(page.get_by_role("heading", level=1)).to_have_text(wanted)


def test_reading_and_deciding_without_javascript(
    browser: Any, installation: Installation, open_as: OpenAs, estate: dict[str, Any]
) -> None:
    open_as("dora"), open_as("vera")  # have their passwords chosen
    developer = sign_in_by_password(browser, installation, "dora")
    developer.goto("/images/")
    developer.get_by_label("May be promoted").select_option("block")
    developer.get_by_role("searchbox").fill("reconciliation")
    developer.get_by_role("button", name="Apply").click()
    assert "verdict=block" in developer.url
    assert "q=reconciliation" in developer.url
    developer.get_by_role("link", name=re.compile("build.4712")).click()
    row = developer.get_by_role("row").filter(has_text=FLAW)
    expect(row).to_have_count(1)

    developer.goto(f"/decisions/{estate['waiting']}/withdraw/")
    developer.get_by_role("button", name="Withdraw the request").click()
    developer.goto(f"/images/{NEW}/")
    developer.get_by_role("row").filter(has_text=FLAW).get_by_role("link", name="Ask").click()
    developer.get_by_role("button", name="Show what it covers").click()
    expect(developer.locator("#preview")).to_contain_text("Repositories")
    developer.get_by_label("Why is that right here?").fill("Nothing resolves names of strangers.")
    developer.get_by_role("button", name="Send the request").click()
    expect(developer.get_by_text("The request is sent.")).to_be_visible()

    reviewer = sign_in_by_password(browser, installation, "vera")
    reviewer.goto("/decisions/queue/")
    expect(reviewer.locator("#review")).to_contain_text("Nothing resolves names of strangers.")
    reviewer.locator("#review").get_by_label("Comment").fill("Agreed.")
    reviewer.locator("#review").get_by_role("button", name="Approve").click()
    expect(reviewer.get_by_text("is approved")).to_be_visible()
    for page in (developer, reviewer):
        page.context.close()


def sign_in_by_password(browser: Any, installation: Installation, name: str) -> Page:
    context = browser.new_context(base_url=installation.url, java_script_enabled=False)
    page: Page = context.new_page()
    page.goto("/images/")
    assert "/sign-in/" in page.url, "who is not signed in is asked to"
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Images")
    return page
