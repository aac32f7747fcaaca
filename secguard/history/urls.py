from django.urls import re_path

from secguard.history import views
from secguard.images.api import DIGEST

app_name = "history"
urlpatterns = [
    re_path(rf"^images/(?P<digest>{DIGEST})/history/$", views.image_history, name="image"),
]
