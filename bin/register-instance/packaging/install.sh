#!/bin/bash
# Installs register-instance and its unit, and starts it. Runs as user data, and as the script of the State Manager
# document. `make package` fills in the checksums; ARTIFACTS is where the files of dist/ are.
set -euo pipefail
umask 077

ARTIFACTS="${ARTIFACTS:-@ARTIFACTS@}"              # s3://bucket/folder or https://host/folder
OPTIONS="${OPTIONS:-}"                             # of every run, such as --hub-account 111111111111; empty keeps them
SHA256_X86_64="${SHA256_X86_64:-@SHA256_X86_64@}"
SHA256_AARCH64="${SHA256_AARCH64:-@SHA256_AARCH64@}"
SHA256_UNIT="${SHA256_UNIT:-@SHA256_UNIT@}"

# A test installs under another folder.
ROOT="${INSTALL_ROOT:-}"

fail() { echo "install register-instance: $1" >&2; exit 1; }

# The files of profiles are kept out: once an agent is registered, they hold the central account's credentials.
export AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_CONFIG_FILE=/dev/null

fetch() { # name file
  case "$ARTIFACTS" in
    s3://*) aws s3 cp --only-show-errors "$ARTIFACTS/$1" "$2" ;;
    https://* | file://*) curl --fail --silent --show-error --location --retry 5 --output "$2" "$ARTIFACTS/$1" ;;
    *) fail "ARTIFACTS has to begin with s3:// or https://, got $ARTIFACTS" ;;
  esac
}

# Nothing is put in place before its checksum is right.
install_checked() { # name checksum mode target
  [[ "$2" =~ ^[0-9a-f]{64}$ ]] || fail "there is no checksum for $1: build it with make package"
  fetch "$1" "$work/$1" || fail "cannot fetch $ARTIFACTS/$1"
  echo "$2  $work/$1" | sha256sum --check --status || fail "$1 has another checksum than $2; nothing was installed"
  install -D -m "$3" "$work/$1" "$4.new"
  mv -f "$4.new" "$4"
}

allowed='^[A-Za-z0-9 ./_=-]*$'
[[ "$OPTIONS" =~ $allowed ]] || fail "OPTIONS may have letters, digits, blanks, and ./_=- alone, got $OPTIONS"

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

case "$(uname -m)" in
  x86_64) binary=register-instance-x86_64 checksum="$SHA256_X86_64" ;;
  aarch64) binary=register-instance-aarch64 checksum="$SHA256_AARCH64" ;;
  *) fail "there is no register-instance for $(uname -m)" ;;
esac
install_checked "$binary" "$checksum" 755 "$ROOT/usr/local/sbin/register-instance"

kept="$ROOT/etc/default/register-instance"
if [ -n "$OPTIONS" ] || [ ! -e "$kept" ]; then
  install -d -m 755 "$ROOT/etc/default"
  echo "OPTIONS='$OPTIONS'" > "$kept"
fi

if command -v systemctl > /dev/null; then
  install_checked register-instance.service "$SHA256_UNIT" 644 "$ROOT/etc/systemd/system/register-instance.service"
  systemctl daemon-reload
  systemctl enable register-instance.service
  # Not waited for: the run stops the agent, which may be what runs this script.
  systemctl restart --no-block register-instance.service
else
  # upstart (Amazon Linux of 2018): the script of a boot starts it.
  [ ! -e "$ROOT/etc/rc.local" ] || sed -i --follow-symlinks /register-instance/d "$ROOT/etc/rc.local"
  cat >> "$ROOT/etc/rc.local" << 'END'
(OPTIONS=; . /etc/default/register-instance; exec /usr/local/sbin/register-instance --wait-for-network --timeout 15m --json $OPTIONS) >> /var/log/register-instance.log 2>&1 &
END
  . "$kept"
  nohup "$ROOT/usr/local/sbin/register-instance" --wait-for-network --timeout 15m --json $OPTIONS \
    >> "$ROOT/var/log/register-instance.log" 2>&1 < /dev/null &
fi
