#!/usr/bin/env bash
# Put what people read beside the program: dashboard, alert rules, documentation, and the settings with their
# defaults. Whoever an alert wakes has no checkout at hand.
#
#   install-share.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/.."

rm -rf "$1"
install -D -m 644 -t "$1" README.md LICENSE settings.toml
install -D -m 644 -t "$1/dashboards" dashboards/facend.json dashboards/rules.yml
install -D -m 644 -t "$1/docs" docs/*.md
install -D -m 644 -t "$1/docs/plugins" docs/plugins/*.py
