# Shared by the scripts of this folder; sourced after ../lib.sh.
# shellcheck disable=SC2034 # the variables are for the scripts that source this
MODULE=$SERVERS/kubernetes/controlplane
VERSION=$(sed -n 's|^\tk8s.io/kubernetes \(v[0-9.]*\)$|\1|p' "$MODULE/go.mod")
BUILT=$(cache_dir controlplane "$MODULE/go.mod" "$MODULE/go.sum" "$MODULE/main.go" "$(uname -m)")
PROGRAMS=(etcd kube-apiserver kube-controller-manager kubectl)
# In the same file, for a cluster whose pods run; `up` starts none of them.
NODE_PROGRAMS=(kube-scheduler kubelet kube-proxy)

# binary NAME: the path of a program; one in KUBEBUILDER_ASSETS is preferred to one that we build.
binary() {
  if [ -x "${KUBEBUILDER_ASSETS:+$KUBEBUILDER_ASSETS/$1}" ]; then
    printf '%s\n' "$KUBEBUILDER_ASSETS/$1"
  else
    printf '%s\n' "$BUILT/$1"
  fi
}

# controlplane_missing: prints the programs that neither KUBEBUILDER_ASSETS nor the cache has.
controlplane_missing() {
  local name
  for name in "${PROGRAMS[@]}"; do [ -x "$(binary "$name")" ] || printf '%s\n' "$name"; done
}

kubectl() { "$RUN/kubectl" --request-timeout 20s "$@"; }

# ready NAME: asks until the named program does its work; see wait_until.
ready() {
  case $1 in
    etcd) wait_until 30 etcd "become healthy" answers "$(get ETCD)/health" ;;
    kube-apiserver) wait_until 60 kube-apiserver "become ready" answers --cacert "$RUN/certs/apiserver.crt" "$(get APISERVER)/readyz" ;;
    kube-controller-manager)
      # It has no port here. One of its controllers makes this account whenever it is missing.
      kubectl delete serviceaccount default --namespace default --ignore-not-found --wait=false >/dev/null &&
        wait_until 60 kube-controller-manager "make a service account" "$RUN/kubectl" get serviceaccount default --namespace default
      ;;
  esac
}

# kubeconfig USER TOKEN NAMESPACE: prints a kubeconfig for the run's server. The certificate file carries its own CA.
kubeconfig() {
  cat <<YAML
apiVersion: v1
kind: Config
clusters: [{name: e2e, cluster: {server: "$(get APISERVER)", certificate-authority-data: "$(base64 -w 0 "$RUN/certs/apiserver.crt")"}}]
users: [{name: "$1", user: {token: "$2"}}]
contexts: [{name: e2e, context: {cluster: e2e, user: "$1", namespace: "$3"}}]
current-context: e2e
YAML
}
