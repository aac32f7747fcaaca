from django.urls import path

from secguard.laboratory import views

app_name = "laboratory"
urlpatterns = [
    path("policy/simulations/", views.simulation_list, name="list"),
    path("policy/simulations/new/", views.simulation_new, name="new"),
    path("policy/simulations/<int:pk>/", views.simulation_detail, name="detail"),
    path("policy/simulations/<int:pk>/rows/", views.simulation_rows, name="rows"),
    path("policy/simulations/<int:pk>/decisions/", views.simulation_decisions, name="decisions"),
    path("policy/simulations/<int:pk>/cancel/", views.simulation_cancel, name="cancel"),
]
