{{/* The agent's identity and the addresses in every sidecar are built on this namespace. */}}
{{- define "isthmus.namespace" -}}
{{- if ne .Release.Namespace "isthmus-system" -}}
{{- fail (printf "install this chart into the namespace isthmus-system (--namespace isthmus-system --create-namespace), not %s: the agent's SPIFFE ID names it" .Release.Namespace) -}}
{{- end -}}
{{- .Release.Namespace -}}
{{- end -}}

{{- define "isthmus.labels" -}}
app.kubernetes.io/part-of: isthmus
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* {root, name}: the reference of one image. */}}
{{- define "isthmus.image" -}}
{{- $image := index .root.Values.images .name -}}
{{- $common := .root.Values.image -}}
{{- if $image.reference -}}
{{ $image.reference }}
{{- else -}}
{{ $image.registry | default $common.registry }}/{{ $image.repository }}:{{ $image.tag | default $common.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "isthmus.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Restricted Pod Security, as far as a container can say it. */}}
{{- define "isthmus.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* {component, given}: spread over nodes where possible; a small cluster still gets both replicas. */}}
{{- define "isthmus.affinity" -}}
{{- if .given }}
{{- toYaml .given }}
{{- else -}}
podAntiAffinity:
  preferredDuringSchedulingIgnoredDuringExecution:
    - weight: 100
      podAffinityTerm:
        topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels:
            app.kubernetes.io/name: {{ .component }}
{{- end -}}
{{- end -}}

{{/* What values say about the gateway's Envoy; laid over the bootstrap that the agent writes. May be empty. */}}
{{- define "isthmus.gatewayOverlay" -}}
{{- $place := dict -}}
{{- with .Values.cluster.region }}{{ $_ := set $place "region" . }}{{ end -}}
{{- with .Values.cluster.zone }}{{ $_ := set $place "zone" . }}{{ end -}}
{{- if $place }}
node:
  locality: {{ toJson $place }}
{{- end }}
{{- with .Values.gateway.maxHeapBytes | int64 }}
overload_manager:
  refresh_interval: 0.25s
  resource_monitors:
    - name: envoy.resource_monitors.fixed_heap
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig
        # a string, as protobuf's JSON has 64-bit numbers: helm's own would print 4.02653184e+08
        max_heap_size_bytes: {{ . | quote }}
  actions:
    {{- range $action, $threshold := dict "shrink_heap" 0.9 "stop_accepting_requests" 0.95 }}
    - name: envoy.overload_actions.{{ $action }}
      triggers: [{ name: envoy.resource_monitors.fixed_heap, threshold: { value: {{ $threshold }} } }]
    {{- end }}
{{- end }}
{{- end -}}
