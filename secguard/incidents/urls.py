from django.urls import include, path

from secguard.incidents.views import acts, expectations, incidents

incident_patterns = [
    path("incidents/", incidents.line_list, name="list"),
    path("incidents/all/", incidents.incident_list, name="all"),
    path("incidents/several/", acts.several, name="several"),
    path("incidents/expected/", expectations.expectation_list, name="expectations"),
    path("incidents/expected/<int:pk>/end/", expectations.expectation_end, name="expectation-end"),
    path("incidents/containments/<int:pk>/<str:act>/", acts.containment, name="containment"),
    path("incidents/<int:pk>/", incidents.incident_detail, name="detail"),
    path("incidents/<int:pk>/<str:act>/", acts.incident, name="act"),
]
urlpatterns = [path("", include((incident_patterns, "incidents")))]
