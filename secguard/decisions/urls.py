from django.urls import path

from secguard.decisions import views

app_name = "decisions"
urlpatterns = [
    path("decisions/", views.decision_list, name="list"),
    path("decisions/new/", views.new, name="new"),
    path("decisions/new/preview/", views.preview, name="preview"),
    path("decisions/queue/", views.queue, name="queue"),
    path("decisions/<int:pk>/", views.detail, name="detail"),
    path("decisions/<int:pk>/vote/", views.vote, name="vote"),
    path("decisions/<int:pk>/withdraw/", views.withdraw, name="withdraw"),
    path("decisions/<int:pk>/revoke/", views.revoke, name="revoke"),
    path("appetite/", views.appetite, name="appetite"),
    path("appetite/<int:number>/", views.appetite_version, name="appetite-version"),
    path("appetite/<int:number>/activate/", views.appetite_activate, name="appetite-activate"),
]
