"""What each role may do: the one table that pages, forms and tests use.

Programs come in by API keys, whose scopes are another matter (`accounts.models.Scope`).
"""

from __future__ import annotations

from enum import StrEnum


class Permission(StrEnum):
    """One for each kind of act. The value is its stable name; `PERMISSIONS_IN_WORDS` tells people."""

    READ = "read"
    READ_CONTENT = "read_content"
    ACT_ON_MAIL = "act_on_mail"
    SHARE_TIMELINES = "share_timelines"
    SAVE_FILTERS = "save_filters"
    EXPORT_MAIL = "export_mail"
    MANAGE_DOMAINS = "manage_domains"
    MANAGE_CREDENTIALS = "manage_credentials"
    MANAGE_TEMPLATES = "manage_templates"
    MANAGE_SUPPRESSIONS = "manage_suppressions"
    MANAGE_WEBHOOKS = "manage_webhooks"
    READ_AUDIT = "read_audit"
    MANAGE_SETTINGS = "manage_settings"
    MANAGE_MEMBERS = "manage_members"
    MANAGE_OWNERS = "manage_owners"
    MANAGE_SIGN_IN = "manage_sign_in"
    DELETE_ORGANIZATION = "delete_organization"

    @property
    def in_words(self) -> str:
        return PERMISSIONS_IN_WORDS[self]


PERMISSIONS_IN_WORDS = {
    Permission.READ: "See domains with their history, messages, timelines and figures",
    Permission.READ_CONTENT: "Read the content of messages",
    Permission.ACT_ON_MAIL: "Retry, hold, release and cancel mail, and send tests",
    Permission.SHARE_TIMELINES: "Share the timeline of a message by a link, and revoke such links",
    Permission.SAVE_FILTERS: "Save and remove filters of the message list",
    Permission.EXPORT_MAIL: "Export what the message list finds, as files",
    Permission.MANAGE_DOMAINS: "Add, change and remove domains, and rotate their keys",
    Permission.MANAGE_CREDENTIALS: "Make and revoke SMTP users and API keys",
    Permission.MANAGE_TEMPLATES: "Make, change, publish and delete templates",
    Permission.MANAGE_SUPPRESSIONS: "Add and remove suppressed addresses",
    Permission.MANAGE_WEBHOOKS: "Add, change and remove webhooks, see their signing secrets, and send events again",
    Permission.READ_AUDIT: "Read and export the audit log",
    Permission.MANAGE_SETTINGS: "Change the organization's settings",
    Permission.MANAGE_MEMBERS: "Invite and remove members, and change their roles, but for owners",
    Permission.MANAGE_OWNERS: "Make and unmake owners, and hand the organization over",
    Permission.MANAGE_SIGN_IN: "Ask every member for a second factor",
    Permission.DELETE_ORGANIZATION: "Delete the organization, and undo that",
}

_VIEWER = frozenset({Permission.READ})
_DEVELOPER = _VIEWER | {
    Permission.READ_CONTENT,
    Permission.ACT_ON_MAIL,
    Permission.SHARE_TIMELINES,
    Permission.SAVE_FILTERS,
    Permission.EXPORT_MAIL,
    Permission.MANAGE_DOMAINS,
    Permission.MANAGE_CREDENTIALS,
    Permission.MANAGE_TEMPLATES,
    Permission.MANAGE_SUPPRESSIONS,
    Permission.MANAGE_WEBHOOKS,
}
_ADMIN = _DEVELOPER | {Permission.READ_AUDIT, Permission.MANAGE_SETTINGS, Permission.MANAGE_MEMBERS}
_OWNER = frozenset(Permission)

# By role (accounts.models.Role), the most powerful first.
PERMISSIONS: dict[str, frozenset[Permission]] = {
    "owner": _OWNER,
    "admin": _ADMIN,
    "developer": _DEVELOPER,
    "viewer": _VIEWER,
}
