from django.urls import include, path

from secguard.admission.views import clusters, decisions, glass, webhooks

cluster_patterns = [
    path("settings/clusters/", clusters.cluster_list, name="list"),
    path("settings/clusters/new/", clusters.cluster_new, name="new"),
    path("settings/clusters/<int:pk>/", clusters.cluster_detail, name="detail"),
    path("settings/clusters/<int:pk>/token/", clusters.cluster_token, name="token"),
]
answer_patterns = [
    path("admissions/", decisions.answer_list, name="list"),
    path("admissions/<int:pk>/", decisions.answer_detail, name="detail"),
]
glass_patterns = [
    path("break-glass/", glass.glass_list, name="list"),
    path("break-glass/new/", glass.glass_new, name="new"),
    path("break-glass/<int:pk>/", glass.glass_detail, name="detail"),
    path("break-glass/<int:pk>/<str:act>/", glass.glass_act, name="act"),
]
webhook_patterns = [
    path("admission/v1/validate", webhooks.validate, name="admission-validate"),
    path("admission/v1/mutate", webhooks.mutate, name="admission-mutate"),
    path("admission/v1/imagereview", webhooks.image_review, name="admission-imagereview"),
    path("admission/v1/external-data", webhooks.external_data, name="admission-external-data"),
]
urlpatterns = [
    path("", include((cluster_patterns, "clusters"))),
    path("", include((answer_patterns, "admissions"))),
    path("", include((glass_patterns, "break-glass"))),
]
