#!/usr/bin/env bash
# Install dashboard, alert rules, documentation and default settings, for operators without a checkout.
#
#   install-share.sh FOLDER
set -euo pipefail
unset CDPATH
set -- "$(realpath -m -- "$1")" # before cd, because it may be relative
cd -- "$(dirname -- "$0")/.."

rm -rf "$1"
install -D -m 644 -t "$1" README.md CHANGELOG.md CONTRIBUTING.md LICENSE settings.toml
install -D -m 644 -t "$1/dashboards" dashboards/facend.json dashboards/rules.yml
install -D -m 644 -t "$1/docs" docs/*.md
install -D -m 644 -t "$1/docs/examples" docs/examples/*.py
install -D -m 644 -t "$1/docs/plugins" docs/plugins/*.py
