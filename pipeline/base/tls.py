"""Verification of server certificates, for cameras and servers."""

import os
import ssl
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

from pipeline.base.files import open_regular

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)
"""CA certificates files of the distributions."""


def _check(value: object, *, may_be_off: bool) -> object:
    if value is True or (value is False and may_be_off):
        return value
    if isinstance(value, str) and Path(value).is_absolute() and "\0" not in value:
        return value
    off = "false for no check, " if may_be_off else ""
    raise ValueError(f"expected true, {off}or the absolute path of a PEM file with the CA's certificate")


TlsVerify = Annotated[bool | str, BeforeValidator(partial(_check, may_be_off=True))]
"""True: verify against the system's CA certificates; a path: against those in the file; False: do not
verify."""

RequiredTlsVerify = Annotated[bool | str, BeforeValidator(partial(_check, may_be_off=False))]
"""As TlsVerify, but False is not allowed."""


def ca_file(verify: bool | str) -> str:
    """The CA certificates file: the given path, else the one in SSL_CERT_FILE, else the system's."""
    if isinstance(verify, str):
        return verify
    named = os.environ.get("SSL_CERT_FILE", "")
    return next((path for path in (named, *BUNDLES) if path and Path(path).is_file()), BUNDLES[0])


def client_context(verify: bool | str) -> ssl.SSLContext:
    """A client context that verifies certificates and host names, unless `verify` is False.

    Raises:
        OSError: the CA certificates file cannot be read, or contains no certificate.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    path = ca_file(verify)
    open_regular(Path(path)).close()  # OpenSSL would wait for the other end of a pipe
    return ssl.create_default_context(cafile=path)
