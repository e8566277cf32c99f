#!/usr/bin/env bash
# Install Facend on this machine: the program in /opt/facend, settings in /etc/facend, the service enabled.
# Also upgrades: settings and data stay, and the old program runs until the new one is complete.
#
#   DESTDIR=/somewhere  installs the files below this folder, without changing users and services
set -euo pipefail
unset CDPATH
root=${DESTDIR:-}
root=${root%/}
[ -z "$root" ] || root=$(realpath -m -- "$root") # before cd, because it may be relative
cd -- "$(dirname -- "$0")/.."
. .ci/environment.sh

home=/opt/facend
new=$root$home/venv.new
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "must run as root: use 'sudo make install'"

prepare_system
# The service runs as another user, who cannot read a Python in a home folder.
case $("$python" -c 'import sys; print(sys.base_prefix)') in
  /home/* | /root/*) fail "$python is in a home folder, which the service cannot read; set PYTHON=/usr/bin/python3" ;;
esac

say "Installing the program into $root$home (900 MB; 1 to 5 minutes)"
umask 022
mkdir -p "$root$home"
"$python" -m venv --clear --prompt facend "$new"
fill_venv "$new" requirements.lock --no-compile
check_libraries "$new"
# Built in a copy, so that no files owned by root are left in the checkout.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R pyproject.toml README.md LICENSE daemon cameras pipeline store "$copy"
log=$("$new/bin/python" -m pip install -q --no-deps --no-build-isolation --no-compile --force-reinstall "$copy" 2>&1) ||
  fail "$log"
"$new/bin/python" .ci/man "$root/usr/local/share/man/man1/facend.1"
.ci/completion "$new/bin/python" "$root/usr/local/share"
# Scripts contain the path of the environment: replace it by the final one.
"$new/bin/python" .ci/move_venv "$new" "$home/venv"
# Some packages contain files for other Python versions, which do not compile here.
"$new/bin/python" -m compileall -q -j 0 -s "$new" -p "$home/venv" "$new/lib" >/dev/null || true
rm -rf "$root$home/venv.old"
[ ! -d "$root$home/venv" ] || mv "$root$home/venv" "$root$home/venv.old"
mv "$new" "$root$home/venv"
rm -rf "$root$home/venv.old"

install -d "$root/usr/local/bin"
rm -f "$root/usr/local/bin/facend"
cat >"$root/usr/local/bin/facend" <<END
#!/bin/sh
# The installed program uses the installed settings, in any folder.
export FACEND_SETTINGS="\${FACEND_SETTINGS:-/etc/facend/settings.toml}"
exec $home/venv/bin/facend "\$@"
END
chmod 755 "$root/usr/local/bin/facend"
install -D -m 644 systemd/facend.service "$root/etc/systemd/system/facend.service"
install -D -m 644 systemd/facend.sysusers "$root/etc/sysusers.d/facend.conf"
install -D -m 644 systemd/facend.tmpfiles "$root/etc/tmpfiles.d/facend.conf"
systemd/install-share.sh "$root/usr/local/share/facend"
install -d -m 750 "$root/etc/facend"
if [ -e "$root/etc/facend/settings.toml" ]; then
  say "Keeping $root/etc/facend/settings.toml"
else
  sed 's|^# data_dir = .*|data_dir = "/var/lib/facend"|' settings.toml >"$root/etc/facend/settings.toml"
  chmod 640 "$root/etc/facend/settings.toml"
fi

if [ -z "$root" ]; then
  for tool in systemd-sysusers systemd-tmpfiles systemctl; do
    command -v "$tool" >/dev/null || fail "the files are installed, but $tool is missing: the service was not created"
  done
  systemd-sysusers facend.conf
  systemd-tmpfiles --create facend.conf
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet facend.service
    systemctl try-restart facend.service
  else
    systemctl enable --quiet facend.service
    say "systemd is not running; the service will start at the next boot with systemd"
  fi
fi
say "Installed. Next:"
say "  1. add your cameras to $root/etc/facend/settings.toml"
say "  2. sudo -u facend facend check"
say "  3. sudo systemctl restart facend    (log: journalctl -fu facend)"
