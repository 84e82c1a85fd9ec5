#!/bin/sh
# Starts one service; what it keeps lies in /data, the only place that has to be writable (besides /tmp).
#   redis [OPTION...]   on 6379; options as for redis-server; REDIS_PASSWORD is what it asks for, if it is set
#   rabbitmq            on 5672, management on 15672; RABBITMQ_DEFAULT_USER and RABBITMQ_DEFAULT_PASS (guest,
#                       guest) may log in from anywhere
#   smtp                on 1025; each mail becomes a file in /data/mail
set -eu

redis() {
    # The password comes on standard input: a command line is there for all to see.
    exec redis-server - --bind 0.0.0.0 --protected-mode no --dir /data --save "" "$@" <<CONF
${REDIS_PASSWORD:+requirepass $REDIS_PASSWORD}
CONF
}

rabbitmq() {
    export HOME=/data/rabbitmq
    mkdir -p "$HOME/mnesia" "$HOME/log"
    cat >"$HOME/rabbitmq.conf" <<CONF
listeners.tcp.default = 5672
management.tcp.port = 15672
default_user = ${RABBITMQ_DEFAULT_USER:-guest}
default_pass = ${RABBITMQ_DEFAULT_PASS:-guest}
loopback_users = none
log.console = true
log.console.level = warning
log.file = false
CONF
    echo '[rabbitmq_management].' >"$HOME/enabled_plugins"
    # The node talks to nobody but itself, so its name has to resolve in no DNS.
    export RABBITMQ_NODENAME=rabbit@localhost ERL_EPMD_ADDRESS=127.0.0.1
    export RABBITMQ_CONFIG_FILE="$HOME/rabbitmq.conf" RABBITMQ_ENABLED_PLUGINS_FILE="$HOME/enabled_plugins"
    export RABBITMQ_MNESIA_BASE="$HOME/mnesia" RABBITMQ_LOG_BASE="$HOME/log" RABBITMQ_LOGS=-
    export RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_PID_FILE="$HOME/pid"
    exec /usr/lib/rabbitmq/bin/rabbitmq-server
}

smtp() {
    exec python3 /usr/local/bin/mail.py /data/mail
}

service=${1:?"usage: redis [OPTION...] | rabbitmq | smtp"}
shift
case $service in
    redis | rabbitmq | smtp) "$service" "$@" ;;
    *) exec "$service" "$@" ;;
esac
