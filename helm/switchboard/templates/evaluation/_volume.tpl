{{/* The end of a StatefulSet: its volume, which lives as long as the pod when no size is given. Takes the size. */}}
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
