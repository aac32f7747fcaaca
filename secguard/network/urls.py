from django.urls import path

from secguard.network.views import mapping, policies, reaching, rules, segments

app_name = "network"
urlpatterns = [
    path("network/", mapping.network_map, name="map"),
    path("network/edges/", mapping.edge_list, name="edges"),
    path("network/reach/<int:pk>/", reaching.reach, name="reach"),
    path("network/policies/", policies.policy_list, name="policies"),
    path("network/policies/new/", policies.policy_new, name="policy-new"),
    path("network/policies/<int:pk>/", policies.policy_detail, name="policy"),
    path("network/policies/<int:pk>/decide/", policies.policy_decide, name="policy-decide"),
    path("network/segments/", segments.segment_list, name="segments"),
    path("network/segments/new/", segments.segment_new, name="segment-new"),
    path("network/segments/<int:pk>/", segments.segment_detail, name="segment"),
    path("network/segments/<int:pk>/end/", segments.segment_end, name="segment-end"),
    path("network/rules/", rules.rule_list, name="rules"),
    path("network/rules/new/", rules.rule_new, name="rule-new"),
    path("network/rules/policies/", rules.rule_policies, name="rule-policies"),
    path("network/rules/<int:pk>/", rules.rule_detail, name="rule"),
    path("network/rules/<int:pk>/decide/", rules.rule_decide, name="rule-decide"),
]
