"""The product's routes and ``/benchmark/empty/``: authenticated like every other, and answering nothing."""

from __future__ import annotations

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from secguard.urls import handler400, handler403, handler404, handler500, urlpatterns

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]


class Empty(APIView):
    def get(self, request: Request) -> Response:
        return Response({})


urlpatterns = [*urlpatterns, path("benchmark/empty/", Empty.as_view())]
