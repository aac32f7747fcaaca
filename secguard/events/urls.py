from django.urls import include, path, re_path

from secguard.events.queries import KEY
from secguard.events.views import events, retention, sensors

event_patterns = [
    path("events/", events.event_list, name="list"),
    path("events/series/", events.event_series, name="series"),
    path("events/storage/", events.event_storage, name="storage"),
    re_path(rf"^events/(?P<key>{KEY})/$", events.event_detail, name="detail"),
]
sensor_patterns = [
    path("settings/sensors/", sensors.sensor_list, name="list"),
    path("settings/sensors/new/", sensors.sensor_new, name="new"),
    path("settings/sensors/<int:pk>/", sensors.sensor_detail, name="detail"),
    path("settings/sensors/<int:pk>/token/", sensors.sensor_token, name="token"),
    path("settings/sensors/<int:pk>/drop/", sensors.sensor_drop, name="drop"),
    path("settings/sensors/<int:pk>/retry/", sensors.sensor_retry, name="retry"),
]
retention_patterns = [path("settings/retention/", retention.retention, name="edit")]
urlpatterns = [
    path("", include((event_patterns, "events"))),
    path("", include((sensor_patterns, "sensors"))),
    path("", include((retention_patterns, "retention"))),
]
