{{- define "visionmodel.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "visionmodel.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "visionmodel.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "visionmodel.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "visionmodel.selector" -}}
app.kubernetes.io/name: {{ include "visionmodel.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "visionmodel.labels" -}}
{{ include "visionmodel.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: visionmodel
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "visionmodel.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "visionmodel.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.name is needed when serviceAccount.create is false" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "visionmodel.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Seconds of a duration such as 5m or 90s. */}}
{{- define "visionmodel.seconds" -}}
{{- $number := regexFind "^[0-9]+" . | int -}}
{{- if hasSuffix "h" . }}{{ mul $number 3600 }}{{ else if hasSuffix "m" . }}{{ mul $number 60 }}{{ else }}{{ $number }}{{ end -}}
{{- end -}}

{{- define "visionmodel.scrapeAnnotations" -}}
prometheus.io/scrape: "true"
prometheus.io/port: "8080"
prometheus.io/path: /metrics
{{- end -}}

{{/* Fails unless exactly one store of artifacts is named. */}}
{{- define "visionmodel.oneStore" -}}
{{- $artifacts := .Values.artifacts -}}
{{- $named := compact (list $artifacts.repository $artifacts.objectStorage.uri $artifacts.persistentVolumeClaim.claimName) -}}
{{- if eq (len $named) 0 -}}
{{- fail "artifacts.repository is needed: the OCI repository that receives converted models, host[:port]/path; or else artifacts.objectStorage.uri or artifacts.persistentVolumeClaim.claimName" -}}
{{- else if gt (len $named) 1 -}}
{{- fail (printf "artifacts names more than one store (%s): keep one of artifacts.repository, artifacts.objectStorage.uri and artifacts.persistentVolumeClaim.claimName" (join ", " $named)) -}}
{{- end -}}
{{- end -}}

{{/* The store of artifacts as a URI; empty for a registry. */}}
{{- define "visionmodel.artifactUri" -}}
{{- with .Values.artifacts -}}
{{- if .objectStorage.uri -}}
{{- trimSuffix "/" .objectStorage.uri -}}
{{- else if .persistentVolumeClaim.claimName -}}
{{- printf "pvc://%s/%s" .persistentVolumeClaim.claimName .persistentVolumeClaim.path | trimSuffix "/" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Whether the operator may list nodes and all pods, true or false. */}}
{{- define "visionmodel.gpuCounting" -}}
{{- if eq (toString .Values.gpuCounting) "auto" }}{{ empty .Values.watchNamespaces }}{{ else }}{{ .Values.gpuCounting }}{{ end }}
{{- end -}}

{{/* What the operator may do where VisionModels live: one list for Roles and ClusterRole. No Secrets, no wildcards. */}}
{{- define "visionmodel.rules" -}}
- apiGroups: [visionmodel.dev]
  resources: [visionmodels]
  verbs: [get, list, watch]
- apiGroups: [visionmodel.dev]
  resources: [visionmodels/status]
  verbs: [update]
# for ownerReferences with blockOwnerDeletion, where the API server asks for it
- apiGroups: [visionmodel.dev]
  resources: [visionmodels/finalizers]
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, create, patch, delete]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, create, patch, delete]
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}
