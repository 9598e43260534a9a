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
JWT_ACCESS_ALGORITHM: {{ .Values.secrets.accessAlgorithm }}
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

{{/* Variables of both programs from Secrets, without secrets that can be rotated: a container's env. */}}
{{- define "switchboard.secretSettings" -}}
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

{{/*
Secrets that can be rotated, as a JSON object: of each variable, the Secret, the key in it, and the
key with the secrets that only verify.
*/}}
{{- define "switchboard.rotated" -}}
{{- with .Values -}}
{{- $signing := .secrets.existingSecret -}}
{{- dict
  "JWT_ACCESS_SECRET" (list $signing .secrets.accessKey .secrets.accessPreviousKey)
  "JWT_ACCESS_PRIVATE_KEY" (list $signing .secrets.accessPrivateKeyKey .secrets.accessPrivateKeyPreviousKey)
  "JWT_REFRESH_SECRET" (list $signing .secrets.refreshKey .secrets.refreshPreviousKey)
  "CLUSTER_SECRET" (list $signing .secrets.clusterKey .secrets.clusterPreviousKey)
  "APP_MASTER_KEY" (list $signing .secrets.appMasterKey .secrets.appMasterPreviousKey)
  "TURN_SECRET" (list .turn.existingSecret .turn.secretKey .turn.secretPreviousKey)
  "WEBHOOK_SECRET" (list .webhooks.existingSecret .webhooks.secretKey .webhooks.secretPreviousKey)
| toJson -}}
{{- end -}}
{{- end -}}

{{/* Variables of one secret that can be rotated. Takes (list $ variable). */}}
{{- define "switchboard.keysFromSecret" -}}
{{- $variable := last . -}}
{{- $source := index (include "switchboard.rotated" (first .) | fromJson) $variable -}}
{{- if (first .).Values.secrets.files -}}
- name: {{ $variable }}_FILE
  value: /etc/switchboard/keys/{{ $variable }}
{{- else -}}
{{ include "switchboard.fromSecret" (prepend $source $variable) }}
{{ include "switchboard.previousFromSecret" (list $variable (first $source) (last $source)) }}
{{- end -}}
{{- end -}}

{{/*
One variable with the secrets that only verify. The key exists only while secrets are rotated.
Takes (list variable secret key).
*/}}
{{- define "switchboard.previousFromSecret" -}}
{{ include "switchboard.fromSecret" (list (printf "%s_PREVIOUS" (index . 0)) (index . 1) (index . 2)) }}
      optional: true
{{- end -}}

{{/* Volume with the files of rotated secrets, and its mount: lists. Takes (list $ variables). */}}
{{- define "switchboard.keyVolumes" -}}
{{- $root := first . -}}
{{- if $root.Values.secrets.files -}}
{{- $rotated := include "switchboard.rotated" $root | fromJson -}}
- name: keys
  projected:
    sources:
      {{- range last . }}
      {{- $source := index $rotated . }}
      - secret:
          name: {{ index $source 0 }}
          items:
            - key: {{ index $source 1 }}
              path: {{ . }}
      {{- end }}
{{- end -}}
{{- end -}}
{{- define "switchboard.keyMounts" -}}
{{- if .Values.secrets.files -}}
- name: keys
  mountPath: /etc/switchboard/keys
  readOnly: true
{{- end -}}
{{- end -}}

{{/* Variables of a program's secrets that can be rotated: a JSON object with a list. Takes (list $ component). */}}
{{- define "switchboard.keyNames" -}}
{{- $values := (first .).Values -}}
{{- $names := list "JWT_REFRESH_SECRET" -}}
{{- if $values.secrets.accessPrivateKeyKey -}}
{{- $names = prepend $names "JWT_ACCESS_PRIVATE_KEY" -}}
{{- end -}}
{{- if $values.secrets.accessKey -}}
{{- $names = prepend $names "JWT_ACCESS_SECRET" -}}
{{- end -}}
{{- if $values.secrets.appMasterKey -}}
{{- $names = append $names "APP_MASTER_KEY" -}}
{{- end -}}
{{- if and $values.turn.existingSecret (not $values.turn.usernameKey) -}}
{{- $names = append $names "TURN_SECRET" -}}
{{- end -}}
{{- if and (eq (last .) "api") $values.webhooks.existingSecret -}}
{{- $names = append $names "WEBHOOK_SECRET" -}}
{{- end -}}
{{- if and (eq (last .) "node") $values.secrets.clusterKey -}}
{{- $names = append $names "CLUSTER_SECRET" -}}
{{- end -}}
{{- dict "names" $names | toJson -}}
{{- end -}}

{{/* Seconds for moving clients: the grace period without the preStop hook and the last 5 s. */}}
{{- define "switchboard.drainSeconds" -}}
{{- sub .Values.node.terminationGracePeriodSeconds (add .Values.endpointSeconds 5) -}}
{{- end -}}
