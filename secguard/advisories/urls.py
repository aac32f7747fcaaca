from django.urls import path

from secguard.advisories import views

app_name = "feeds"
urlpatterns = [
    path("feeds/", views.feed_list, name="list"),
    path("feeds/schedule/", views.schedule, name="schedule"),
    path("feeds/upload/", views.upload, name="upload"),
    path("feeds/<int:pk>/", views.address, name="address"),
    path("feeds/<int:pk>/fetch/", views.fetch, name="fetch"),
]
