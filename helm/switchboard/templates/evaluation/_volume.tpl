{{/* Volume of a StatefulSet. Without a size it lives as long as the pod. Takes the size. */}}
{{- define "switchboard.evaluationVolume" -}}
{{ "    " }}volumes:
      - name: tmp
        emptyDir: {}
      {{- if not . }}
      - name: data
        emptyDir: {}
      {{- end }}
{{- with . }}
volumeClaimTemplates:
  - metadata:
      name: data
    spec:
      accessModes: [ReadWriteOnce]
      resources:
        requests:
          storage: {{ . }}
{{- end }}
{{- end -}}
