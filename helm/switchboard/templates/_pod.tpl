{{/*
Parts that the pods of both workloads share. The other pods use some of them.
*/}}

{{/* Secrets with registry credentials. */}}
{{- define "switchboard.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Pod settings of the restricted Pod Security Standard. Takes the user id. */}}
{{- define "switchboard.podSecurity" -}}
automountServiceAccountToken: false
# Service links would set variables that collide with settings, for example API_PORT.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: {{ . }}
  runAsGroup: {{ . }}
  fsGroup: {{ . }}
  seccompProfile:
    type: RuntimeDefault
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

{{/* Placement: spreads pods over zones and machines. Takes (list $ component values). */}}
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
    # Spreads the pods of a new revision without counting those of the old one.
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

{{/* Deployment of a program. Takes (dict root component values image ports env settings). */}}
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
  # Keeps the current number until the autoscaler changes it. Without the field, a release that turns on
  # autoscaling would be scaled to one pod.
  replicas: {{ int .spec.replicas }}
  {{- end }}
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
      labels:
        {{- include "switchboard.labels" (list $root .component) | nindent 8 }}
      annotations:
        # Changed settings start a rollout.
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

{{/* Disruption budget and service account. Takes (list $ component values). */}}
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

{{- define "switchboard.account" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "switchboard.metadata" (list (index . 0) (index . 1) (index . 1)) | nindent 2 }}
automountServiceAccountToken: false
{{- end -}}
