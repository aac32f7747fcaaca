from django.urls import include, path, re_path

from secguard.images.api import DIGEST
from secguard.runtime import views

OF_IMAGE = rf"^images/(?P<digest>{DIGEST})/baseline"

baseline_patterns = [
    path("baselines/", views.baseline_list, name="list"),
    path("baselines/outside/<int:pk>/expect/", views.expect, name="expect"),
    path("baselines/changes/<int:pk>/vote/", views.vote, name="vote"),
    path("baselines/changes/<int:pk>/withdraw/", views.withdraw, name="withdraw"),
    re_path(rf"{OF_IMAGE}/$", views.baseline_detail, name="detail"),
    re_path(rf"{OF_IMAGE}/ask/$", views.ask, name="ask"),
    re_path(rf"{OF_IMAGE}/reopen/$", views.reopen, name="reopen"),
]
urlpatterns = [path("", include((baseline_patterns, "baselines")))]
