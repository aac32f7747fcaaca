from django.urls import path

from secguard.forecast import views

app_name = "forecast"
urlpatterns = [path("forecast/", views.forecast, name="list")]
