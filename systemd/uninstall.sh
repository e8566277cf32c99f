#!/usr/bin/env bash
# Remove what install.sh installed. Settings, data and the user stay; PURGE=1 removes them too.
#
#   DESTDIR=/somewhere  removes the files below this folder, without changing services
set -euo pipefail
unset CDPATH
root=${DESTDIR:-}
root=${root%/}
[ -z "$root" ] || root=$(realpath -m -- "$root") # before cd, because it may be relative
cd -- "$(dirname -- "$0")/.."
. .ci/environment.sh

[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must run as root: use 'sudo make uninstall'"

if [ -z "$root" ] && [ -e /etc/systemd/system/facend.service ] && command -v systemctl >/dev/null; then
  if [ -d /run/systemd/system ]; then systemctl stop facend.service; fi
  systemctl disable --quiet facend.service
fi
rm -rf "$root/opt/facend" "$root/usr/local/share/facend"
rm -f "$root/usr/local/share/man/man1/facend.1" "$root/usr/local/share/bash-completion/completions/facend" \
  "$root/usr/local/share/zsh/site-functions/_facend" \
  "$root/usr/local/share/fish/vendor_completions.d/facend.fish"
rm -f "$root/usr/local/bin/facend" "$root/etc/systemd/system/facend.service" \
  "$root/etc/sysusers.d/facend.conf" "$root/etc/tmpfiles.d/facend.conf"
if [ -z "$root" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi

if [ "${PURGE:-}" = 1 ]; then
  rm -rf "$root/etc/facend" "$root/var/lib/facend"
  if [ -z "$root" ] && getent passwd facend >/dev/null; then userdel facend; fi
  say "Removed the program, settings, data and the user facend."
else
  say "Removed the program. Settings in $root/etc/facend and data in $root/var/lib/facend stay; PURGE=1 removes them."
fi
