from django.urls import include, path, re_path

from secguard.images.api import DIGEST
from secguard.signing import views

key_patterns = [
    path("settings/keys/", views.keys, name="list"),
    path("settings/keys/new/", views.key_new, name="new"),
    path("settings/keys/<int:pk>/", views.key_detail, name="detail"),
    path("settings/keys/<int:pk>/rotate/", views.key_rotate, name="rotate"),
    path("settings/keys/<int:pk>/retire/", views.key_retire, name="retire"),
    path("settings/keys/<int:pk>/revoke/", views.key_revoke, name="revoke"),
]
trusted_patterns = [
    path("settings/trusted-keys/", views.trusted, name="list"),
    path("settings/trusted-keys/new/", views.trusted_new, name="new"),
    path("settings/trusted-keys/<int:pk>/", views.trusted_detail, name="detail"),
    path("settings/trusted-keys/<int:pk>/withdraw/", views.trusted_withdraw, name="withdraw"),
]

urlpatterns = [
    re_path(r"^keys/(?P<name>[a-z0-9-]{1,80})\.pem$", views.public_key, name="public-key"),
    re_path(rf"^images/(?P<digest>{DIGEST})/signatures/$", views.image_signatures, name="image-signatures"),
    path("", include((key_patterns, "keys"))),
    path("", include((trusted_patterns, "trusted-keys"))),
]
