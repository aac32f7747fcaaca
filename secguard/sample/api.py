"""Loading and removing the sample over REST: ``GET|POST|DELETE /api/v1/sample/``."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.accounts.roles import Permission
from secguard.accounts.services import require
from secguard.jobs.models import Job
from secguard.sample import services
from secguard.sample.queries import latest_job, standing


class SampleSerializer(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=["absent", "partial", "loaded"])
    job = serializers.IntegerField(allow_null=True)
    status = serializers.CharField(allow_null=True, help_text="of the latest job: queued, running, succeeded, failed")
    progress = serializers.DictField(allow_null=True)
    message = serializers.CharField()


def _document(job: Job | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"state": standing().value, "job": None, "status": None, "progress": None, "message": ""}
    if job is not None:
        progress = {"text": job.progress_text, "done": job.progress_done, "total": job.progress_total}
        shown |= {"job": job.pk, "status": job.status, "progress": progress}
        shown["message"] = job.error or job.result.get("message", "")
    return shown


class SampleView(APIView):
    """The sample organisation: generated data to look around in. Needs sample:load."""

    @extend_schema(operation_id="sample_retrieve", responses=SampleSerializer)
    def get(self, request: Request) -> Response:
        require(request.user, Permission.SAMPLE_LOAD)
        return Response(_document(latest_job()))

    @extend_schema(operation_id="sample_load", request=None, responses={202: SampleSerializer})
    def post(self, request: Request) -> Response:
        user: Any = request.user
        return Response(_document(services.ask_to_load(actor=user)), status=202)

    @extend_schema(operation_id="sample_remove", request=None, responses={202: SampleSerializer})
    def delete(self, request: Request) -> Response:
        user: Any = request.user
        return Response(_document(services.ask_to_remove(actor=user)), status=202)
