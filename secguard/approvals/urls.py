from django.urls import path

from secguard.approvals import views

app_name = "approvals"
urlpatterns = [
    path("absences/", views.absences, name="absences"),
    path("absences/<int:pk>/end/", views.absence_end, name="absence-end"),
]
