"""What clusters ask and refuse, and what workloads are kept from, for checklists (``planning.checks``)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from django.db.models import Max

from secguard import bulk
from secguard.accounts.queries import application_slugs
from secguard.admission.answer import Effect, Mode, Outcome
from secguard.admission.models import AdmissionDecision, ClusterGate
from secguard.images.models import ImageRepository, IndexImage
from secguard.planning.counting import Counting, Measure, Rows, Shown, soonest
from secguard.workloads import volumes
from secguard.workloads.models import Container, Volume, Workload
from secguard.workloads.podspec import Ask
from secguard.workloads.queries import images_running, workloads_running

OLD: Final = timedelta(days=7)
"""What no list of pods told of for longer, and what a cluster that has not asked for longer is set to, says nothing of
what runs now."""


# --- clusters ---

Holds = Callable[[ClusterGate, str], bool]
"""Whether what is asked for holds in a cluster's namespace."""


def _where(holds: Holds) -> Measure:
    """Measures the workloads whose cluster asks, was heard from lately, and does what is asked for."""

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        running = workloads_running(application_ids)
        clusters = sorted({w.cluster_id for several in running.values() for w in several})
        rows = ClusterGate.objects.filter(cluster__in=bulk.among(clusters), token_hash__isnull=False)
        gates = {gate.cluster_id: gate for gate in rows.order_by("pk")}
        return {pk: _by_gate(several, gates, holds, now) for pk, several in running.items()}

    return measure


def _by_gate(workloads: Collection[Workload], gates: dict[int, ClusterGate], holds: Holds, now: datetime) -> Rows:
    lacking, untold, ends = set(), set(), []
    for workload in workloads:
        gate = gates.get(workload.cluster_id)
        if gate is None or not (_enforces(gate, workload.namespace) and holds(gate, workload.namespace)):
            lacking.add(workload.pk)
        elif gate.heard_at is None or gate.heard_at <= now - OLD:
            untold.add(workload.pk)
        else:
            ends.append(gate.heard_at + OLD)
    return Rows(
        total=frozenset(w.pk for w in workloads),
        lacking=frozenset(lacking),
        untold=frozenset(untold),
        changes_at=soonest(*ends),
    )


def _enforces(gate: ClusterGate, namespace: str) -> bool:
    return gate.rules.mode_in(namespace) is Mode.ENFORCE


def _refusing(*asks: str) -> Measure:
    return _where(lambda gate, _: all(gate.rules.effect_of(Ask(ask)) is Effect.BLOCK for ask in asks))


# --- pods ---


def _kept_from(*restrictions: str) -> Measure:
    """Measures the workloads all of whose pods are kept from that, as the last list of pods told. One query."""
    wanted = frozenset(restrictions)

    def measure(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
        return {
            pk: _told(several, {w.pk for w in several if not wanted <= set(w.restrictions or ())}, now)
            for pk, several in workloads_running(application_ids).items()
        }

    return measure


def _off_the_node(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Those that mount no folder of their node, and so not the runtime's socket either. Two queries."""
    running = workloads_running(application_ids)
    ids = sorted(w.pk for several in running.values() for w in several)
    on_node = Volume.objects.filter(workload__in=bulk.among(ids), kind=volumes.NODE).order_by()
    mounting = set(on_node.values_list("workload_id", flat=True).distinct())
    found = {}
    for pk, several in running.items():
        # A mount that is known is one, whoever told of it; that there is none, only a list of pods tells.
        seen = _told(several, set(), now)
        lacking = frozenset(w.pk for w in several) & mounting
        found[pk] = Rows(total=seen.total, lacking=lacking, untold=seen.untold - lacking, changes_at=seen.changes_at)
    return found


def _known(application_ids: Sequence[int], now: datetime) -> dict[int, Rows]:
    """Those all of whose containers run an image that is known here by its digest. Two queries."""
    running = workloads_running(application_ids)
    ids = sorted(w.pk for several in running.values() for w in several)
    told: dict[int, set[tuple[bool, bool]]] = defaultdict(set)
    rows = Container.objects.filter(workload__in=bulk.among(ids), gone_at=None).order_by()
    for workload, digest, image in rows.values_list("workload_id", "digest", "image_id"):
        told[workload].add((bool(digest), image is not None))
    strange = {pk for pk, of in told.items() if (True, False) in of}
    silent = {pk for pk in ids if not any(has for has, _ in told[pk])}
    found = {}
    for pk, several in running.items():
        seen = _told(several, strange, now)
        untold = seen.untold | (seen.total & silent - seen.lacking)
        found[pk] = Rows(total=seen.total, lacking=seen.lacking, untold=untold, changes_at=seen.changes_at)
    return found


def _named(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    """Those that lie in a namespace of their own; of what is in none, a single host's, nobody can say so. One query."""
    return {
        pk: Rows(
            total=frozenset(w.pk for w in several),
            lacking=frozenset(w.pk for w in several if w.namespace == "default"),
            untold=frozenset(w.pk for w in several if not w.namespace),
        )
        for pk, several in workloads_running(application_ids).items()
    }


def _told(workloads: Collection[Workload], without: Collection[int], now: datetime) -> Rows:
    """``without``: the ids of those that do not have it, if the list of pods told of them."""
    told = {w.pk for w in workloads if w.restrictions is not None and w.listed_at is not None}
    lately = {w.pk: w.listed_at + OLD for w in workloads if w.listed_at is not None and w.listed_at > now - OLD}
    total = frozenset(w.pk for w in workloads)
    lacking = frozenset(told & set(without))
    return Rows(
        total=total,
        lacking=lacking,
        untold=total - lacking - (told & lately.keys()),
        changes_at=soonest(*(lately[pk] for pk in lately if pk not in lacking)),
    )


# --- what was let in ---

_LET: Final = frozenset({Outcome.ALLOWED, Outcome.GRACE, Outcome.BROKEN_GLASS})
"""Answers that let an image start by the rules; the others were refusals, whatever the mode made of them."""


def _admitted(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    """The workloads whose images their cluster asked for, the last answer letting each in. Six queries."""
    running = workloads_running(application_ids)
    runs = _images(w.pk for several in running.values() for w in several)
    clusters = sorted({w.cluster_id for several in running.values() for w in several})
    asking = ClusterGate.objects.filter(cluster__in=bulk.among(clusters), token_hash__isnull=False).order_by()
    asks = set(asking.values_list("cluster_id", flat=True))
    last = _answers(set().union(*runs.values()), clusters)
    found = {}
    for pk, several in running.items():
        total = frozenset(w.pk for w in several)
        untold = frozenset(w.pk for w in several if w.cluster_id not in asks or not runs.get(w.pk))
        let = {w.pk for w in several if all(last.get((w.cluster_id, i)) in _LET for i in runs.get(w.pk, ()))}
        found[pk] = Rows(total=total, lacking=total - untold - let, untold=untold)
    return found


def _images(workload_ids: Iterable[int]) -> dict[int, set[int]]:
    """{workload: the images that it runs}."""
    links: Any = Workload.images.through.objects.filter(workload__in=bulk.among(sorted(workload_ids))).order_by()
    found: dict[int, set[int]] = defaultdict(set)
    for workload, image in links.values_list("workload_id", "image_id"):
        found[workload].add(image)
    return dict(found)


def _answers(image_ids: Collection[int], clusters: Sequence[int]) -> dict[tuple[int, int], str]:
    """{(cluster, image): the outcome of the last answer about it, or about an index that it is a platform of}.

    An answer about an index names one of its platforms: the worst.
    """
    wanted = sorted(image_ids)
    of_index: dict[str, set[int]] = defaultdict(set)
    rows = IndexImage.objects.filter(image__in=bulk.among(wanted)).order_by()
    members = list(rows.values_list("index_id", "index__digest", "image_id"))
    for _, digest, image in members:
        of_index[digest].add(image)
    beside = IndexImage.objects.filter(index__in=bulk.among(sorted({index for index, _, _ in members}))).order_by()
    named = sorted({*wanted, *beside.values_list("image_id", flat=True)})
    answers: Any = AdmissionDecision.objects.filter(image__in=bulk.among(named), cluster__in=bulk.among(clusters))
    columns = ("cluster_id", "image_id", "digest", "outcome")
    found: dict[tuple[int, int], tuple[datetime, str]] = {}
    for cluster, image, digest, outcome, at in answers.order_by().values_list(*columns).annotate(at=Max("last_at")):
        for one in {image, *of_index.get(digest, ())}:
            if (cluster, one) not in found or found[cluster, one][0] < at:
                found[cluster, one] = (at, outcome)
    return {key: outcome for key, (_, outcome) in found.items()}


def _preferred(application_ids: Sequence[int], _now: datetime) -> dict[int, Rows]:
    """The images that run, and lie in a registry of which somebody said that images from there may run; one that only
    a report named is preferred by nobody's word. Two queries."""
    running = images_running(application_ids)
    wanted = sorted(set().union(*running.values()))
    places = ImageRepository.objects.filter(image__in=bulk.among(wanted), repository__registry__is_preferred=True)
    said: dict[int, set[bool]] = defaultdict(set)
    for image, at in places.order_by().values_list("image_id", "repository__registry__configured_at"):
        said[image].add(at is not None)
    return {
        pk: Rows(
            total=frozenset(images),
            lacking=frozenset(i for i in images if not said[i]),
            untold=frozenset(i for i in images if said[i] == {False}),
        )
        for pk, images in running.items()
    }


_RUNNING: Final = Shown(
    slugs=application_slugs,
    page="/images/",
    noun="running image",
    plural="running images",
    nothing="Nothing of it runs, as far as is known here.",
)
_WORKLOADS: Final = Shown(
    slugs=application_slugs,
    page="/workloads/",
    noun="workload",
    plural="workloads",
    nothing="Nothing of it runs, as far as is known here.",
)
_SILENT: Final = "in a cluster that has not asked for a week"
_UNLISTED: Final = "not told of by a list of pods within a week"
COUNTINGS: Final = (
    Counting(
        name="clusters-enforce",
        about="All that runs runs in namespaces of clusters that ask, were heard from within a week, and enforce.",
        measure=_where(lambda _gate, _namespace: True),
        kept="where the answer is asked for and enforced",
        lacking="where nobody asks, or the answer is not enforced",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    Counting(
        name="refuses-host-namespaces",
        about="The clusters where it runs refuse pods that ask for hostNetwork, hostPID or hostIPC.",
        measure=_refusing("host-network", "host-pid", "host-ipc"),
        kept="where the node's namespaces are refused",
        lacking="where pods may share the node's namespaces",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    Counting(
        name="refuses-no-limits",
        about="The clusters where it runs refuse pods without limits of CPU and memory.",
        measure=_refusing("no-limits"),
        kept="where pods without limits are refused",
        lacking="where pods may run without limits",
        untold=_SILENT,
        of=_WORKLOADS,
    ),
    *(
        Counting(name=name, about=about, measure=measure, kept=kept, lacking=lacking, untold=_SILENT, of=_WORKLOADS)
        for name, about, measure, kept, lacking in (
            (
                "refuses-privileged",
                "The clusters where it runs refuse privileged containers.",
                _refusing("privileged"),
                "where privileged containers are refused",
                "where privileged containers may run",
            ),
            (
                "refuses-root",
                "The clusters where it runs refuse containers that may run as root.",
                _refusing("root"),
                "where containers that may run as root are refused",
                "where containers may run as root",
            ),
            (
                "refuses-capabilities",
                "The clusters where it runs refuse containers that add a capability.",
                _refusing("capability"),
                "where added capabilities are refused",
                "where containers may add capabilities",
            ),
            (
                "refuses-node-folders",
                "The clusters where it runs refuse pods that mount the runtime's socket or a folder of their node.",
                _refusing("host-path", "container-socket"),
                "where folders of the node are refused",
                "where pods may mount folders of the node",
            ),
            (
                "refuses-tags",
                "The clusters where it runs refuse an image that is named by a tag and not by its digest.",
                _where(lambda gate, _: gate.rules.requires_digest),
                "where images are named by digest",
                "where a tag may name what starts",
            ),
            (
                "refuses-unsigned",
                "The clusters where it runs refuse an image that none of the keys they name has signed.",
                _where(lambda gate, _: bool(gate.rules.signers)),
                "where a signature is asked for",
                "where no signature is asked for",
            ),
            (
                "refuses-unpromoted",
                "The clusters where it runs refuse an image that was not promoted to their environment.",
                _where(lambda gate, _: bool(gate.rules.environment)),
                "where only what was promoted may start",
                "where what was never promoted may start",
            ),
        )
    ),
    Counting(
        name="running-admitted",
        about="Of all that runs the cluster asked before it started, and the last answer let it in.",
        measure=_admitted,
        kept="of which every image was let in",
        lacking="with an image that no answer let in",
        untold="in a cluster that does not ask, or without a known image",
        of=_WORKLOADS,
    ),
    Counting(
        name="running-known",
        about="Every container of its workloads runs an image that is known here by its digest.",
        measure=_known,
        kept="of images that are known here",
        lacking="with a container of an image that nobody knows",
        untold=f"{_UNLISTED}, or without digests",
        of=_WORKLOADS,
    ),
    Counting(
        name="running-preferred",
        about="Every image that its workloads run lies in a registry from which images may run.",
        measure=_preferred,
        kept="in a preferred registry",
        lacking="in no preferred registry",
        untold="in a registry that nobody set up here",
        of=_RUNNING,
    ),
    Counting(
        name="workloads-own-namespace",
        about="No workload runs in the namespace default.",
        measure=_named,
        kept="in a namespace of their own",
        lacking="in the namespace default",
        untold="in no namespace",
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-unprivileged",
        about="No container of its workloads is privileged, as a list of pods told within a week.",
        measure=_kept_from("not-privileged"),
        kept="without a privileged container",
        lacking="with a privileged container",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-non-root",
        about="Every container of its workloads runs as a user that is not root, as a list of pods told.",
        measure=_kept_from("non-root"),
        kept="not as root",
        lacking="with a container that may run as root",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-read-only",
        about="Every container of its workloads has a read-only root filesystem, as a list of pods told.",
        measure=_kept_from("read-only-root"),
        kept="with a read-only root filesystem",
        lacking="with a container that can write to its root filesystem",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-restricted",
        about="Every container drops all capabilities, cannot gain privileges and keeps a seccomp profile.",
        measure=_kept_from("no-capabilities", "no-privilege-escalation", "seccomp"),
        kept="with capabilities dropped, no new privileges, and a seccomp profile",
        lacking="with capabilities, new privileges, or no seccomp profile",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-no-capabilities",
        about="Every container of its workloads drops all capabilities, as a list of pods told.",
        measure=_kept_from("no-capabilities"),
        kept="with all capabilities dropped",
        lacking="with a container that keeps capabilities",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-no-escalation",
        about="No container of its workloads can gain privileges, as a list of pods told.",
        measure=_kept_from("no-privilege-escalation"),
        kept="without a way to gain privileges",
        lacking="with a container that can gain privileges",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-seccomp",
        about="Every container of its workloads keeps a seccomp profile, as a list of pods told.",
        measure=_kept_from("seccomp"),
        kept="with a seccomp profile",
        lacking="with a container without a seccomp profile",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
    Counting(
        name="workloads-off-the-node",
        about="No workload mounts the container runtime's socket or a folder of its node, as a list of pods told.",
        measure=_off_the_node,
        kept="off the node's folders",
        lacking="with the runtime's socket or a folder of the node",
        untold=_UNLISTED,
        of=_WORKLOADS,
    ),
)
