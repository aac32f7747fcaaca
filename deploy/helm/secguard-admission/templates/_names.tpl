{{/* Labels of everything here. */}}
{{- define "secguard-admission.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* The label that the service, the budget and the network policy find the proxy by. */}}
{{- define "secguard-admission.selector" -}}
app: {{ .Values.name }}
{{- end }}

{{/* The host to ask; there is no default that could be right. */}}
{{- define "secguard-admission.host" -}}
{{ required "host is empty: set it to the host of your SecGuard, like secguard.example.org" .Values.host }}
{{- end }}

{{/* What is alike in both webhooks: where they ask, and about what. The argument has root, path and hook. */}}
{{- define "secguard-admission.webhook" -}}
{{- $root := .root -}}
admissionReviewVersions: [v1]
clientConfig:
  service:
    name: {{ $root.Values.name }}
    namespace: {{ $root.Release.Namespace }}
    path: {{ .path }}
  {{- if eq $root.Values.tls.mode "provided" }}
  caBundle: {{ required "tls.caBundle is empty: with tls.mode provided it is what API servers believe" $root.Values.tls.caBundle }}
  {{- end }}
failurePolicy: {{ .hook.failurePolicy }}
timeoutSeconds: {{ .hook.timeoutSeconds }}
sideEffects: NoneOnDryRun
matchPolicy: Equivalent
namespaceSelector:
  matchExpressions:
    - key: kubernetes.io/metadata.name
      operator: NotIn
      values:
        - kube-system
        - {{ $root.Release.Namespace | quote }}
        {{- if eq $root.Values.tls.mode "cert-manager" }}
        - cert-manager
        {{- end }}
        {{- range $root.Values.exemptNamespaces }}
        - {{ . | quote }}
        {{- end }}
    {{- with $root.Values.namespaceExpressions }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- with $root.Values.matchConditions }}
matchConditions:
  {{- toYaml . | nindent 2 }}
{{- end }}
rules:
  - apiGroups: [""]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [pods, pods/ephemeralcontainers, podtemplates, replicationcontrollers]
  - apiGroups: [apps]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [deployments, replicasets, statefulsets, daemonsets]
  - apiGroups: [batch]
    apiVersions: [v1]
    operations: [CREATE, UPDATE]
    resources: [jobs, cronjobs]
  - apiGroups: [argoproj.io]
    apiVersions: [v1alpha1]
    operations: [CREATE, UPDATE]
    resources: [rollouts]
  {{- with $root.Values.additionalRules }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}

{{/* What has cert-manager put the authority into a webhook. */}}
{{- define "secguard-admission.injected" -}}
{{- if eq .Values.tls.mode "cert-manager" -}}
annotations:
  cert-manager.io/inject-ca-from: {{ printf "%s/%s" .Release.Namespace .Values.name }}
{{- end }}
{{- end }}
