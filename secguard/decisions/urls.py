from django.urls import path

from secguard.decisions import vexin_views, views

app_name = "decisions"
urlpatterns = [
    path("decisions/", views.decision_list, name="list"),
    path("decisions/new/", views.new, name="new"),
    path("decisions/new/preview/", views.preview, name="preview"),
    path("decisions/queue/", views.queue, name="queue"),
    path("decisions/<int:pk>/", views.detail, name="detail"),
    path("decisions/<int:pk>/reach/", views.reach, name="reach"),
    path("decisions/<int:pk>/vote/", views.vote, name="vote"),
    path("decisions/<int:pk>/undo/", views.undo, name="undo"),
    path("decisions/<int:pk>/withdraw/", views.withdraw, name="withdraw"),
    path("decisions/<int:pk>/revoke/", views.revoke, name="revoke"),
    path("vex/", vexin_views.vex, name="vex"),
    path("vex/<int:pk>/", vexin_views.vex_document, name="vex-document"),
    path("vex/authors/", vexin_views.vex_authors, name="vex-authors"),
    path("vex/authors/<int:pk>/withdraw/", vexin_views.vex_author_withdraw, name="vex-author-withdraw"),
    path("appetite/", views.appetite, name="appetite"),
    path("appetite/<int:number>/", views.appetite_version, name="appetite-version"),
    path("appetite/<int:number>/activate/", views.appetite_activate, name="appetite-activate"),
]
