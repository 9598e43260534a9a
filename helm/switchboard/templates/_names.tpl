{{/*
Names and labels. A pod's name is the node's id, at most 55 characters: 30 of the full name, `-node`,
and 17 that Kubernetes adds. Dots are replaced, because a Service's name must not contain them.
*/}}
{{- define "switchboard.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that select the pods of one component. They never change. Takes (list $ component). */}}
{{- define "switchboard.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ default $root.Chart.Name $root.Values.nameOverride }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of every object. Takes (list $ component). */}}
{{- define "switchboard.labels" -}}
{{- $root := index . 0 -}}
{{ include "switchboard.selector" . }}
app.kubernetes.io/part-of: switchboard
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- with $root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Metadata of an object. Takes (list $ component suffix). */}}
{{- define "switchboard.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "switchboard.fullname" $root }}-{{ index . 2 }}
labels:
  {{- include "switchboard.labels" (list $root (index . 1)) | nindent 2 }}
{{- end -}}
