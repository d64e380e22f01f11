{{- define "kube-proxier.selector" -}}
k8s-app: {{ .Release.Name }}
{{- end }}

{{- define "kube-proxier.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
{{ include "kube-proxier.selector" . }}
{{- end }}

{{- define "kube-proxier.objectLabels" -}}
{{ include "kube-proxier.labels" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "kube-proxier.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end }}

{{- /* What both containers have in common. */ -}}
{{- define "kube-proxier.container" -}}
image: {{ include "kube-proxier.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  - name: NODE_NAME
    valueFrom:
      fieldRef:
        fieldPath: spec.nodeName
{{- end }}

{{- define "kube-proxier.args" -}}
- --config=/var/lib/kube-proxy/config.conf
- --hostname-override=$(NODE_NAME)
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* How the API server is reached. */ -}}
{{- define "kube-proxier.kubeconfig" -}}
apiVersion: v1
kind: Config
clusters:
  - name: default
    cluster:
      server: {{ required "apiServer is needed: an address of the API server itself, such as https://10.0.0.1:6443; or existingConfigMap" .Values.apiServer }}
      certificate-authority: /var/run/secrets/kubernetes.io/serviceaccount/ca.crt
users:
  - name: default
    user:
      tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token
contexts:
  - name: default
    context:
      cluster: default
      user: default
current-context: default
{{- end }}

{{- /* A pod follows a change of config.conf; one of kubeconfig.conf takes a new pod. */ -}}
{{- define "kube-proxier.podAnnotations" -}}
{{- if not .Values.existingConfigMap }}
checksum/kubeconfig: {{ include "kube-proxier.kubeconfig" . | sha256sum }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- /* Where metrics are served. */ -}}
{{- define "kube-proxier.metricsAddress" -}}
{{ .Values.config.metricsBindAddress | default .Values.metrics.bindAddress }}
{{- end }}

{{- /* The port of address, or default where it has none. */ -}}
{{- define "kube-proxier.port" -}}
{{ regexFind "^([^:]*|\\[.*\\]):[0-9]+$" .address | regexFind "[0-9]+$" | default .default }}
{{- end }}
