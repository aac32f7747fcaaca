from django.urls import path

from secguard.images import views

app_name = "registries"
urlpatterns = [
    path("settings/registries/", views.registries, name="list"),
    path("settings/registries/new/", views.registry_new, name="new"),
    path("settings/registries/<int:pk>/", views.registry_detail, name="detail"),
    path("settings/registries/<int:pk>/webhook-token/", views.webhook_token, name="webhook-token"),
]
