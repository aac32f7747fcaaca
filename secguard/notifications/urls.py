from django.urls import path

from secguard.notifications import views

app_name = "notifications"
urlpatterns = [
    path("notifications/", views.inbox, name="list"),
    path("notifications/read/", views.mark_all_read, name="read-all"),
    path("notifications/settings/", views.preferences, name="settings"),
    path("notifications/settings/kinds/", views.kind_choices, name="kinds"),
    path("notifications/<int:pk>/", views.detail, name="detail"),
    path("notifications/<int:pk>/read/", views.mark_read, name="read"),
]
