#!/bin/bash
# Brings a machine to the point where the tests and the demo run.
#   setup.sh python VENV   the Python environment in VENV, pinned and checked by hash (PYTHON chooses the interpreter)
#   setup.sh packages      on Debian as root: the brokers, FFmpeg and what a local Kubernetes node needs, from apt
# Safe to repeat and to run twice at a time. Warm runs take milliseconds. Nothing that apt installs is started.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SERVERS=(redis-server rabbitmq-server ffmpeg)
NODE=(containernetworking-plugins nftables conntrack iproute2 kmod buildah mmdebstrap ca-certificates openssl)
POLICY=/usr/sbin/policy-rc.d
POLICY_MARK="# put here by workerpool-operator's tests/setup.sh while apt runs"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Runs a command quietly, with a line every 15 s, and shows its output only when it fails.
busy() {
    local what=$1 log pid began=$SECONDS status=0
    shift
    log=$(mktemp)
    say "$what"
    "$@" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; wait "$pid" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        for _ in $(seq 60); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.25
        done
        if kill -0 "$pid" 2>/dev/null; then say "$what: $((SECONDS - began)) s"; fi
    done
    wait "$pid" || status=$?
    trap - INT TERM
    if ((status)); then
        cat "$log" >&2
        rm -f "$log"
        fail "failed (exit $status): $*"
    fi
    rm -f "$log"
}

debian() { [[ -r /etc/debian_version ]] && command -v apt-get dpkg-query >/dev/null; }
debian_root() { debian && ((EUID == 0)); }
docker_answers() { command -v docker >/dev/null && timeout 10 docker info >/dev/null 2>&1; }

# Prints those of the named packages that are not installed.
missing() {
    local installed
    installed=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2>/dev/null | awk '$2 == "installed" {print $1}') || true
    printf '%s\n' "$@" | grep -vxF -e "${installed:-none}" || true
}

# Installs packages without starting their services, and without ever removing what is there.
apt_install() {
    exec 8>/run/lock/workerpool-operator-setup.lock
    flock 8
    local -a packages
    mapfile -t packages < <(missing "$@")
    ((${#packages[@]})) || return 0
    if [[ ! -e $POLICY ]] || grep -qF "$POLICY_MARK" "$POLICY"; then
        trap 'rm -f "$POLICY"' EXIT
        printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
        chmod 755 "$POLICY"
    fi
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    busy "refreshing the package lists" apt-get -o DPkg::Lock::Timeout=300 update
    busy "installing ${packages[*]}" apt-get -o DPkg::Lock::Timeout=300 install \
        --yes --no-remove --no-install-recommends "${packages[@]}"
    keep_disabled "${packages[@]}"
    if [[ -e $POLICY ]] && grep -qF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
    trap - EXIT
    flock -u 8
}

# Services that came in with these packages do not start at the next boot either.
keep_disabled() {
    [[ -d /run/systemd/system ]] || return 0
    local package
    for package in "$@"; do
        case $package in
            redis-server | rabbitmq-server | containerd) systemctl --quiet disable "$package" || true ;;
        esac
    done
}

setup_python() {
    local venv=$1 python=${PYTHON:-python3} wanted
    command -v "$python" >/dev/null || fail "no $python here: install Python 3.11 or newer, or set PYTHON"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "$("$python" --version) is too old: Python 3.11 or newer is needed, set PYTHON"
    exec 9<requirements/test.txt
    flock 9
    wanted=$(cat requirements/build.txt requirements/test.txt pyproject.toml | sha256sum | cut -d' ' -f1)
    [[ $(cat "$venv/.installed" 2>/dev/null) == "$wanted" ]] && return 0
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        debian_root || fail "$python has no venv module: install your system's python3-venv package"
        apt_install python3-venv
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        say "creating $venv"
        "$python" -m venv --clear "$venv"
    fi
    busy "installing the pinned Python packages (about 60 s the first time)" \
        install_pinned "$venv/bin/python"
    busy "installing workerpool-operator itself" \
        "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
    echo "$wanted" >"$venv/.installed"
}

# First what builds pyvips, which comes as sources only: pinned like all else.
install_pinned() {
    "$1" -m pip install --disable-pip-version-check --require-hashes -r requirements/build.txt
    "$1" -m pip install --disable-pip-version-check --no-build-isolation --require-hashes -r requirements/test.txt
}

setup_packages() {
    if ! debian_root; then
        local command absent=()
        docker_answers && return 0
        for command in redis-server rabbitmq-server ffmpeg docker; do
            command -v "$command" >/dev/null || absent+=("$command")
        done
        command -v docker >/dev/null && absent+=("a Docker engine that answers (docker info fails)")
        say "this is not Debian as root, so nothing can be installed from here, and no Docker engine answers."
        fail "needed: either of the two (Debian as root, or Docker); missing here: ${absent[*]}"
    fi
    # Where Docker runs, it runs the nodes, and Debian's containerd must not push Docker's own out.
    local wanted=("${SERVERS[@]}") packages
    if ! docker_answers; then
        wanted+=("${NODE[@]}")
        if [[ -n $(missing containerd.io) ]]; then wanted+=(containerd runc); fi
    fi
    packages=$(missing "${wanted[@]}")
    [[ -z $packages ]] && return 0
    # shellcheck disable=SC2086 # one package a word
    apt_install $packages
}

case "${1:-} ${2:-}" in
    "python "?*) setup_python "$2" ;;
    "packages ") setup_packages ;;
    *) fail "usage: $0 python VENV | packages" ;;
esac
