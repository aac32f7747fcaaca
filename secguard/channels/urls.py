from django.urls import path

from secguard.channels import views

app_name = "channels"
urlpatterns = [
    path("settings/channels/", views.channel_list, name="list"),
    path("settings/channels/new/", views.channel_new, name="new"),
    path("settings/channels/<int:pk>/", views.channel_detail, name="detail"),
    path("settings/channels/<int:pk>/test/", views.channel_test, name="test"),
    path("settings/channels/<int:pk>/secret/", views.channel_secret, name="secret"),
    path("settings/channels/<int:pk>/remove/", views.channel_remove, name="remove"),
]
