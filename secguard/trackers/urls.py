from django.urls import path

from secguard.trackers import views

app_name = "trackers"
urlpatterns = [
    path("settings/trackers/", views.tracker_list, name="list"),
    path("settings/trackers/new/", views.tracker_new, name="new"),
    path("settings/trackers/<int:pk>/", views.tracker_detail, name="detail"),
    path("settings/trackers/<int:pk>/test/", views.tracker_test, name="test"),
    path("settings/trackers/<int:pk>/secret/", views.tracker_secret, name="secret"),
    path("settings/trackers/<int:pk>/remove/", views.tracker_remove, name="remove"),
    path("risks/<int:pk>/issues/", views.issue_new, name="issue-new"),
    path("issues/<int:pk>/<str:act>/", views.issue_act, name="issue-act"),
]
hook_patterns = [
    path("hooks/github-issues/<int:pk>/", views.github_hook, name="github-hook"),
    path("hooks/jira-issues/<int:pk>/", views.jira_hook, name="jira-hook"),
    path("hooks/jira-issues/<int:pk>/<slug:word>/", views.jira_hook, name="jira-hook-secret"),
]
