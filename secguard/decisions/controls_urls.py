from django.urls import path

from secguard.decisions import controls_views as views

app_name = "controls"
urlpatterns = [
    path("controls/", views.control_list, name="list"),
    path("controls/new/", views.new, name="new"),
    path("controls/<int:pk>/", views.detail, name="detail"),
    path("controls/<int:pk>/evidence/", views.evidence, name="evidence"),
    path("controls/<int:pk>/confirm/", views.confirm, name="confirm"),
    path("controls/<int:pk>/retire/", views.retire, name="retire"),
]
