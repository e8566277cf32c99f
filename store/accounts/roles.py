"""Roles, and what they permit."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from bson import ObjectId


class Permission(StrEnum):
    SEE = "see"
    """Visits, persons and pictures, of the cameras that the account may see."""
    CHANGE = "change"
    """Persons and reviews: names, merges, enrolment, erasure."""
    MANAGE = "manage"
    """Cameras, accounts, tokens and jobs."""
    AUDIT = "audit"
    """The audit log."""


class Role(StrEnum):
    ADMIN = "admin"
    OPERATOR = "operator"
    VIEWER = "viewer"
    AUDITOR = "auditor"

    @property
    def permissions(self) -> frozenset[Permission]:
        return _PERMISSIONS[self]


_PERMISSIONS: Mapping[Role, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.OPERATOR: frozenset({Permission.SEE, Permission.CHANGE}),
    Role.VIEWER: frozenset({Permission.SEE}),
    Role.AUDITOR: frozenset({Permission.AUDIT}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """The account or token that makes a request, and the owner whose data it may access."""

    owner: ObjectId
    name: str
    """For the audit log: `user anna`, `token ci`, `owner`."""
    role: Role
    cameras: frozenset[str] | None = None
    """The cameras that a viewer may see; None for all."""

    def may(self, permission: Permission) -> bool:
        return permission in self.role.permissions

    def sees(self, cam_id: object) -> bool:
        return self.cameras is None or cam_id in self.cameras

    def limited_to(self, camera: str | None) -> frozenset[str] | None:
        """The cameras of a filter by one camera, or by none: none that it does not see; None for all."""
        if camera is None:
            return self.cameras
        return frozenset({camera}) if self.sees(camera) else frozenset()
