"""Reports in, scans out, over REST."""

from __future__ import annotations

import io
import zlib
from dataclasses import replace
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.errors import Invalid, NotFound, TooLarge
from secguard.images.models import Image, Repository
from secguard.images.queries import find_image
from secguard.jobs import services as job_services
from secguard.jobs.models import Job
from secguard.scans.lifecycle import OPEN_STATUSES, ScanOrigin, ScanStatus
from secguard.scans.models import Scan, Watch
from secguard.scans.queries import builds_hit, flaws_called, images_hit, shown_hits, shown_references
from secguard.scans.services import ScanRequest, Submission, archives, ask, cancel, submit, wait_for_end, watching
from secguard.scans.services.asking import check_request
from secguard.scans.verdicts import verdict_of
from secguard.web.parameters import choice_of, flag_of, number_of, text_of

MAX_WAIT = 120
CHUNK = 2**20
MAX_MEMBERS = 10_000
_PACKED = 2**14  # unpacks to 16 MiB at most: deflate makes no more than 1,032 bytes of one
_GZIP = ("gzip", "x-gzip")  # RFC 9110 section 8.4.1.3: a recipient should take the old name as the new one
_ENCODINGS = ("", "identity", *_GZIP)


class RawParser(BaseParser):
    """The body as it came, whatever its type says: the format is told by the content."""

    media_type = "*/*"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        most: int = settings.MAX_REPORT_BYTES
        request = (parser_context or {})["request"]
        kind = (media_type or "").partition(";")[0].strip().lower()
        if kind in ("multipart/form-data", "application/x-www-form-urlencoded") and "boundary" in (media_type or ""):
            raise Invalid(
                "The report came as a form upload; expected the scanner's output itself as the body, for example: "
                "curl --data-binary @report.json.",
                code="form-upload",
                where="Content-Type",
            )
        encoding = request.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in _ENCODINGS:
            raise Invalid(
                f"The body is encoded as {encoding[:40]!r}; gzip or nothing at all is read. With curl: "
                "gzip -c report.json | curl -H 'Content-Encoding: gzip' --data-binary @-",
                code="content-encoding",
                where="Content-Encoding",
            )
        raw = _read(stream, most)
        return _inflated(raw, most) if encoding in _GZIP else raw


def _read(stream: IO[Any], most: int) -> bytes:
    """At most ``most`` bytes and one: a body that is larger is never held whole."""
    body = io.BytesIO()
    while body.tell() <= most and (part := stream.read(CHUNK)):
        body.write(part)
    if body.tell() > most:
        raise TooLarge(
            f"The report has more than {most:,} bytes, which is what one may have (SECGUARD_MAX_REPORT_BYTES). Leave "
            "descriptions out, or scan fewer targets at once.",
            code="report-too-large",
            where="body",
        )
    return body.getvalue()


def _inflated(raw: bytes, most: int) -> bytes:
    """Every member of the gzip file, one after another (RFC 1952 section 2.2); at most ``most`` bytes."""
    body, inflater, members = io.BytesIO(), zlib.decompressobj(wbits=31), 1
    for start in range(0, len(raw), _PACKED):
        rest = raw[start : start + _PACKED]
        while rest and members <= MAX_MEMBERS:
            if inflater.eof:
                inflater, members = zlib.decompressobj(wbits=31), members + 1
            try:
                body.write(inflater.decompress(rest))
            except zlib.error as e:
                raise _not_gzip(f"The body is not gzip, as Content-Encoding says: {e}.") from e
            if body.tell() > most:
                raise TooLarge(
                    f"The report has more than {most:,} bytes unpacked.", code="report-too-large", where="body"
                )
            rest = inflater.unused_data
    if members > MAX_MEMBERS:
        raise _not_gzip(f"The body is a gzip file of more than {MAX_MEMBERS:,} members. Compress it in one go.")
    if raw and not inflater.eof:
        raise _not_gzip("The body is gzip that was cut off: its end is missing. Send all of it.")
    return body.getvalue()


def _not_gzip(words: str) -> Invalid:
    return Invalid(words, code="not-gzip", where="body")


class ScanSerializer(serializers.ModelSerializer[Scan]):
    """A scan; once it is judged, with the verdict at the build gate."""

    url = serializers.SerializerMethodField()
    image = serializers.SerializerMethodField(help_text="as it was named, or its digest where another team named it")
    digest = serializers.CharField(
        source="image.digest", default=None, allow_null=True, help_text="null until the image is known"
    )
    counts = serializers.DictField(help_text="what it found, and what that changed")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="what the reader could not take")
    problem = serializers.DictField(allow_null=True, help_text="why it failed, as a problem document")
    verdict = serializers.SerializerMethodField(help_text="the verdict document, on a finished scan asked for alone")
    progress = serializers.SerializerMethodField()
    is_complete = serializers.SerializerMethodField(
        help_text="it is finished and speaks for the whole image: what it no longer finds is closed"
    )
    platforms = serializers.SerializerMethodField(help_text="of the scan of an index: the scans of its platforms")

    class Meta:
        model = Scan
        fields = [
            "id",
            "url",
            "image",
            "digest",
            "origin",
            "trigger",
            "platform",
            "parent",
            "platforms",
            "scanner",
            "scanner_version",
            "format",
            "status",
            "progress",
            "is_complete",
            "counts",
            "warnings",
            "problem",
            "database_updated_at",
            "created_at",
            "started_at",
            "finished_at",
            "verdict",
        ]
        read_only_fields = fields

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._shown: dict[int, str] = {}

    def get_url(self, scan: Scan) -> str:
        request = self.context.get("request")
        path = reverse("api:scan-detail", args=[scan.pk])
        return request.build_absolute_uri(path) if request else path

    def get_verdict(self, scan: Scan) -> dict[str, Any] | None:
        if not self.context.get("with_verdict") or scan.status != ScanStatus.FINISHED or scan.image is None:
            return None
        return verdict_of(scan.image, self.context["request"].user)

    def get_image(self, scan: Scan) -> str:
        """One look for all rows of a page."""
        if scan.pk not in self._shown:
            rows: Any = self.parent.instance if isinstance(self.parent, serializers.ListSerializer) else [scan]
            self._shown |= shown_references(self.context["request"].user, rows or [scan])
        return self._shown[scan.pk]

    def get_platforms(self, scan: Scan) -> list[int] | None:
        if not self.context.get("with_verdict") or scan.index_id is None:
            return None
        return list(scan.children.order_by("pk").values_list("pk", flat=True))

    def get_is_complete(self, scan: Scan) -> bool:
        """The column speaks of the report; a scan that has not ended well had none."""
        return scan.is_complete and scan.status == ScanStatus.FINISHED

    def get_progress(self, scan: Scan) -> dict[str, Any] | None:
        if scan.status not in OPEN_STATUSES or not self.context.get("with_verdict"):
            return None
        at_work = scan.same_as or scan
        job = Job.objects.filter(pk=at_work.job_id).first() if at_work.job_id else None
        if job is None:
            return None
        return {"text": job.progress_text, "done": job.progress_done, "total": job.progress_total}


class ReportView(APIView):
    """Post a scanner's report."""

    parser_classes = [RawParser]

    @extend_schema(
        operation_id="reports_create",
        description=(
            "The body is the scanner's raw output; its format is told by its content. Answers 202 with the scan's URL, "
            "or, with `wait`, 200 with the finished scan and its verdict (202 where it takes longer). The same bytes "
            "about the same image make one scan."
        ),
        request={"application/json": OpenApiTypes.ANY, "application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter("image", str, description="What the report is about, where it does not say it itself."),
            OpenApiParameter("wait", int, description=f"Seconds to wait for the verdict, at most {MAX_WAIT}."),
            OpenApiParameter("scanner", str, description="The tool's name, where the report does not tell it."),
            OpenApiParameter("application", str, description="For a new repository: the application's slug."),
            OpenApiParameter("renamed", bool, description="The image got another name since it was scanned."),
            OpenApiParameter(
                "Idempotency-Key",
                str,
                location=OpenApiParameter.HEADER,
                description="Sent again with the same request, it is answered with the scan that the first one made.",
            ),
        ],
        responses={
            200: ScanSerializer,
            202: ScanSerializer,
            413: OpenApiResponse(description="Larger than one report may be."),
            422: OpenApiResponse(description="Not a report that can be read: `detail` and `where` say why."),
        },
    )
    def post(self, request: Request) -> Response:
        wait = number_of(request, "wait", least=0, most=MAX_WAIT) or 0
        submission = Submission(
            raw=request.data if isinstance(request.data, bytes) else b"",
            image=text_of(request, "image"),
            scanner=text_of(request, "scanner"),
            application=text_of(request, "application"),
            idempotency_key=request.headers.get("Idempotency-Key", ""),
            is_renamed=bool(flag_of(request, "renamed")),
        )
        user: Any = request.user
        scan, _ = submit(submission, actor=user, max_bytes=settings.MAX_REPORT_BYTES)
        if wait and scan.status in OPEN_STATUSES and scan.job_id:
            job_services.wait_for(scan.job_id, wait)
            scan.refresh_from_db()
        document = ScanSerializer(scan, context={"request": request, "with_verdict": True}).data
        done = bool(wait) and scan.status not in OPEN_STATUSES
        return Response(document, status=200 if done else 202, headers={"Location": document["url"]})


class StreamParser(BaseParser):
    """The body as a stream: whoever takes it writes it down as it comes."""

    media_type = "*/*"

    def parse(self, stream: IO[Any], media_type: str | None = None, parser_context: Any = None) -> Any:
        return stream


class NewScanSerializer(serializers.Serializer[Any]):
    image = serializers.CharField(max_length=700, help_text="registry/repository:tag, or …@sha256:…")
    application = serializers.SlugField(
        max_length=100, default="", allow_blank=True, help_text="for a new repository: the application's slug"
    )


_WAIT = OpenApiParameter("wait", int, description=f"Seconds to wait for its end, at most {MAX_WAIT}.")


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("image", str, description="A digest or a reference."),
            OpenApiParameter("origin", str, enum=[o.value for o in ScanOrigin], description="Posted, or our own."),
            OpenApiParameter("repository", str, description="Scans of images that lie in this repository."),
            OpenApiParameter("scanner", str, description="The tool's name, as scans show it."),
            OpenApiParameter("status", str, enum=[s.value for s in ScanStatus], description="Exactly this status."),
        ]
    )
)
class ScanViewSet(viewsets.ReadOnlyModelViewSet[Scan]):
    """Scans of images of your teams, and your own. Posting asks our workers for one."""

    serializer_class = ScanSerializer
    queryset = Scan.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Scan]:
        user: Any = self.request.user
        rows: QuerySet[Scan] = Scan.objects.visible_to(user).select_related("image", "same_as")
        if self.action != "list":
            return rows
        if name := text_of(self.request, "image"):
            rows = rows.filter(image=find_image(user, name))
        if repository := text_of(self.request, "repository"):
            named = Repository.objects.visible_to(user).filter(name=repository)
            rows = rows.filter(image__in=Image.objects.filter(places__repository__in=named))
        if scanner := text_of(self.request, "scanner"):
            rows = rows.filter(scanner=scanner)
        if origin := choice_of(self.request, "origin", tuple(o.value for o in ScanOrigin)):
            rows = rows.filter(origin=origin)
        if status := choice_of(self.request, "status", tuple(s.value for s in ScanStatus)):
            rows = rows.filter(status=status)
        return rows

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "with_verdict": self.action != "list"}

    @extend_schema(
        request=NewScanSerializer,
        parameters=[_WAIT],
        responses={200: ScanSerializer, 202: ScanSerializer},
        description=(
            "A worker pulls the image from its registry, which must be set up (`/api/v1/registries/`), and looks at "
            "it: packages, secrets, malware, configuration, leanness, and what the advisories say. Asked for again "
            "while it is open, it is the same scan. 202 with the scan's URL, or, with `wait`, 200 once it has ended."
        ),
    )
    def create(self, request: Request) -> Response:
        asked = NewScanSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        scan, _ = ask(ScanRequest(**asked.validated_data), actor=user)
        return self._answer(scan, request)

    @extend_schema(
        request={"application/octet-stream": OpenApiTypes.BINARY},
        parameters=[
            OpenApiParameter("image", str, required=True, description="What the image is called: registry/repo:tag."),
            OpenApiParameter("application", str, description="For a new repository: the application's slug."),
            _WAIT,
        ],
        responses={200: ScanSerializer, 202: ScanSerializer},
        description="The body is an image archive: an OCI layout as a tar, or what `docker save` writes.",
    )
    @action(detail=False, methods=["post"], parser_classes=[StreamParser])
    def archive(self, request: Request) -> Response:
        user: Any = request.user
        named = ScanRequest(text_of(request, "image"), "upload", text_of(request, "application"))
        check_request(named, actor=user)
        stream: Any = request.data
        kept = archives.receive(iter(lambda: stream.read(CHUNK), b"") if hasattr(stream, "read") else iter(()))
        scan, _ = ask(replace(named, archive=kept), actor=user)
        return self._answer(scan, request)

    def _answer(self, scan: Scan, request: Request) -> Response:
        wait = number_of(request, "wait", least=0, most=MAX_WAIT) or 0
        if wait:
            wait_for_end(scan, wait)
        document = self.get_serializer(scan).data
        done = bool(wait) and scan.status not in OPEN_STATUSES
        return Response(document, status=200 if done else 202, headers={"Location": document["url"]})

    @extend_schema(request=None, responses=ScanSerializer)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: str) -> Response:
        """Call an open scan off; one that has ended answers 409."""
        user: Any = request.user
        return Response(self.get_serializer(cancel(int(pk), actor=user)).data)


class WatchSerializer(serializers.ModelSerializer[Watch]):
    """How workers look at a repository by themselves."""

    every_hours = serializers.IntegerField(
        allow_null=True, default=None, help_text="scan its newest image again so often; null: not by the clock"
    )
    tags = serializers.CharField(
        max_length=200,
        allow_blank=True,
        default="",
        help_text="scan tags that appear or move and match one of these globs, separated by commas",
    )

    class Meta:
        model = Watch
        fields = ["every_hours", "tags", "next_scan_at", "next_look_at", "problem"]
        read_only_fields = ["next_scan_at", "next_look_at", "problem"]


class WatchView(APIView):
    """What workers look for in a repository by themselves: its newest image by the clock, tags that appear or move."""

    @extend_schema(responses=WatchSerializer)
    def get(self, request: Request, pk: str) -> Response:
        user: Any = request.user
        seen = Repository.objects.visible_to(user).filter(pk=pk)
        if not seen.exists():
            raise NotFound(f"There is no repository {pk} that you may see.")
        found = Watch.objects.filter(repository__in=seen).first()
        return Response(WatchSerializer(found or Watch()).data)

    @extend_schema(request=WatchSerializer, responses=WatchSerializer)
    def put(self, request: Request, pk: str) -> Response:
        """Nothing to look for (null and no tags) ends the watch. Needs scan:request for the repository's team."""
        asked = WatchSerializer(data=request.data)
        asked.is_valid(raise_exception=True)
        user: Any = request.user
        made = watching.watch(int(pk), watching.WatchEdit(**asked.validated_data), actor=user)
        return Response(WatchSerializer(made or Watch()).data)


class HitWorkloadSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    cluster = serializers.CharField(source="cluster.name")
    namespace = serializers.CharField()
    kind = serializers.CharField()
    name = serializers.CharField()
    application = serializers.CharField(source="application.slug", default=None, allow_null=True)


class HitImageSerializer(serializers.Serializer[Any]):
    """An image that a flaw hits, and what runs it."""

    digest = serializers.CharField()
    repositories = serializers.ListField(child=serializers.CharField())
    packages = serializers.ListField(child=serializers.CharField(), help_text="package URLs that it is hit by")
    workloads = HitWorkloadSerializer(many=True)


@extend_schema_view(
    get=extend_schema(
        operation_id="advisories_affected_list",
        parameters=[
            OpenApiParameter(
                "name",
                str,
                OpenApiParameter.PATH,
                description="Any name of a flaw, an advisory's id or its number here.",
            )
        ],
    )
)
class AffectedList(ListAPIView[Image]):
    """Images of your teams that one advisory or flaw hits at this moment, those that run somewhere first.

    By the inventories that are known here, or any scanner's word; an advisory that was imported a moment ago counts.
    """

    serializer_class = HitImageSerializer
    queryset = Image.objects.none()
    ordering = "-runs,pk"

    def list(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        user: Any = request.user
        flaws = flaws_called(self.kwargs["name"])
        builds = builds_hit(flaws)
        page: Any = self.paginate_queryset(images_hit(flaws, builds, user))
        shown = shown_hits(page, flaws, builds, user)
        return self.get_paginated_response(HitImageSerializer(shown, many=True).data)
