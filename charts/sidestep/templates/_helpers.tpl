{{/* Labels of every object. Call with a dict: root = the chart's context, part = operator or sentinel. */}}
{{- define "sidestep.labels" -}}
{{ include "sidestep.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: sidestep
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The labels that pods are selected by; they never change. */}}
{{- define "sidestep.selector" -}}
app.kubernetes.io/name: sidestep-{{ .part }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* An image with its tag. */}}
{{- define "sidestep.image" -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end }}

{{/* What no container of this chart needs. */}}
{{- define "sidestep.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* The sentinels' own namespace. The operator's holds the clouds' credentials and the leader's Lease: nothing that runs on a
suspect host belongs there. The operator and the admission policies derive it in the same way. */}}
{{- define "sidestep.sentinelNamespace" -}}
{{ .Release.Namespace }}-sentinels
{{- end }}
