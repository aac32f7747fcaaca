"""The pages about installing: messages are the webhook's own, the way out is one, the commands can be typed."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.urls import resolve

from secguard import cli
from tests.admission.conftest import WEB, Ask, pod, review
from tests.fixtures_reports import digest, report

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("site", "images")]
CHECKOUT = Path(__file__).parents[2]
DOCS = CHECKOUT / "docs"
PAGES = ("install-admission.md", "admission.md")
CHART = CHECKOUT / "deploy" / "helm" / "secguard-admission" / "README.md"


@pytest.fixture
def site(settings: Any) -> None:
    settings.PUBLIC_URL = "https://secguard.example.org"


def denied_pods(page: str) -> list[tuple[str, str]]:
    """(the image that ``kubectl run`` names, what it prints then), as the page has them."""
    text = (DOCS / page).read_text()
    return re.findall(r"run web-1 --image=(\S+)\n```\n\n```text\n(Error.*?)^```", text, re.M | re.S)


def printed(response: dict[str, Any]) -> str:
    """What kubectl prints of a refusal: ``Error from server (REASON)``, and what API servers put before the message
    (k8s.io/apiserver, webhook/errors, ToStatusErr)."""
    status = response["status"]
    start = f'Error from server ({status["reason"]}): admission webhook "admit.secguard.io" denied the request: '
    return f"{start}{status['message']}\n"


def without_ids(text: str) -> str:
    return re.sub(r"\?risk=\d+", "?risk=N", text)


@pytest.mark.parametrize("page", PAGES)
def test_the_message_on_the_page_is_what_the_webhook_answers(page: str, ask: Ask) -> None:
    ((image, told),) = denied_pods(page)
    response = ask("validate", review(pod(image)))["response"]
    assert response["allowed"] is False
    assert without_ids(told) == without_ids(printed(response))


def test_the_way_out_on_the_page_is_one(ask: Ask, post: Any, application: Any) -> None:
    """Scanned, the same name starts: the mutating webhook has put the digest in, as API servers ask it first."""
    ((image, told),) = denied_pods("install-admission.md")
    assert f"secguard scan {image}" in told
    post(report(image={"reference": image, "digest": digest(3)}), application=application.slug)
    asked = pod(image)
    (step,) = json.loads(base64.b64decode(ask("mutate", review(asked))["response"]["patch"]))
    assert (step["op"], step["path"]) == ("replace", "/spec/containers/0/image")
    asked["spec"]["containers"][0]["image"] = step["value"]
    assert step["value"] == f"{WEB}@{digest(3)}"
    assert ask("validate", review(asked))["response"]["allowed"] is True


def commands(program: str) -> list[str]:
    texts = [path.read_text() for path in (*(DOCS / page for page in PAGES), CHART)]
    found = [re.findall(rf"(?:^|[|`] ?)({program} [^`|>#\n]+)", t.replace("\\\n", " "), re.M) for t in texts]
    return sorted({command.strip() for of_page in found for command in of_page if "..." not in command})


@pytest.mark.parametrize("command", commands("secguard"))
def test_each_command_of_ours_can_be_typed(command: str) -> None:
    words = [word for word in command.split()[1:] if word != "IMAGE"]
    parsed = cli.parser().parse_args([*words, *(["IMAGE"] if "IMAGE" in command else [])])
    assert callable(parsed.run)


@pytest.mark.parametrize("command", commands("kubectl") + commands("helm"))
def test_each_file_that_is_applied_is_shipped_or_was_made_before(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["admission", "certificate"]) == 0
    made = {"webhooks.yaml", *(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*"))}
    for name in re.findall(r"(?:-f | )((?:deploy|secguard-admission-tls)/[\w./-]+|webhooks\.yaml)", command):
        assert name in made or (CHECKOUT / name).exists(), command


def test_each_address_that_is_asked_answers() -> None:
    text = (DOCS / "install-admission.md").read_text()
    paths = set(re.findall(r"\$SECGUARD_URL(/\S+)", text))
    assert len(paths) == 3
    assert all(resolve(path) for path in paths)


def test_what_is_done_with_the_cluster_is_taken(administrator: Any, ask_once: Callable[..., Any]) -> None:
    """The three bodies of the page, in their order: the cluster, its token, its mode."""
    text = (DOCS / "install-admission.md").read_text()
    create, change = (json.loads(body) for body in re.findall(r"-d '(\{.*?\})'", text))
    made = administrator.api.post("/api/v1/clusters/", create, format="json")
    assert (made.status_code, made.json()["mode"]) == (201, "observe")
    own = f"/api/v1/clusters/{made.json()['id']}/"
    token = administrator.api.post(f"{own}token/").json()["token"]
    assert token.startswith("sgk_")
    assert ask_once(token, "reg.example/shop/web:3")["allowed"] is True
    assert administrator.api.patch(own, change, format="json").json()["mode"] == "enforce"
    assert ask_once(token, "reg.example/shop/web:3")["allowed"] is False


@pytest.fixture
def ask_once(client: Any) -> Callable[..., Any]:
    def post(token: str, image: str) -> Any:
        answer = client.post(
            "/admission/v1/validate",
            json.dumps(review(pod(image))),
            content_type="application/json",
            headers={"Authorization": f"Bearer {token}"},
        )
        assert answer.status_code == 200, answer.content
        return answer.json()["response"]

    return post
