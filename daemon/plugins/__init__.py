"""Plugins: Python files that add handlers to the daemon's HTTP port and hooks to its sightings.

A plugin imports from here: `from daemon.plugins import BaseHandler, HttpError, PluginApp, Refuse`.
"""

from daemon.http.errors import HttpError
from daemon.plugins.errors import Refuse
from daemon.plugins.handlers import BaseHandler
from daemon.plugins.plugin_app import PluginApp

__all__ = ["BaseHandler", "HttpError", "PluginApp", "Refuse"]
