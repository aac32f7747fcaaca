from django.urls import include, path, re_path

from secguard.planning import views
from secguard.planning.api import SLUG

OF_CHECKLIST = rf"^applications/{SLUG}/checklist"

planning_patterns = [
    path("planning/", views.planning_list, name="list"),
    path("planning/choose/", views.choose, name="choose"),
    path("planning/templates/", views.template_list, name="templates"),
    path("planning/templates/new/", views.template_new, name="template-new"),
    path("planning/templates/<int:pk>/", views.template_detail, name="template"),
    path("planning/not-applicable/<int:pk>/vote/", views.waiver_vote, name="waiver-vote"),
    path("planning/not-applicable/<int:pk>/end/", views.waiver_end, name="waiver-end"),
    re_path(rf"{OF_CHECKLIST}/$", views.checklist_detail, name="checklist"),
    re_path(rf"{OF_CHECKLIST}/measure/$", views.measure, name="measure"),
    re_path(rf"{OF_CHECKLIST}/answer/$", views.answer, name="answer"),
    re_path(rf"{OF_CHECKLIST}/not-applicable/$", views.waiver_ask, name="waiver-ask"),
]
urlpatterns = [path("", include((planning_patterns, "planning")))]
