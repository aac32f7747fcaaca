from django.urls import path

from secguard.exports import views

app_name = "exports"
urlpatterns = [
    path("exports/", views.target_list, name="list"),
    path("exports/new/", views.target_new, name="new"),
    path("exports/<int:pk>/", views.target_detail, name="detail"),
    path("exports/<int:pk>/test/", views.target_test, name="test"),
    path("exports/<int:pk>/pause/", views.target_pause, name="pause"),
    path("exports/<int:pk>/resume/", views.target_resume, name="resume"),
    path("exports/<int:pk>/secret/", views.target_secret, name="secret"),
    path("exports/<int:pk>/move/", views.target_move, name="move"),
    path("exports/<int:pk>/remove/", views.target_remove, name="remove"),
]
