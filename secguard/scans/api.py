"""Reports in, scans out, over REST."""

from __future__ import annotations

import io
import zlib
from typing import IO, Any

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework import serializers, viewsets
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.errors import Invalid, TooLarge
from secguard.images.models import Image, Repository
from secguard.images.queries import find_image
from secguard.jobs import services as job_services
from secguard.jobs.models import Job
from secguard.scans.lifecycle import OPEN_STATUSES, ScanStatus
from secguard.scans.models import Scan
from secguard.scans.services import Submission, submit
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
    image = serializers.CharField(source="reference", help_text="as it was named")
    digest = serializers.CharField(
        source="image.digest", default=None, allow_null=True, help_text="null until the image is known"
    )
    counts = serializers.DictField(help_text="what it found, and what that changed")
    warnings = serializers.ListField(child=serializers.CharField(), help_text="what the reader could not take")
    problem = serializers.DictField(allow_null=True, help_text="why it failed, as a problem document")
    verdict = serializers.SerializerMethodField(help_text="the verdict document, on a finished scan asked for alone")
    progress = serializers.SerializerMethodField()

    class Meta:
        model = Scan
        fields = [
            "id",
            "url",
            "image",
            "digest",
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

    def get_url(self, scan: Scan) -> str:
        request = self.context.get("request")
        path = reverse("api:scan-detail", args=[scan.pk])
        return request.build_absolute_uri(path) if request else path

    def get_verdict(self, scan: Scan) -> dict[str, Any] | None:
        if not self.context.get("with_verdict") or scan.status != ScanStatus.FINISHED or scan.image is None:
            return None
        return verdict_of(scan.image)

    def get_progress(self, scan: Scan) -> dict[str, Any] | None:
        if scan.status not in OPEN_STATUSES or not self.context.get("with_verdict"):
            return None
        job = Job.objects.filter(pk=scan.job_id).first() if scan.job_id else None
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
        done = scan.status == ScanStatus.FINISHED
        return Response(document, status=200 if done and wait else 202, headers={"Location": document["url"]})


@extend_schema_view(
    list=extend_schema(
        parameters=[
            OpenApiParameter("image", str, description="A digest or a reference."),
            OpenApiParameter("repository", str, description="Scans of images that lie in this repository."),
            OpenApiParameter("scanner", str, description="The tool's name, as scans show it."),
            OpenApiParameter("status", str, enum=[s.value for s in ScanStatus], description="Exactly this status."),
        ]
    )
)
class ScanViewSet(viewsets.ReadOnlyModelViewSet[Scan]):
    """Scans of images of your teams, and your own."""

    serializer_class = ScanSerializer
    queryset = Scan.objects.none()
    lookup_value_regex = r"[0-9]{1,18}"
    ordering = "-id"

    def get_queryset(self) -> QuerySet[Scan]:
        user: Any = self.request.user
        rows: QuerySet[Scan] = Scan.objects.visible_to(user).select_related("image")
        if self.action != "list":
            return rows
        if name := text_of(self.request, "image"):
            rows = rows.filter(image=find_image(user, name))
        if repository := text_of(self.request, "repository"):
            named = Repository.objects.visible_to(user).filter(name=repository)
            rows = rows.filter(image__in=Image.objects.filter(places__repository__in=named))
        if scanner := text_of(self.request, "scanner"):
            rows = rows.filter(scanner=scanner)
        if status := choice_of(self.request, "status", tuple(s.value for s in ScanStatus)):
            rows = rows.filter(status=status)
        return rows

    def get_serializer_context(self) -> dict[str, Any]:
        return {**super().get_serializer_context(), "with_verdict": self.action == "retrieve"}
