{{/* Names.  A component is operator, router or gateway. */}}
{{- define "headway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "headway.fullname" -}}
{{- $name := include "headway.name" . -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Two of different namespaces differ: it names what has no namespace. */}}
{{- define "headway.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "headway.fullname" .) -}}
{{- end -}}

{{/* The rest takes (list $ component). */}}
{{- define "headway.component" -}}
{{- printf "%s-%s" (include "headway.fullname" (first .)) (last .) -}}
{{- end -}}

{{- define "headway.selector" -}}
app.kubernetes.io/name: {{ include "headway.name" (first .) }}
app.kubernetes.io/instance: {{ (first .).Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{- define "headway.labels" -}}
{{ include "headway.selector" . }}
app.kubernetes.io/part-of: headway
app.kubernetes.io/version: {{ (first .).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (first .).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (first .).Chart.Name (first .).Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* Of one of the project's two images. */}}
{{- define "headway.image" -}}
{{- $ := first . -}}
{{- $repository := $.Values.image.repository -}}
{{- if not $repository -}}
{{- fail "image.repository is not set, and no images of Headway are published yet: build them with `make images IMAGE_REPOSITORY=registry.example.com/llm`, push them, and set image.repository to the same" -}}
{{- end -}}
{{- $image := printf "%s/headway-%s" (trimSuffix "/" $repository) (last .) -}}
{{- $digest := (get $.Values (last .)).digest -}}
{{- if $digest -}}
{{- printf "%s@%s" $image $digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default $.Chart.AppVersion $.Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The full DNS name of a Service: a shorter one would cost a search list of lookups. */}}
{{- define "headway.host" -}}
{{- $ := first . -}}
{{- printf "%s.%s.svc.%s" (include "headway.component" .) $.Release.Namespace $.Values.clusterDomain -}}
{{- end -}}

{{/* Dicts: root, component, values: what a user may set of every Deployment's pods. */}}
{{- define "headway.podMetadata" -}}
labels:
  {{- include "headway.selector" (list .root .component) | nindent 2 }}
  {{- with .values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (default dict .annotations) .values.podAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "headway.placement" -}}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
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
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "headway.selector" (list .root .component) | nindent 8 }}
{{- end -}}

{{/* What the restricted profile of Pod Security wants. */}}
{{- define "headway.podSecurity" -}}
# A Service named headway-metrics would set HEADWAY_METRICS_PORT, which the router reads.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "headway.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end -}}

{{/* The certificate folder of a component: tls.crt, tls.key, ca.crt; of the gateway the last. */}}
{{- define "headway.tlsSecret" -}}
{{- $ := first . -}}
{{- if eq $.Values.tls.mode "Existing" -}}
{{- required "tls.secretName is needed with tls.mode Existing" $.Values.tls.secretName -}}
{{- else if eq $.Values.tls.mode "CertManager" -}}
{{- printf "%s-tls" (include "headway.component" (list $ (ternary "router" (last .) (eq (last .) "gateway")))) -}}
{{- else -}}
{{- printf "%s-tls" (include "headway.fullname" $) -}}
{{- end -}}
{{- end -}}

{{- define "headway.tlsVolume" -}}
{{- $ := first . -}}
{{- $ownNames := eq $.Values.tls.mode "CertManager" -}}
- name: tls
  secret:
    secretName: {{ include "headway.tlsSecret" . }}
    items:
      - {key: ca.crt, path: ca.crt}
      {{- if ne (last .) "gateway" }}
      - {key: {{ $ownNames | ternary "tls" (last .) }}.crt, path: tls.crt}
      - {key: {{ $ownNames | ternary "tls" (last .) }}.key, path: tls.key}
      {{- end }}
{{- end -}}

{{- define "headway.hasTls" -}}
{{- if ne .Values.tls.mode "Disabled" }}true{{ end -}}
{{- end -}}

{{- define "headway.hasEnvoy" -}}
{{- if eq .Values.gateway.mode "Envoy" }}true{{ end -}}
{{- end -}}

{{- define "headway.isSingleDestination" -}}
{{- if kindIs "bool" .Values.router.singleDestination -}}
{{- if .Values.router.singleDestination }}true{{ end -}}
{{- else -}}
{{- include "headway.hasEnvoy" . -}}
{{- end -}}
{{- end -}}
