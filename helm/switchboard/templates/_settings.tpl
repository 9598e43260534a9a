{{/*
Environment variables of both programs, from the values (docs/OPERATIONS.md, "Settings").
*/}}

{{/*
Prefix of Redis keys: unique to the release and the same for all its pods. At most 28 of the 32 allowed
characters.
*/}}
{{- define "switchboard.prefix" -}}
{{- if .Values.redis.prefix -}}
{{- .Values.redis.prefix -}}
{{- else -}}
{{- $whole := printf "%s/%s" .Release.Namespace .Release.Name -}}
{{- printf "sb-%s-%s" (.Release.Name | trunc 16 | replace "." "-") (sha256sum $whole | trunc 8) -}}
{{- end -}}
{{- end -}}

{{- define "switchboard.redisUrl" -}}
{{- if .Values.evaluation.redis.enabled -}}
redis://{{ include "switchboard.fullname" . }}-redis:6379
{{- else -}}
{{- with .Values.redis -}}
redis{{ if .tls }}s{{ end }}{{ if ne .mode "standalone" }}+{{ .mode }}{{ end }}://
{{- if .existingSecret }}{{ .username }}:$(REDIS_PASSWORD)@{{ end -}}
{{ join "," .hosts }}
{{- if eq .mode "sentinel" }}/{{ .sentinel.master }}{{ end -}}
{{- if .database }}/{{ int .database }}{{ end -}}
{{- if eq .mode "sentinel" }}{{ with .sentinel -}}
{{- if .existingSecret }}?sentinel_username={{ .username }}&sentinel_password=$(REDIS_SENTINEL_PASSWORD)
{{- else if not .passwordOfRedis }}?sentinel_password={{ end -}}
{{- end }}{{ end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/*
All ports of Redis, from `redis.hosts`, `redis.sentinel.serverPort` and `redisPorts`: a JSON object with a
list. With Sentinels, `redis.hosts` has their ports.
*/}}
{{- define "switchboard.redisPorts" -}}
{{- $ports := list -}}
{{- range .Values.redis.hosts -}}
{{- $ports = append $ports (regexFind "[0-9]+$" . | int) -}}
{{- end -}}
{{- if eq .Values.redis.mode "sentinel" -}}
{{- $ports = append $ports (int .Values.redis.sentinel.serverPort) -}}
{{- end -}}
{{- range .Values.networkPolicy.redisPorts -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- dict "ports" ($ports | uniq) | toJson -}}
{{- end -}}

{{/* Port of an `http` or `https` URL. */}}
{{- define "switchboard.port" -}}
{{- $address := urlParse . -}}
{{- regexFind "[0-9]+$" (regexFind ":[0-9]+$" $address.host) | default (ternary "443" "80" (eq $address.scheme "https")) -}}
{{- end -}}

{{/* Ports of `webhooks.urls`: a JSON object with a list. */}}
{{- define "switchboard.webhookPorts" -}}
{{- $ports := list -}}
{{- range .Values.webhooks.urls -}}
{{- $ports = append $ports (include "switchboard.port" . | int) -}}
{{- end -}}
{{- dict "ports" ($ports | uniq) | toJson -}}
{{- end -}}

{{- define "switchboard.mongodbUri" -}}
mongodb://{{ include "switchboard.fullname" . }}-mongodb:27017/videocall-db?replicaSet=rs0
{{- end -}}

{{/* Variables of both programs without secrets: the data of a ConfigMap. */}}
{{- define "switchboard.commonSettings" -}}
NODE_ENV: {{ .Values.mode }}
LOG_LEVEL: {{ .Values.logLevel | quote }}
LOG_FORMAT: json
BIND_ADDRESS: {{ .Values.ipv6 | ternary "::" "0.0.0.0" | quote }}
FRONTEND_URL: {{ .Values.frontendUrl | quote }}
ALLOWED_ORIGINS: {{ join "," (prepend .Values.allowedOrigins .Values.frontendUrl) | quote }}
REDIS_PREFIX: {{ include "switchboard.prefix" . }}
PARTITIONS: {{ int .Values.redis.partitions | quote }}
TRUSTED_HOPS: {{ int .Values.trustedHops | quote }}
FORWARDED_HEADER: {{ .Values.forwardedHeader | quote }}
EMPTY_ROOM_SECONDS: {{ int .Values.emptyRoomSeconds | quote }}
KEEP_ALIVE_MS: {{ mul 1000 .Values.keepAliveSeconds | quote }}
STUN_SERVER: {{ join "," .Values.turn.stunUrls | default "none" | quote }}
TURN_SERVER_URL: {{ join "," .Values.turn.urls | quote }}
TURN_TTL: {{ int .Values.turn.ttlSeconds | quote }}
{{- with .Values.tracing }}
{{- if .endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_TRACES_SAMPLER_ARG: {{ .share | quote }}
{{- end }}
{{- end }}
{{- with .Values.trustedCa.existingSecret }}
SSL_CERT_FILE: /etc/switchboard/ca/ca.crt
{{- end }}
{{- if .Values.redis.clientCertificate.existingSecret }}
REDIS_TLS_CERT_FILE: /etc/switchboard/redis-tls/tls.crt
REDIS_TLS_KEY_FILE: /etc/switchboard/redis-tls/tls.key
{{- end }}
{{- end -}}

{{/* Variables of both programs from Secrets: a container's env. */}}
{{- define "switchboard.secretSettings" -}}
{{- $signing := .Values.secrets -}}
{{- include "switchboard.fromSecret" (list "JWT_ACCESS_SECRET" $signing.existingSecret $signing.accessKey) }}
{{ include "switchboard.fromSecret" (list "JWT_REFRESH_SECRET" $signing.existingSecret $signing.refreshKey) }}
{{- with .Values.redis }}
{{- if and .existingSecret (not $.Values.evaluation.redis.enabled) }}
{{ include "switchboard.fromSecret" (list "REDIS_PASSWORD" .existingSecret .passwordKey) }}
{{- end }}
{{- if and (eq .mode "sentinel") .sentinel.existingSecret }}
{{ include "switchboard.fromSecret" (list "REDIS_SENTINEL_PASSWORD" .sentinel.existingSecret .sentinel.passwordKey) }}
{{- end }}
{{- end }}
- name: REDIS_URL
  value: {{ include "switchboard.redisUrl" . | quote }}
{{- if .Values.evaluation.mongodb.enabled }}
- name: MONGODB_URI
  value: {{ include "switchboard.mongodbUri" . | quote }}
{{- else }}
{{ include "switchboard.fromSecret" (list "MONGODB_URI" .Values.mongodb.existingSecret .Values.mongodb.uriKey) }}
{{- end }}
{{- with .Values.turn }}
{{- if .usernameKey }}
{{ include "switchboard.fromSecret" (list "TURN_SERVER_USERNAME" .existingSecret .usernameKey) }}
{{ include "switchboard.fromSecret" (list "TURN_SERVER_CREDENTIAL" .existingSecret .credentialKey) }}
{{- else if .existingSecret }}
{{ include "switchboard.fromSecret" (list "TURN_SECRET" .existingSecret .secretKey) }}
{{- end }}
{{- end }}
{{- end -}}

{{/* One variable from a Secret. Takes (list variable secret key). */}}
{{- define "switchboard.fromSecret" -}}
- name: {{ index . 0 }}
  valueFrom:
    secretKeyRef:
      name: {{ index . 1 }}
      key: {{ index . 2 }}
{{- end -}}

{{/* Seconds for moving clients: the grace period without the preStop hook and the last 5 s. */}}
{{- define "switchboard.drainSeconds" -}}
{{- sub .Values.node.terminationGracePeriodSeconds (add .Values.endpointSeconds 5) -}}
{{- end -}}
