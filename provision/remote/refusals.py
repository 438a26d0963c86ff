"""Why no script runs as root after a login that succeeded: sudo, a login shell, a forced command. Pure."""

from __future__ import annotations

from provision.errors import Problem
from provision.remote.connection import Link

_REQUIRETTY = "must have a tty"
"""sudo's message where sudoers sets requiretty."""

_MISSING = "sudo: not found"
"""The shell's message where there is no sudo."""


def of_sudo(link: Link, words: str) -> Problem:
    """Return the problem for the last line that was printed where sudo should have started a shell."""
    user = link.target.user
    if _REQUIRETTY in words:
        advice = f"on the node, in visudo: Defaults:{user} !requiretty"
        return Problem(f"sudo runs only on a terminal (requiretty in sudoers): {words}", link.where, advice)
    if _MISSING in words:
        return Problem(f"sudo is missing: {words}", link.where, "install sudo there, or log in as root")
    advice = f"check that sudo lets this user become root; in visudo: {user} ALL=(ALL:ALL) ALL"
    return Problem(words or "sudo ended without a message", link.where, advice)


def of_password(link: Link, owner: str, *, given: bool) -> Problem:
    """Return the problem where sudo asks for the password of `owner`, and has none, or has refused the one given."""
    user = link.target.user
    if owner not in (user, "%p"):
        what = f"sudo asks for the password of {owner}, not of {user} (targetpw, rootpw or runaspw in sudoers)"
        advice = (
            f"give the password of {owner}: fab --prompt-for-sudo-password; "
            f"or, in visudo: Defaults:{user} !targetpw, !rootpw, !runaspw"
        )
        return Problem(f"{what}, and refused the one given" if given else what, link.where, advice)
    if given:
        advice = "run again with the right one: fab --prompt-for-sudo-password"
        return Problem(f"sudo password of {user} refused", link.where, advice)
    return Problem(f"sudo asks for the password of {user}", link.where, "fab --prompt-for-sudo-password")


def of_shell(link: Link, words: str) -> Problem:
    """Return the problem where the login succeeded and sh did not run. `words`: the last line printed instead."""
    user = link.target.user
    what = f"the login as {user} succeeded, but sh does not run there: {words or 'it ended without a message'}"
    advice = (
        f"look at the login shell (getent passwd {user}), at start-up files that end it or read its input (~/.bashrc), "
        "at command= in ~/.ssh/authorized_keys, and at ForceCommand in sshd_config; once that is mended, this prints a "
        f"number: {link.target.command_line} id -u"
    )
    return Problem(what, link.where, advice)


def of_user(link: Link, number: str, words: str) -> Problem:
    """Return the problem where sh runs, but not as root. `number`: the user's ID; empty where no program runs."""
    user = link.target.user
    what = f"scripts run as user {number} there, not as root" if number else f"sh runs no programs as root: {words}"
    advice = f"log in as root, or in visudo: Defaults:{user} runas_default=root, !noexec"
    return Problem(what, link.where, advice)


def of_sessions(link: Link) -> Problem:
    """Return the problem where sshd opens not even one session on a connection."""
    advice = "set MaxSessions 10 for this user in its sshd_config, then reload sshd"
    return Problem(f"sshd on {link.target.host} opens no session (MaxSessions in sshd_config)", link.where, advice)
