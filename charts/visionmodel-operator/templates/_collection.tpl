{{/* Not the operator's selector: its Service must not find these pods. */}}
{{- define "visionmodel.collectionLabels" -}}
app.kubernetes.io/name: {{ printf "%s-collection" (include "visionmodel.name" . | trunc 52) }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: collection
app.kubernetes.io/part-of: visionmodel
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/*
The operator's image lists what is needed and has the account's token; the converter's deletes the rest and has none. When
the list cannot be read to its end the first container fails and the second one never starts.
*/}}
{{- define "visionmodel.collectionPod" -}}
{{- $artifacts := .root.Values.artifacts -}}
{{- $store := default $artifacts.repository .uri -}}
{{- $secret := ternary $artifacts.objectStorage.secret $artifacts.pushSecret (ne .uri "") -}}
restartPolicy: Never
serviceAccountName: {{ .account }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
initContainers:
  - name: list
    image: {{ include "visionmodel.image" .root | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: [list-kept, --out, /kept/kept.json]
    env:
      - {name: VISIONMODEL_WATCH_NAMESPACES, value: {{ .listed | join "," | quote }}}
      {{- with .root.Values.extraEnv }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    resources: &resources
      requests: {cpu: 50m, memory: 128Mi}
      limits: {memory: 512Mi}
    securityContext: &restricted
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: [ALL]}
    volumeMounts:
      - {name: kept, mountPath: /kept}
      - {name: tmp, mountPath: /tmp}
      - {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
containers:
  - name: delete
    image: {{ .root.Values.converter.image | quote }}
    imagePullPolicy: IfNotPresent
    command: [visionmodel-convert]
    args:
      - collect
      - --store={{ $store }}
      - --kept=/kept/kept.json
      - --minimum-age={{ $artifacts.collection.minimumAge }}
      {{- if $artifacts.insecure }}
      - --insecure
      {{- end }}
      {{- if $artifacts.collection.dryRun }}
      - --dry-run
      {{- end }}
    resources: *resources
    securityContext: *restricted
    volumeMounts:
      - {name: kept, mountPath: /kept, readOnly: true}
      - {name: tmp, mountPath: /tmp}
      {{- if $secret }}
      - {name: credentials, mountPath: /var/run/secrets/visionmodel/{{ ternary "artifacts" "registry" (ne .uri "") }}, readOnly: true}
      {{- end }}
      {{- if $artifacts.persistentVolumeClaim.claimName }}
      - {name: artifact, mountPath: /mnt/artifacts}
      {{- end }}
volumes:
  - {name: kept, emptyDir: {}}
  - {name: tmp, emptyDir: {}}
  - name: token
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: token, expirationSeconds: 3600}
        - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
        - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
  {{- if $secret }}
  - name: credentials
    secret: {secretName: {{ $secret }}, defaultMode: 0440}
  {{- end }}
  {{- with $artifacts.persistentVolumeClaim.claimName }}
  - name: artifact
    persistentVolumeClaim: {claimName: {{ . }}}
  {{- end }}
{{- end -}}
