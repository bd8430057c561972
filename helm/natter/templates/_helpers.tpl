{{- define "natter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: "-operators" is put behind it, and a Service's name may have 63. A release's name that is cut
keeps a part of its checksum, so that two long ones stay apart. */}}
{{- define "natter.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := .Release.Name -}}
{{- if not (contains (include "natter.name" .) .Release.Name) -}}
{{- $name = printf "%s-%s" .Release.Name (include "natter.name" .) -}}
{{- end -}}
{{- if gt (len $name) 52 -}}
{{- printf "%s-%s" ($name | trunc 43 | trimSuffix "-") ($name | sha256sum | trunc 8) -}}
{{- else -}}
{{- $name -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "natter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "natter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "natter.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "natter.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: natter
{{- end -}}

{{- define "natter.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{- printf "%s:%s@%s" .Values.image.repository $tag .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}

{{- define "natter.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "natter.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "natter.graceSeconds" -}}
{{- add .Values.drain.preStopSeconds .Values.drain.deadlineSeconds .Values.drain.marginSeconds -}}
{{- end -}}

{{/* The configuration file: nothing in it is a secret. */}}
{{- define "natter.config" -}}
{{- $own := dict "listen" (printf "%s:8080" .Values.listenHost) "admin-listen" (printf "%s:8081" .Values.listenHost) "data-dir" "/var/lib/natter" "log-format" "json" -}}
{{- $_ := set $own "cql-replication" .Values.migrations.replication -}}
{{- $_ := set $own "drain-delay" (printf "%ds" (int .Values.drain.delaySeconds)) -}}
{{- $_ := set $own "drain-pace" (int .Values.drain.pacePerSecond) -}}
{{- $_ := set $own "drain-window" (printf "%ds" (int .Values.drain.windowSeconds)) -}}
{{- $_ := set $own "shutdown-deadline" (printf "%ds" (int .Values.drain.deadlineSeconds)) -}}
{{- if .Values.publicUrl -}}{{- $_ := set $own "public-url" .Values.publicUrl -}}{{- end -}}
{{- if .Values.trustedProxies -}}{{- $_ := set $own "trusted-proxies" .Values.trustedProxies -}}{{- end -}}
{{- $all := mergeOverwrite $own (deepCopy .Values.config) -}}
{{- range $key := keys $all | sortAlpha }}
{{ $key }} = {{ get $all $key | toJson }}
{{- end }}
{{- end -}}

{{- define "natter.seamEnv" -}}
{{- $seam := .seam -}}
{{- if $seam.existingSecret }}
- name: {{ .variable }}
  valueFrom:
    secretKeyRef:
      name: {{ $seam.existingSecret }}
      key: {{ $seam.existingSecretKey }}
{{- else if $seam.address }}
- name: {{ .variable }}
  value: {{ $seam.address | quote }}
{{- end }}
{{- end -}}

{{- define "natter.env" -}}
- name: NATTER_CONFIG
  value: /etc/natter/natter.toml
{{- include "natter.seamEnv" (dict "variable" "NATTER_STORE" "seam" .Values.store) }}
{{- include "natter.seamEnv" (dict "variable" "NATTER_CHANNEL_LAYER" "seam" .Values.channelLayer) }}
{{- include "natter.seamEnv" (dict "variable" "NATTER_SESSIONS" "seam" .Values.sessions) }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "natter.volumeMounts" -}}
- name: config
  mountPath: /etc/natter
  readOnly: true
- name: data
  mountPath: /var/lib/natter
{{- range .Values.secretFiles }}
- name: {{ printf "secret-%s" . | trunc 63 }}
  mountPath: /etc/natter/secrets/{{ . }}
  readOnly: true
{{- end }}
{{- range .Values.configMapFiles }}
- name: {{ printf "configmap-%s" . }}
  mountPath: /etc/natter/configmaps/{{ . }}
  readOnly: true
{{- end }}
{{- end -}}

{{- define "natter.volumes" -}}
- name: config
  projected:
    sources:
      - configMap:
          name: {{ .configMap }}
- name: data
  emptyDir:
    sizeLimit: 64Mi
{{- range .root.Values.secretFiles }}
- name: {{ printf "secret-%s" . | trunc 63 }}
  secret:
    secretName: {{ . }}
{{- end }}
{{- range .root.Values.configMapFiles }}
- name: {{ printf "configmap-%s" . }}
  configMap:
    name: {{ . }}
{{- end }}
{{- end -}}

{{/* Which versions of the Secrets that are named the nodes were started with. They are asked for in the cluster, so a
template without one has none. Nothing of what is in them is told. */}}
{{- define "natter.secretVersions" -}}
{{- $names := concat (list .Values.store.existingSecret .Values.channelLayer.existingSecret .Values.sessions.existingSecret) .Values.secretFiles -}}
{{- $versions := list -}}
{{- range $names | compact | uniq | sortAlpha -}}
{{- $secret := lookup "v1" "Secret" $.Release.Namespace . -}}
{{- if $secret -}}
{{- $versions = append $versions (printf "%s/%s/%s" . $secret.metadata.uid $secret.metadata.resourceVersion) -}}
{{- end -}}
{{- end -}}
{{- if $versions -}}{{- join "," $versions | sha256sum -}}{{- end -}}
{{- end -}}

{{/* Where pods that run once may go: where the nodes go. */}}
{{- define "natter.placement" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* What a NetworkPolicy lets out: to where names are looked up, and to servers. */}}
{{- define "natter.dnsEgress" -}}
- ports:
    - { protocol: UDP, port: 53 }
    - { protocol: TCP, port: 53 }
  {{- with .Values.networkPolicy.dns.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "natter.egress" -}}
- ports:
    {{- range .ports }}
    - { protocol: TCP, port: {{ . }} }
    {{- end }}
  {{- with .to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "natter.podSecurityContext" -}}
runAsNonRoot: true
{{- with int64 .Values.podSecurity.userId }}
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "natter.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What can only be seen with all values at hand. */}}
{{- define "natter.check" -}}
{{- $given := list -}}
{{- range $name := list "store" "channelLayer" "sessions" -}}
{{- $seam := get $.Values $name -}}
{{- if or $seam.address $seam.existingSecret -}}{{- $given = append $given $name -}}{{- end -}}
{{- if and $seam.address $seam.existingSecret -}}
{{- fail (printf "%s: give address or existingSecret, not both" $name) -}}
{{- end -}}
{{- if contains "@" (default "" $seam.address) -}}
{{- fail (printf "%s.address has a user or password in it: put the address into a Secret and name it in %s.existingSecret" $name $name) -}}
{{- end -}}
{{- end -}}
{{- if ne (len $given) 3 -}}
{{- fail (printf "store, channelLayer and sessions each need address or existingSecret; given: %s" (default "none" (join ", " $given))) -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "ingress.enabled needs ingress.host" -}}
{{- end -}}
{{- if and .Values.gateway.enabled (not .Values.gateway.parentRefs) -}}
{{- fail "gateway.enabled needs gateway.parentRefs: the Gateway that takes the route" -}}
{{- end -}}
{{- if ge (add .Values.drain.delaySeconds .Values.drain.windowSeconds) (int64 .Values.drain.deadlineSeconds) -}}
{{- fail (printf "drain: delaySeconds and windowSeconds are %d s together, which leaves nothing of deadlineSeconds (%d s) to end in" (add .Values.drain.delaySeconds .Values.drain.windowSeconds) (int .Values.drain.deadlineSeconds)) -}}
{{- end -}}
{{- $proxied := or .Values.ingress.enabled .Values.gateway.enabled -}}
{{- $throttled := not (has (toString .Values.config.limits) (list "off" "false")) -}}
{{- if and $proxied $throttled (not .Values.trustedProxies) -}}
{{- fail "trustedProxies is empty, so everybody behind the ingress or gateway would share the throttles of one address: name its pods' networks" -}}
{{- end -}}
{{- if and (has (toString .Values.rollout.maxUnavailable) (list "0" "0%")) (has (toString .Values.rollout.maxSurge) (list "0" "0%")) -}}
{{- fail "rollout: maxUnavailable and maxSurge are both 0, so no node could ever be replaced" -}}
{{- end -}}
{{- if .Values.networkPolicy.enabled -}}
{{- if and (ne .Values.service.type "ClusterIP") (not .Values.networkPolicy.ingressFrom) -}}
{{- fail (printf "networkPolicy.ingressFrom is empty, so nobody could come in through the Service of type %s: name the networks that may" .Values.service.type) -}}
{{- end -}}
{{- if and (or .Values.ingress.enabled .Values.gateway.enabled) (not .Values.networkPolicy.ingressFrom) -}}
{{- fail "networkPolicy.ingressFrom is empty, so the ingress or gateway could reach no node: name its pods or namespace" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.networkPolicy.metricsFrom) -}}
{{- fail "networkPolicy.metricsFrom is empty, so Prometheus could reach no node: name its pods or namespace" -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling: minReplicas is greater than maxReplicas" -}}
{{- end -}}
{{- $scale := .Values.autoscaling -}}
{{- if and $scale.enabled (not (or $scale.connectionsPerPod $scale.outboxBytesPerPod $scale.cpuUtilization)) -}}
{{- fail "autoscaling: give at least one of connectionsPerPod, outboxBytesPerPod and cpuUtilization" -}}
{{- end -}}
{{- if and .Values.tests.username (not .Values.tests.existingSecret) -}}
{{- fail "tests.username needs tests.existingSecret, the Secret with the password" -}}
{{- end -}}
{{- if and .Values.tests.enabled (ne (default "open" .Values.config.registration) "open") (not .Values.tests.username) -}}
{{- fail "config.registration is not open, so the smoke test can't register: name a user in tests.username, or set tests.enabled to false" -}}
{{- end -}}
{{- end -}}
