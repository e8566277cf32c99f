"""Verification of server certificates, for cameras and servers."""

import os
import ssl
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator

BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Ubuntu
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # Alpine
)
"""Trusted authorities, by distribution."""


def _checked(value: object, *, switch_off: bool) -> object:
    if value is True or (value is False and switch_off):
        return value
    if isinstance(value, str) and Path(value).is_absolute() and "\0" not in value:
        return value
    off = "false for no check, " if switch_off else ""
    raise ValueError(
        f"expected true, {off}or the absolute path of a PEM file with the authority's certificate"
    )


TlsVerify = Annotated[bool | str, BeforeValidator(partial(_checked, switch_off=True))]
"""True: verify against the system's authorities; a path: against those in the file; False: do not verify."""

RequiredTlsVerify = Annotated[bool | str, BeforeValidator(partial(_checked, switch_off=False))]
"""The same without False."""


def ca_file(verify: bool | str) -> str:
    """The file with the trusted authorities: the named one, else that of SSL_CERT_FILE, else the system's."""
    if isinstance(verify, str):
        return verify
    named = os.environ.get("SSL_CERT_FILE", "")
    return next((path for path in (named, *BUNDLES) if path and Path(path).is_file()), BUNDLES[0])


def client_context(verify: bool | str) -> ssl.SSLContext:
    """A client context; host names are verified as well.

    Raises:
        OSError: the file with the authorities cannot be read, or holds no certificate.
    """
    if verify is False:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    return ssl.create_default_context(cafile=ca_file(verify))
