{{/*
Parts that the pods of both workloads share. The other pods use some of them.
*/}}

{{/*
Fields of every pod: account, ids and the other settings of the restricted Pod Security Standard,
registry credentials, priority, placement, and hosts. Takes (dict root component values).
*/}}
{{- define "switchboard.podSpec" -}}
automountServiceAccountToken: {{ dig "serviceAccount" "automountToken" false .values }}
{{- with .values.serviceAccount }}
serviceAccountName: {{ include "switchboard.accountName" (list $.root $.component .) }}
{{- end }}
# Service links would set variables that collide with settings, for example API_PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- range $name := list "runAsUser" "runAsGroup" "fsGroup" }}
  {{- $id := index $.values.securityContext $name }}
  {{- if not (kindIs "invalid" $id) }}
  {{ $name }}: {{ int64 $id }}
  {{- end }}
  {{- end }}
  seccompProfile:
    type: RuntimeDefault
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.hostAliases }}
hostAliases:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of a workload's service account. Takes (list $ component serviceAccount). */}}
{{- define "switchboard.accountName" -}}
{{- $account := last . -}}
{{- $created := printf "%s-%s" (include "switchboard.fullname" (first .)) (index . 1) -}}
{{- $account.name | default ($account.create | ternary $created "default") -}}
{{- end -}}

{{/* Service account of a workload, unless the operator has created it. Takes (list $ component values). */}}
{{- define "switchboard.account" -}}
{{- $account := (last .).serviceAccount -}}
{{- if $account.create -}}
---
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- $name := include "switchboard.accountName" (list (first .) (index . 1) $account) }}
  {{- include "switchboard.metadata" (list (first .) (index . 1) (index . 1) (dict "name" $name "annotations" $account.annotations)) | nindent 2 }}
automountServiceAccountToken: {{ $account.automountToken }}
{{- end -}}
{{- end -}}

{{/* Container settings of the restricted Pod Security Standard. */}}
{{- define "switchboard.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/*
Probes. /livez reports that the process runs, /readyz that it can take new clients. Liveness does not
depend on Redis or MongoDB, so that an outage does not restart pods. A pod has one minute to start
listening.
*/}}
{{- define "switchboard.probes" -}}
startupProbe:
  httpGet:
    path: /livez
    port: metrics
  periodSeconds: 1
  timeoutSeconds: 2
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /livez
    port: metrics
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: metrics
  periodSeconds: 5
  # Above the 2 s after which each readiness check gives up.
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* preStop hook: the pod keeps serving until load balancers stop sending to it. */}}
{{- define "switchboard.lifecycle" -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int .Values.endpointSeconds }}
{{- end -}}

{{/* Spreads pods over zones and machines. Takes (dict root component values). */}}
{{- define "switchboard.placement" -}}
{{- $selector := dict "matchLabels" (include "switchboard.selector" (list .root .component) | fromYaml) -}}
{{- /* Spreads the pods of a new revision without counting those of the old one. */ -}}
{{- $counted := dict "labelSelector" $selector "matchLabelKeys" (list "pod-template-hash") -}}
{{- $constraints := list -}}
{{- range .values.topologySpreadConstraints -}}
{{- $constraints = append $constraints (merge (dict) . (hasKey . "labelSelector" | ternary dict $counted)) -}}
{{- end -}}
{{- with $constraints -}}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- with .values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            {{- toYaml $selector | nindent 12 }}
  {{- end }}
{{- end -}}

{{/* Image of a program, by digest or by tag. Takes (list $ component image). */}}
{{- define "switchboard.image" -}}
{{- $image := (first .).Values.image -}}
{{- $image.repository }}/{{ last . -}}
{{- with index $image.digest (index . 1) -}}
@{{ . }}
{{- else -}}
:{{ $image.tag | default (first .).Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/*
Number of pods. With autoscaling the number belongs to the autoscaler, and Helm repeats the current one:
a release that drops the field is scaled to one pod, and one that writes another number ends pods with
their clients. Where Helm sees that there is no Deployment yet, the release begins with `minReplicas`.
Takes (dict root component values).
*/}}
{{- define "switchboard.replicas" -}}
{{- $scaling := .values.autoscaling -}}
{{- $name := printf "%s-%s" (include "switchboard.fullname" .root) .component -}}
{{- if not $scaling.enabled -}}
replicas: {{ int .values.replicas }}
{{- else if $scaling.initialReplicas -}}
replicas: {{ int $scaling.initialReplicas }}
{{- else -}}
{{- /* The list has no name: it exists in every cluster, even in a namespace that does not exist yet. */ -}}
{{- with lookup "apps/v1" "Deployment" .root.Release.Namespace "" -}}
{{- $replicas := $scaling.minReplicas -}}
{{- range .items -}}
{{- if eq .metadata.name $name -}}
{{- $replicas = .spec.replicas -}}
{{- end -}}
{{- end -}}
replicas: {{ int $replicas }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Volumes with additional CA certificates and with the client certificate of Redis, and their mounts: lists. */}}
{{- define "switchboard.certificateVolumes" -}}
{{- with .Values.trustedCa -}}
{{- if .existingSecret }}
- name: ca
  secret:
    secretName: {{ .existingSecret }}
    items:
      - key: {{ .key }}
        path: ca.crt
{{- end -}}
{{- end -}}
{{- with .Values.redis.clientCertificate.existingSecret }}
- name: redis-tls
  secret:
    secretName: {{ . }}
{{- end -}}
{{- end -}}
{{- define "switchboard.certificateMounts" -}}
{{- if .Values.trustedCa.existingSecret }}
- name: ca
  mountPath: /etc/switchboard/ca
  readOnly: true
{{- end -}}
{{- if .Values.redis.clientCertificate.existingSecret }}
- name: redis-tls
  mountPath: /etc/switchboard/redis-tls
  readOnly: true
{{- end -}}
{{- end -}}

{{/* Deployment of a program. Takes (dict root component values image ports env settings). */}}
{{- define "switchboard.deployment" -}}
{{- $root := .root -}}
{{- $keyNames := (include "switchboard.keyNames" (list $root .component) | fromJson).names -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "switchboard.metadata" (list $root .component .component) | nindent 2 }}
spec:
  {{- with include "switchboard.replicas" . }}
  {{- . | nindent 2 }}
  {{- end }}
  revisionHistoryLimit: 5
  # A new pod becomes ready before an old one is stopped.
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: 1
      maxUnavailable: 0
  selector:
    matchLabels:
      {{- include "switchboard.selector" (list $root .component) | nindent 6 }}
  template:
    metadata:
      {{- /* Changed settings start a rollout. */}}
      {{- $checksum := dict "checksum/settings" (sha256sum .settings) }}
      {{- include "switchboard.podMetadata" (merge (dict "annotations" $checksum) .) | nindent 6 }}
    spec:
      {{- include "switchboard.podSpec" . | nindent 6 }}
      terminationGracePeriodSeconds: {{ int .values.terminationGracePeriodSeconds }}
      {{- include "switchboard.placement" . | nindent 6 }}
      {{- with .values.initContainers }}
      initContainers:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ include "switchboard.image" (list $root .component .image) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          envFrom:
            {{- /* The last source decides. */}}
            {{- with .values.extraEnvFrom }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
            - configMapRef:
                name: {{ include "switchboard.fullname" $root }}-{{ .component }}
          env:
            {{- with .env }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- range $keyNames }}
            {{- include "switchboard.keysFromSecret" (list $root .) | nindent 12 }}
            {{- end }}
            {{- include "switchboard.secretSettings" $root | trim | nindent 12 }}
            {{- with .values.extraEnv }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          ports:
            {{- range $name, $port := .ports }}
            - name: {{ $name }}
              containerPort: {{ $port }}
            {{- end }}
          {{- include "switchboard.probes" . | nindent 10 }}
          {{- include "switchboard.lifecycle" $root | nindent 10 }}
          {{- include "switchboard.containerSecurity" . | nindent 10 }}
          resources:
            {{- toYaml .values.resources | nindent 12 }}
          {{- with concat (include "switchboard.certificateMounts" $root | fromYamlArray) (include "switchboard.keyMounts" $root | fromYamlArray) .values.extraVolumeMounts }}
          volumeMounts:
            {{- toYaml . | nindent 12 }}
          {{- end }}
        {{- with .values.sidecars }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with concat (include "switchboard.certificateVolumes" $root | fromYamlArray) (include "switchboard.keyVolumes" (list $root $keyNames) | fromYamlArray) .values.extraVolumes }}
      volumes:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end -}}

{{/* Disruption budget. Takes (list $ component values). */}}
{{- define "switchboard.budget" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "switchboard.metadata" (list $root $component $component) | nindent 2 }}
spec:
  maxUnavailable: {{ int (index . 2).maxUnavailable }}
  # A pod that is not ready serves no clients, so it must not block the drain of a machine.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "switchboard.selector" (list $root $component) | nindent 6 }}
{{- end -}}
