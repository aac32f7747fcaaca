from django.urls import include, path, re_path

from secguard.compliance import views
from secguard.compliance.api import CONTROL, NAME

ONE = rf"^compliance/frameworks/{NAME}"

framework_patterns = [
    path("compliance/frameworks/", views.framework_list, name="list"),
    path("compliance/new-framework/", views.framework_new, name="new"),
    re_path(rf"{ONE}/$", views.framework_detail, name="detail"),
    re_path(rf"{ONE}/versions/$", views.framework_versions, name="versions"),
    re_path(rf"{ONE}/retire/$", views.framework_retire, name="retire"),
    re_path(rf"{ONE}/controls/{CONTROL}/$", views.control_detail, name="control"),
]
urlpatterns = [path("", include((framework_patterns, "frameworks")))]
