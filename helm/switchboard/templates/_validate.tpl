{{/*
Rules that involve several values, or need a better message than the schema gives. All mistakes are
reported together.
*/}}
{{- define "switchboard.validate" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if not .frontendUrl -}}
{{- $wrong = append $wrong "frontendUrl: set the public URL of the page, for example https://calls.example.org" -}}
{{- end -}}
{{- if not .image.repository -}}
{{- $wrong = append $wrong "image.repository: set the registry and folder of both images, for example registry.example.org/calls; the chart's README explains how to build them" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" (include "switchboard.fullname" $)) -}}
{{- $wrong = append $wrong (printf "fullnameOverride: a Service's name must begin with a letter, but %s does not" (include "switchboard.fullname" $)) -}}
{{- end -}}
{{- if not .secrets.existingSecret -}}
{{- $wrong = append $wrong (printf "secrets.existingSecret: name a Secret with the keys %s and %s; create it for example with: kubectl create secret generic switchboard --from-literal=%s=$(openssl rand -hex 32) --from-literal=%s=$(openssl rand -hex 32)" .secrets.accessKey .secrets.refreshKey .secrets.accessKey .secrets.refreshKey) -}}
{{- end -}}
{{- if and .secrets.accessKey (eq .secrets.accessKey .secrets.refreshKey) -}}
{{- $wrong = append $wrong "secrets.refreshKey: access and refresh tokens must be signed by different keys" -}}
{{- end -}}
{{- if and (eq .secrets.accessAlgorithm "HS256") (not .secrets.accessKey) -}}
{{- $wrong = append $wrong "secrets.accessKey: name the key in the Secret that signs tokens, or set secrets.accessAlgorithm to EdDSA" -}}
{{- end -}}
{{- if and (eq .secrets.accessAlgorithm "EdDSA") (not .secrets.accessPrivateKeyKey) -}}
{{- $wrong = append $wrong "secrets.accessPrivateKeyKey: name the key in the Secret with the private key that signs tokens, because secrets.accessAlgorithm is EdDSA" -}}
{{- end -}}
{{- if eq .image.tag "latest" -}}
{{- $wrong = append $wrong "image.tag: set a fixed version; latest changes over time" -}}
{{- end -}}
{{- if and .evaluation.redis.enabled .redis.hosts -}}
{{- $wrong = append $wrong "redis.hosts: evaluation.redis is enabled; use only one of the two" -}}
{{- end -}}
{{- if not (or .evaluation.redis.enabled .redis.hosts) -}}
{{- $wrong = append $wrong "redis.hosts: set the address of Redis as host:port, or set evaluation.redis.enabled for an evaluation" -}}
{{- end -}}
{{- if and (eq .redis.mode "standalone") (gt (len .redis.hosts) 1) -}}
{{- $wrong = append $wrong "redis.hosts: standalone mode takes one host; set redis.mode to cluster for several" -}}
{{- end -}}
{{- if and (eq .redis.mode "cluster") (ne (int .redis.database) 0) -}}
{{- $wrong = append $wrong "redis.database: a cluster has only database 0" -}}
{{- end -}}
{{- if and (eq .redis.mode "sentinel") (not .redis.sentinel.master) -}}
{{- $wrong = append $wrong "redis.sentinel.master: name the master that the Sentinels watch" -}}
{{- end -}}
{{- if and .redis.sentinel.username (not .redis.sentinel.existingSecret) -}}
{{- $wrong = append $wrong "redis.sentinel.existingSecret: name a Secret with the password of redis.sentinel.username" -}}
{{- end -}}
{{- if and .redis.clientCertificate.existingSecret (not .redis.tls) -}}
{{- $wrong = append $wrong "redis.clientCertificate.existingSecret: a client certificate needs redis.tls" -}}
{{- end -}}
{{- if and .redis.username (not .redis.existingSecret) -}}
{{- $wrong = append $wrong "redis.existingSecret: name a Secret with the password of redis.username" -}}
{{- end -}}
{{- if and .evaluation.mongodb.enabled .mongodb.existingSecret -}}
{{- $wrong = append $wrong "mongodb.existingSecret: evaluation.mongodb is enabled; use only one of the two" -}}
{{- end -}}
{{- if not (or .evaluation.mongodb.enabled .mongodb.existingSecret) -}}
{{- $wrong = append $wrong "mongodb.existingSecret: name a Secret with MongoDB's connection string, or set evaluation.mongodb.enabled for an evaluation" -}}
{{- end -}}
{{- if and (or .turn.urls .turn.usernameKey .coturn.enabled) (not .turn.existingSecret) -}}
{{- $wrong = append $wrong "turn.existingSecret: name a Secret with coturn's static-auth-secret, or with a user name and credential" -}}
{{- end -}}
{{- if ne (empty .turn.usernameKey) (empty .turn.credentialKey) -}}
{{- $wrong = append $wrong "turn.credentialKey: set both turn.usernameKey and turn.credentialKey, or neither" -}}
{{- end -}}
{{- if and .coturn.enabled .turn.usernameKey -}}
{{- $wrong = append $wrong "turn.usernameKey: must be empty with coturn.enabled, because this chart's coturn has no users" -}}
{{- end -}}
{{- if and .webhooks.urls (not .webhooks.existingSecret) -}}
{{- $wrong = append $wrong "webhooks.existingSecret: name a Secret with the key that signs webhooks" -}}
{{- end -}}
{{- if and .coturn.enabled (not .turn.urls) -}}
{{- $wrong = append $wrong "turn.urls: set the public addresses of coturn, for example turn:turn.example.org:3478" -}}
{{- end -}}
{{- if and .coturn.enabled (not .coturn.realm) -}}
{{- $wrong = append $wrong "coturn.realm: set the realm, for example turn.example.org" -}}
{{- end -}}
{{- if and .coturn.externalIp (gt (int .coturn.replicas) 1) -}}
{{- $wrong = append $wrong "coturn.externalIp: is the address of one machine, so coturn.replicas must be 1" -}}
{{- end -}}
{{- if ge (int .coturn.minPort) (int .coturn.maxPort) -}}
{{- $wrong = append $wrong "coturn.maxPort: must be above coturn.minPort" -}}
{{- end -}}
{{- if lt (include "switchboard.drainSeconds" $ | int) 10 -}}
{{- $wrong = append $wrong "node.terminationGracePeriodSeconds: must be at least endpointSeconds + 15, so that a node has 10 s to move its clients" -}}
{{- end -}}
{{- if lt (sub .api.terminationGracePeriodSeconds .endpointSeconds | int) 15 -}}
{{- $wrong = append $wrong "api.terminationGracePeriodSeconds: must be at least endpointSeconds + 15, so that requests in progress can finish" -}}
{{- end -}}
{{- /* Variables that the templates set: first with some values only, then with the current values. */ -}}
{{- $own := list "ADMIN_API_KEYS" "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_TRACES_SAMPLER_ARG" "REDIS_PASSWORD" "REDIS_SENTINEL_PASSWORD" "REDIS_TLS_CERT_FILE" "REDIS_TLS_KEY_FILE" "SSL_CERT_FILE" "TURN_SERVER_CREDENTIAL" "TURN_SERVER_USERNAME" "WEBHOOK_URLS" "WEB_DIR" -}}
{{- range $name, $_ := include "switchboard.rotated" $ | fromJson -}}
{{- $own = concat $own (list $name (printf "%s_PREVIOUS" $name) (printf "%s_FILE" $name)) -}}
{{- end -}}
{{- range list "switchboard.apiSettings" "switchboard.nodeSettings" -}}
{{- $own = concat $own (include . $ | fromYaml | keys) -}}
{{- end -}}
{{- range printf "%s\n%s" (include "switchboard.nodeEnv" $) (include "switchboard.secretSettings" $) | fromYamlArray -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- range $name, $workload := dict "api" .api "node" .node -}}
{{- range $variable, $_ := $workload.env -}}
{{- if has $variable $own -}}
{{- $wrong = append $wrong (printf "%s.env: %s is set by another value or a Secret; use that instead" $name $variable) -}}
{{- end -}}
{{- end -}}
{{- $known := concat $own (keys $workload.env) -}}
{{- range $workload.extraEnv -}}
{{- if has .name $known -}}
{{- $wrong = append $wrong (printf "%s.extraEnv: %s is set by another value or a Secret, or twice; use one place" $name .name) -}}
{{- end -}}
{{- $known = append $known .name -}}
{{- end -}}
{{- $volumes := list "ca" "keys" "redis-tls" -}}
{{- range $workload.extraVolumes -}}
{{- if has .name $volumes -}}
{{- $wrong = append $wrong (printf "%s.extraVolumes: the name %s is taken; use another one" $name .name) -}}
{{- end -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- $paths := list "/etc/switchboard/ca" "/etc/switchboard/keys" "/etc/switchboard/redis-tls" -}}
{{- range $workload.extraVolumeMounts -}}
{{- if not (has .name (slice $volumes 3)) -}}
{{- $wrong = append $wrong (printf "%s.extraVolumeMounts: no volume in extraVolumes is named %s" $name .name) -}}
{{- end -}}
{{- if has (trimSuffix "/" .mountPath) $paths -}}
{{- $wrong = append $wrong (printf "%s.extraVolumeMounts: something is mounted at %s already" $name .mountPath) -}}
{{- end -}}
{{- $paths = append $paths (trimSuffix "/" .mountPath) -}}
{{- end -}}
{{- $containers := list $name -}}
{{- range concat $workload.initContainers $workload.sidecars -}}
{{- if has .name $containers -}}
{{- $wrong = append $wrong (printf "%s: two containers are named %s; use another name in initContainers or sidecars" $name .name) -}}
{{- end -}}
{{- $containers = append $containers .name -}}
{{- end -}}
{{- with $workload.autoscaling -}}
{{- if gt (int .minReplicas) (int .maxReplicas) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.maxReplicas: must not be below minReplicas" $name) -}}
{{- end -}}
{{- if and .initialReplicas (or (lt (int .initialReplicas) (int .minReplicas)) (gt (int .initialReplicas) (int .maxReplicas))) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.initialReplicas: must be from minReplicas to maxReplicas" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $accounts := list -}}
{{- range $name, $workload := dict "api" .api "coturn" .coturn "node" .node -}}
{{- if and $workload.serviceAccount.create (dig "enabled" true $workload) -}}
{{- $account := include "switchboard.accountName" (list $ $name $workload.serviceAccount) -}}
{{- if has $account $accounts -}}
{{- $wrong = append $wrong (printf "%s.serviceAccount.create: another workload creates %s; set create to false here to share it" $name $account) -}}
{{- end -}}
{{- $accounts = append $accounts $account -}}
{{- end -}}
{{- end -}}
{{- /* Selectors cannot change, and Helm and the operators' tools go by the others. */ -}}
{{- $reserved := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" -}}
{{- $labels := dict "commonLabels" .commonLabels "ingress.labels" .ingress.labels "gateway.labels" .gateway.labels -}}
{{- range $name, $group := .monitoring -}}
{{- $_ := set $labels (printf "monitoring.%s.labels" $name) $group.labels -}}
{{- end -}}
{{- range $name, $workload := dict "api" .api "node" .node "coturn" .coturn "evaluation.redis" .evaluation.redis "evaluation.mongodb" .evaluation.mongodb "test" .test -}}
{{- $_ := set $labels (printf "%s.labels" $name) $workload.labels -}}
{{- $_ := set $labels (printf "%s.podLabels" $name) $workload.podLabels -}}
{{- end -}}
{{- range $name, $map := $labels -}}
{{- range $label, $_ := $map -}}
{{- if has $label $reserved -}}
{{- $wrong = append $wrong (printf "%s: the chart sets %s itself; use another label" $name $label) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and .monitoring.serviceMonitor.enabled .monitoring.podMonitor.enabled -}}
{{- $wrong = append $wrong "monitoring.podMonitor.enabled: serviceMonitor is enabled; use only one of the two, because each pod would be scraped twice" -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- $wrong = append $wrong "ingress.host: set the host name of the Ingress" -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
{{- $wrong = append $wrong "gateway.parentRefs: name the Gateways to attach to" -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" $wrong)) -}}
{{- end -}}
{{- end -}}
