from django.urls import path

from secguard.audit import views

app_name = "audit"
urlpatterns = [
    path("audit/", views.entry_list, name="list"),
    path("audit/<int:sequence>/", views.entry_detail, name="detail"),
    path("audit/<int:sequence>/proof/", views.proof, name="proof"),
    path("audit/checkpoints/", views.checkpoint_list, name="checkpoints"),
    path("audit/checkpoints/new/", views.checkpoint_new, name="checkpoint-new"),
    path("audit/checkpoints/<int:pk>.note", views.checkpoint_note, name="checkpoint-note"),
    path("audit/keys.pem", views.keys, name="keys"),
]
