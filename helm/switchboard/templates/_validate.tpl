{{/*
Rules over several values, which a schema cannot tell in a sentence. All mistakes are told at once.
*/}}
{{- define "switchboard.validate" -}}
{{- $wrong := list -}}
{{- with .Values -}}
{{- if not .frontendUrl -}}
{{- $wrong = append $wrong "frontendUrl: say at which address browsers find the page, for example https://calls.example.org" -}}
{{- end -}}
{{- if not .image.repository -}}
{{- $wrong = append $wrong "image.repository: say from where both images are pulled, for example registry.example.org/calls; the chart's README tells how to build them" -}}
{{- end -}}
{{- if not (regexMatch "^[a-z]" (include "switchboard.fullname" $)) -}}
{{- $wrong = append $wrong (printf "fullnameOverride: a Service's name begins with a letter, %s does not" (include "switchboard.fullname" $)) -}}
{{- end -}}
{{- if not .secrets.existingSecret -}}
{{- $wrong = append $wrong (printf "secrets.existingSecret: name a Secret with the keys %s and %s, made for example by: kubectl create secret generic switchboard --from-literal=%s=$(openssl rand -hex 32) --from-literal=%s=$(openssl rand -hex 32)" .secrets.accessKey .secrets.refreshKey .secrets.accessKey .secrets.refreshKey) -}}
{{- end -}}
{{- if and .secrets.accessKey (eq .secrets.accessKey .secrets.refreshKey) -}}
{{- $wrong = append $wrong "secrets.refreshKey: access and refresh tokens must be signed by different keys" -}}
{{- end -}}
{{- if eq .image.tag "latest" -}}
{{- $wrong = append $wrong "image.tag: name one image for good; latest is another one tomorrow" -}}
{{- end -}}
{{- if and .evaluation.redis.enabled .redis.hosts -}}
{{- $wrong = append $wrong "redis.hosts: there is evaluation.redis already; use one or the other" -}}
{{- end -}}
{{- if not (or .evaluation.redis.enabled .redis.hosts) -}}
{{- $wrong = append $wrong "redis.hosts: say where Redis is, as host:port; or try Switchboard out with evaluation.redis.enabled" -}}
{{- end -}}
{{- if and (eq .redis.mode "standalone") (gt (len .redis.hosts) 1) -}}
{{- $wrong = append $wrong "redis.hosts: several hosts are a cluster; set redis.mode to cluster" -}}
{{- end -}}
{{- if and (eq .redis.mode "cluster") (ne (int .redis.database) 0) -}}
{{- $wrong = append $wrong "redis.database: a cluster has only database 0" -}}
{{- end -}}
{{- if and .redis.username (not .redis.existingSecret) -}}
{{- $wrong = append $wrong "redis.existingSecret: name a Secret with the password of redis.username; without one nobody signs in" -}}
{{- end -}}
{{- if and .evaluation.mongodb.enabled .mongodb.existingSecret -}}
{{- $wrong = append $wrong "mongodb.existingSecret: there is evaluation.mongodb already; use one or the other" -}}
{{- end -}}
{{- if not (or .evaluation.mongodb.enabled .mongodb.existingSecret) -}}
{{- $wrong = append $wrong "mongodb.existingSecret: name a Secret with MongoDB's connection string; or try Switchboard out with evaluation.mongodb.enabled" -}}
{{- end -}}
{{- if and (or .turn.urls .turn.usernameKey .coturn.enabled) (not .turn.existingSecret) -}}
{{- $wrong = append $wrong "turn.existingSecret: name a Secret with the secret that coturn has, too, or with a user's name and credential" -}}
{{- end -}}
{{- if ne (empty .turn.usernameKey) (empty .turn.credentialKey) -}}
{{- $wrong = append $wrong "turn.credentialKey: a TURN server's user has a name and a credential; name the keys of both, or of neither" -}}
{{- end -}}
{{- if and .coturn.enabled .turn.usernameKey -}}
{{- $wrong = append $wrong "turn.usernameKey: coturn of this chart knows no users; leave it empty" -}}
{{- end -}}
{{- if and .webhooks.urls (not .webhooks.existingSecret) -}}
{{- $wrong = append $wrong "webhooks.existingSecret: name a Secret with the key that signs webhooks" -}}
{{- end -}}
{{- if and .coturn.enabled (not .turn.urls) -}}
{{- $wrong = append $wrong "turn.urls: say at which addresses clients reach coturn, for example turn:turn.example.org:3478" -}}
{{- end -}}
{{- if and .coturn.enabled (not .coturn.realm) -}}
{{- $wrong = append $wrong "coturn.realm: say the realm, for example turn.example.org" -}}
{{- end -}}
{{- if and .coturn.externalIp (gt (int .coturn.replicas) 1) -}}
{{- $wrong = append $wrong "coturn.externalIp: is the address of one machine; set coturn.replicas to 1" -}}
{{- end -}}
{{- if ge (int .coturn.minPort) (int .coturn.maxPort) -}}
{{- $wrong = append $wrong "coturn.maxPort: must be above coturn.minPort" -}}
{{- end -}}
{{- if lt (include "switchboard.drainSeconds" $ | int) 10 -}}
{{- $wrong = append $wrong "node.terminationGracePeriodSeconds: leave at least 10 s for moving clients off, after endpointSeconds and before the last 5" -}}
{{- end -}}
{{- if lt (sub .api.terminationGracePeriodSeconds .endpointSeconds | int) 15 -}}
{{- $wrong = append $wrong "api.terminationGracePeriodSeconds: leave at least 15 s after endpointSeconds for requests in progress" -}}
{{- end -}}
{{- /* What the templates set: first what they set with some values only, then what they set with these. */ -}}
{{- $own := list "ADMIN_API_KEYS" "CLUSTER_SECRET" "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_TRACES_SAMPLER_ARG" "REDIS_PASSWORD" "SSL_CERT_FILE" "TURN_SECRET" "TURN_SERVER_CREDENTIAL" "TURN_SERVER_USERNAME" "WEBHOOK_SECRET" "WEBHOOK_URLS" "WEB_DIR" -}}
{{- range list "switchboard.apiSettings" "switchboard.nodeSettings" -}}
{{- $own = concat $own (include . $ | fromYaml | keys) -}}
{{- end -}}
{{- range printf "%s\n%s" (include "switchboard.nodeEnv" $) (include "switchboard.secretSettings" $) | fromYamlArray -}}
{{- $own = append $own .name -}}
{{- end -}}
{{- range $name, $workload := dict "api" .api "node" .node -}}
{{- range $variable, $_ := $workload.env -}}
{{- if has $variable $own -}}
{{- $wrong = append $wrong (printf "%s.env: %s is a secret, or follows from other values; set those" $name $variable) -}}
{{- end -}}
{{- end -}}
{{- if gt (int $workload.autoscaling.minReplicas) (int $workload.autoscaling.maxReplicas) -}}
{{- $wrong = append $wrong (printf "%s.autoscaling.maxReplicas: must not be below minReplicas" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .ingress.enabled (not .ingress.host) -}}
{{- $wrong = append $wrong "ingress.host: say the host that the Ingress is for" -}}
{{- end -}}
{{- if and .gateway.enabled (not .gateway.parentRefs) -}}
{{- $wrong = append $wrong "gateway.parentRefs: name the Gateways to attach to" -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n\n%s\n" (join "\n" $wrong)) -}}
{{- end -}}
{{- end -}}
