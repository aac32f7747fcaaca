from django.urls import include, path, re_path

from secguard.images.api import DIGEST
from secguard.promotion.views import environments, promotions, recalls

promotion_patterns = [
    path("promotions/", promotions.promotion_list, name="list"),
    path("promotions/new/", promotions.promotion_new, name="new"),
    path("promotions/<int:pk>/", promotions.promotion_detail, name="detail"),
    path("promotions/<int:pk>/vote/", promotions.promotion_vote, name="vote"),
    path("promotions/<int:pk>/<str:act>/", promotions.promotion_act, name="act"),
]
environment_patterns = [
    path("settings/environments/", environments.environment_list, name="list"),
    path("settings/environments/new/", environments.environment_new, name="new"),
    path("settings/environments/<int:pk>/", environments.environment_detail, name="detail"),
    path("settings/environments/<int:pk>/delete/", environments.environment_delete, name="delete"),
]
recall_patterns = [re_path(rf"^images/(?P<digest>{DIGEST})/recall/$", recalls.image_recall, name="new")]
urlpatterns = [
    path("", include((promotion_patterns, "promotions"))),
    path("", include((environment_patterns, "environments"))),
    path("", include((recall_patterns, "recalls"))),
]
