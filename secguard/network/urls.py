from django.urls import path

from secguard.network.views import mapping, policies, reaching

app_name = "network"
urlpatterns = [
    path("network/", mapping.network_map, name="map"),
    path("network/edges/", mapping.edge_list, name="edges"),
    path("network/reach/<int:pk>/", reaching.reach, name="reach"),
    path("network/policies/", policies.policy_list, name="policies"),
    path("network/policies/new/", policies.policy_new, name="policy-new"),
    path("network/policies/<int:pk>/", policies.policy_detail, name="policy"),
    path("network/policies/<int:pk>/decide/", policies.policy_decide, name="policy-decide"),
]
