{{/*
Names, labels and annotations. A pod's name is the node's id, at most 55 characters: 30 of the full
name, `-node`, and 17 that Kubernetes adds. Dots are replaced, because a Service's name must not contain
them.
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

{{/* Labels that select all pods of the release. They never change. */}}
{{- define "switchboard.releaseSelector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* Labels that select the pods of one component. They never change. Takes (list $ component). */}}
{{- define "switchboard.selector" -}}
{{ include "switchboard.releaseSelector" (index . 0) }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* The chart's labels of every object and pod. Takes (list $ component). */}}
{{- define "switchboard.labels" -}}
{{- $root := index . 0 -}}
{{ include "switchboard.selector" . }}
app.kubernetes.io/part-of: switchboard
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version }}
{{- end -}}

{{/* One map of several. The last one that has a key decides. Takes a list of maps. */}}
{{- define "switchboard.merged" -}}
{{- $merged := dict -}}
{{- range . -}}
{{- range $key, $value := . -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $merged -}}
{{- end -}}

{{/* Values of the workloads, by component. */}}
{{- define "switchboard.workloads" -}}
{{- with .Values -}}
{{- dict "api" .api "node" .node "coturn" .coturn "redis" .evaluation.redis "mongodb" .evaluation.mongodb "test" .test | toYaml -}}
{{- end -}}
{{- end -}}

{{/*
Metadata of an object. Takes (list $ component suffix), and optionally a map with `name`, `labels` and
`annotations` of this object alone.
*/}}
{{- define "switchboard.metadata" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $workload := dig $component dict (include "switchboard.workloads" $root | fromYaml) -}}
{{- $own := gt (len .) 3 | ternary (last .) dict -}}
name: {{ $own.name | default (printf "%s-%s" (include "switchboard.fullname" $root) (index . 2)) }}
labels:
  {{- $labels := include "switchboard.labels" (list $root $component) | fromYaml }}
  {{- include "switchboard.merged" (list $labels $root.Values.commonLabels $workload.labels $own.labels) | nindent 2 }}
{{- with include "switchboard.merged" (list $root.Values.commonAnnotations $workload.annotations $own.annotations) | fromYaml }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Metadata of a workload's pods. Takes (dict root component values), and optionally `annotations`. */}}
{{- define "switchboard.podMetadata" -}}
labels:
  {{- $labels := include "switchboard.labels" (list .root .component) | fromYaml }}
  {{- include "switchboard.merged" (list $labels .root.Values.commonLabels .values.podLabels) | nindent 2 }}
{{- with include "switchboard.merged" (list .values.podAnnotations .annotations) | fromYaml }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
