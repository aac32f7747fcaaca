from django.urls import path

from secguard.audit import views

app_name = "audit"
urlpatterns = [
    path("audit/", views.entry_list, name="list"),
    path("audit/<int:sequence>/", views.entry_detail, name="detail"),
]
