{{/*
What Serin may do. Watched kinds: get, list, watch. Written kinds: create and patch, because every write is a
server-side apply or a JSON patch; nothing is written that is not listed here. Deleted are Canaries that were made from a
template, when their workload asks for none any more; old records of rollouts; and the workload and Service of a baseline
(`baseline: Concurrent`), when its analysis is over.
*/}}
{{- define "serin.rules" -}}
- apiGroups: [flagger.app]
  resources: [canaries]
  verbs: [get, list, watch, create, patch, update, delete]
- apiGroups: [flagger.app]
  resources: [canaries/status]
  verbs: [get, patch, update]
# Owner references to Canaries block their deletion, which clusters with OwnerReferencesPermissionEnforcement guard.
- apiGroups: [flagger.app]
  resources: [canaries/finalizers]
  verbs: [update]
- apiGroups: [flagger.app]
  resources: [metrictemplates, alertproviders]
  verbs: [get, list, watch]
- apiGroups: [serin.dev]
  resources: [canarytemplates{{ if not .Values.namespace }}, clustercanarytemplates{{ end }}]
  verbs: [get, list, watch]
# The records of rollouts: read when one goes on after a restart, and the oldest deleted.
- apiGroups: [serin.dev]
  resources: [canaryruns]
  verbs: [get, list, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [apps]
  resources: [daemonsets]
  verbs: [get, list, watch, create, patch]
# Former templates, read when a primary was deleted that has to be made anew from one.
- apiGroups: [apps]
  resources: [replicasets, controllerrevisions]
  verbs: [list]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [get, list, watch, create, patch]
{{- if .Values.configTracking.enabled }}
# Watched as metadata, read when a target uses one, written only as the primary's copies.
- apiGroups: [""]
  resources: [configmaps, secrets]
  verbs: [get, list, watch, create, patch]
{{- else }}
# Credentials of MetricTemplates and AlertProviders.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
{{- end }}
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- if .Values.dashboard.enabled }}
# Of the rollout that somebody looks at.
- apiGroups: [""]
  resources: [events, pods]
  verbs: [list]
{{- end }}
{{- if .Values.gitAgent.enabled }}
# The Git agent: GitSources, and acting as the accounts that they name.
- apiGroups: [serin.dev]
  resources: [gitsources]
  verbs: [get, list, watch, patch]
- apiGroups: [serin.dev]
  resources: [gitsources/status]
  verbs: [get, patch]
- apiGroups: [""]
  resources: [serviceaccounts]
  verbs: [impersonate]
{{- with .Values.gitAgent.rules }}
{{ toYaml . }}
{{- end }}
{{- end }}
{{- $hold := ternary ", patch" "" .Values.gitops.hold }}
# Where revisions come from{{ if .Values.gitops.hold }}, and who is held when one was taken back{{ end }}.
- apiGroups: [serin.dev]
  resources: [gitsources]
  verbs: [get, list, watch{{ $hold }}]
{{- if .Values.gitops.flux }}
- apiGroups: [kustomize.toolkit.fluxcd.io]
  resources: [kustomizations]
  verbs: [get, list, watch{{ $hold }}]
- apiGroups: [helm.toolkit.fluxcd.io]
  resources: [helmreleases]
  verbs: [get, list, watch{{ $hold }}]
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories, ocirepositories, buckets, helmcharts]
  verbs: [get, list, watch]
{{- end }}
{{- if .Values.gitops.argocd }}
- apiGroups: [argoproj.io]
  resources: [applications]
  verbs: [get, list, watch{{ $hold }}]
{{- end }}
{{- range .Values.routers }}
{{- if eq . "gatewayapi" }}
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch]
{{- else if eq . "traefik" }}
- apiGroups: [traefik.io]
  resources: [traefikservices]
  verbs: [get, list, watch, create, patch]
{{- else if eq . "nginx" }}
- apiGroups: [networking.k8s.io]
  resources: [ingresses]
  verbs: [get, list, watch, create, patch]
{{- else if ne . "kubernetes" }}
{{- fail (printf "routers: %s is not known; known are kubernetes, gatewayapi, traefik, nginx" .) }}
{{- end }}
{{- end }}
{{- with .Values.rbac.additionalRules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
