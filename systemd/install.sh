#!/usr/bin/env bash
# Install Facend on this machine: the program in /opt/facend, settings in /etc/facend, the service enabled.
# An upgrade is the same command; settings and data stay, and the old program runs until the new one is whole.
#
#   DESTDIR=/somewhere  puts the files there and leaves this machine's users and services alone
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/environment.sh

root=${DESTDIR:-}
root=${root%/}
home=/opt/facend
new=$root$home/venv.new
[ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "installs for the whole machine: run 'sudo make install'"

prepare_system
# Python runs the service as another user, who cannot read a Python in somebody's home.
case $("$python" -c 'import sys; print(sys.base_prefix)') in
  /home/* | /root/*) fail "$python is in somebody's home, where the service cannot read it; set PYTHON=/usr/bin/python3" ;;
esac

say "Installing the program into $root$home (900 MB; 1 to 5 minutes)"
umask 022
mkdir -p "$root$home"
"$python" -m venv --clear --prompt facend "$new"
fill_venv "$new" requirements.lock --no-compile
prove_venv "$new"
# Built in a copy, so that nothing of root's is left in the checkout.
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp -R pyproject.toml README.md LICENSE daemon cameras pipeline store "$copy"
log=$("$new/bin/python" -m pip install -q --no-deps --no-build-isolation --no-compile --force-reinstall "$copy" 2>&1) ||
  fail "$log"
"$new/bin/python" .ci/man "$root/usr/local/share/man/man1/facend.1"
.ci/completion "$new/bin/python" "$root/usr/local/share"
# Scripts and compiled files name the place where they will be.
grep -rlIF "$new" "$new/bin" "$new/pyvenv.cfg" | xargs -r sed -i "s|$new|$home/venv|g"
# A package may carry files for another Python that don't compile; they are of no use here.
"$new/bin/python" -m compileall -q -j 0 -s "$new" -p "$home/venv" "$new/lib" >/dev/null || true
rm -rf "$root$home/venv.old"
[ ! -d "$root$home/venv" ] || mv "$root$home/venv" "$root$home/venv.old"
mv "$new" "$root$home/venv"
rm -rf "$root$home/venv.old"

install -d "$root/usr/local/bin"
rm -f "$root/usr/local/bin/facend"
cat >"$root/usr/local/bin/facend" <<END
#!/bin/sh
# The installed program means the installed settings, wherever it is called.
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
    command -v "$tool" >/dev/null || fail "the files are in place, but this machine has no $tool: no service was made"
  done
  systemd-sysusers facend.conf
  systemd-tmpfiles --create facend.conf
  if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl enable --quiet facend.service
    systemctl try-restart facend.service
  else
    systemctl enable --quiet facend.service
    say "systemd does not run here; the service starts where it does"
  fi
fi
say "Installed. Next:"
say "  1. name your cameras in $root/etc/facend/settings.toml"
say "  2. sudo -u facend facend check"
say "  3. sudo systemctl restart facend    (its words: journalctl -fu facend)"
