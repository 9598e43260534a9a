{{/*
What the pods of both workloads share, and some of it with the others.
*/}}

{{/* The Secrets with the registry's credentials. */}}
{{- define "switchboard.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* A pod's part of the restricted profile. Takes the user's id. */}}
{{- define "switchboard.podSecurity" -}}
automountServiceAccountToken: false
# Variables named after Services would pass for settings: API_PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{/* A container's part of it. */}}
{{- define "switchboard.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/*
Probes. Neither asks Redis or MongoDB for their health: /livez says that the process turns, /readyz that new clients should come here.
A pod whose dependencies are not there yet is alive; it has a minute to begin to listen.
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
  # Each of its checks gives up after 2 s.
  timeoutSeconds: 3
  failureThreshold: 2
{{- end -}}

{{/* The pod goes on serving until every load balancer has forgotten it; only then is it told to go. */}}
{{- define "switchboard.lifecycle" -}}
lifecycle:
  preStop:
    sleep:
      seconds: {{ int .Values.endpointSeconds }}
{{- end -}}

{{/* Where pods go: spread over zones and machines, but anywhere rather than nowhere. Takes (list $ component values). */}}
{{- define "switchboard.placement" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $values := index . 2 -}}
topologySpreadConstraints:
  {{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "switchboard.selector" (list $root $component) | nindent 8 }}
    # The pods of a rollout are spread among themselves.
    matchLabelKeys: [pod-template-hash]
  {{- end }}
affinity:
  {{- with $values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      - weight: 100
        podAffinityTerm:
          topologyKey: kubernetes.io/hostname
          labelSelector:
            matchLabels:
              {{- include "switchboard.selector" (list $root $component) | nindent 14 }}
  {{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/* A Deployment, but for its containers' own part. Takes (dict root component values image ports env settings). */}}
{{- define "switchboard.deployment" -}}
{{- $root := .root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "switchboard.metadata" (list $root .component .component) | nindent 2 }}
spec:
  {{- if not .values.autoscaling.enabled }}
  replicas: {{ int .values.replicas }}
  {{- else }}
  {{- with lookup "apps/v1" "Deployment" $root.Release.Namespace (printf "%s-%s" (include "switchboard.fullname" $root) .component) }}
  # As many as there are, until the autoscaler says otherwise: a release that begins to be autoscaled would lose the field, which makes it one pod.
  replicas: {{ int .spec.replicas }}
  {{- end }}
  {{- end }}
  revisionHistoryLimit: 5
  # The new pod is ready before an old one goes.
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
      labels:
        {{- include "switchboard.labels" (list $root .component) | nindent 8 }}
      annotations:
        # New settings are a new rollout.
        checksum/settings: {{ .settings | sha256sum }}
        {{- with .values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "switchboard.fullname" $root }}-{{ .component }}
      {{- include "switchboard.podSecurity" 65532 | nindent 6 }}
      terminationGracePeriodSeconds: {{ int .values.terminationGracePeriodSeconds }}
      {{- include "switchboard.placement" (list $root .component .values) | nindent 6 }}
      {{- with include "switchboard.pullSecrets" $root }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: {{ .component }}
          image: {{ printf "%s/%s:%s" $root.Values.image.repository .image (default $root.Chart.AppVersion $root.Values.image.tag) | quote }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          envFrom:
            - configMapRef:
                name: {{ include "switchboard.fullname" $root }}-{{ .component }}
          env:
            {{- with .env }}
            {{- . | nindent 12 }}
            {{- end }}
            {{- include "switchboard.secretSettings" $root | nindent 12 }}
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
          {{- with $root.Values.trustedCa }}
          {{- if .existingSecret }}
          volumeMounts:
            - name: ca
              mountPath: /etc/switchboard/ca
              readOnly: true
          {{- end }}
          {{- end }}
      {{- with $root.Values.trustedCa }}
      {{- if .existingSecret }}
      volumes:
        - name: ca
          secret:
            secretName: {{ .existingSecret }}
            items:
              - key: {{ .key }}
                path: ca.crt
      {{- end }}
      {{- end }}
{{- end -}}

{{/* A budget for those who move pods on purpose, and an account that may do nothing. Takes (list $ component values). */}}
{{- define "switchboard.budget" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "switchboard.metadata" (list $root $component $component) | nindent 2 }}
spec:
  maxUnavailable: {{ int (index . 2).maxUnavailable }}
  # A pod that is not ready serves nobody: it never keeps a machine from being drained.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "switchboard.selector" (list $root $component) | nindent 6 }}
{{- end -}}

{{- define "switchboard.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "switchboard.metadata" (list (index . 0) (index . 1) (index . 1)) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
