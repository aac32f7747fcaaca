"""The product's routes, and two that answer nothing: ``/benchmark/empty/``, authenticated like every other of the API,
and ``/benchmark/nothing``, which asks nobody for anything."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.urls import handler400, handler403, handler404, handler500, urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


class Empty(APIView):
    def get(self, request: Request) -> Response:
        return Response({})


@csrf_exempt
def nothing(request: HttpRequest) -> JsonResponse:
    return JsonResponse({})


urlpatterns = [path("benchmark/nothing", nothing), *urlpatterns, path("benchmark/empty/", Empty.as_view())]
