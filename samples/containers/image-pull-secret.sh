#!/bin/sh
# Print a Kubernetes Secret (type kubernetes.io/dockerconfigjson) with the logins of a SOURCE, for
# imagePullSecrets:  samples/containers/image-pull-secret.sh NAME SOURCE... | kubectl apply -f -
# ECR tokens live twelve hours: run it again every six (a CronJob, or a timer).
set -eu
name=$1
shift
config=$(${ECSAUTH:-ecsauth} convert --quiet --output docker-config "$@")
data=$(printf '%s\n' "$config" | base64 | tr -d '\n')
cat <<SECRET
apiVersion: v1
kind: Secret
metadata:
  name: $name
type: kubernetes.io/dockerconfigjson
data:
  .dockerconfigjson: $data
SECRET
