"""SSH: connect to nodes, run scripts, send files, open tunnels, hold the run lock.

The only package that imports fabric and paramiko. A node needs `sh`, coreutils and util-linux, which every Debian
has, and sudo unless the login user is root.
"""

from provision.remote.lock import Lock
from provision.remote.remote import Remote, connect
from provision.remote.remotes import Remotes, in_parallel, merged
from provision.remote.shell import Result
from provision.remote.target import Login
from provision.remote.trust import Trust, trust

__all__ = ["Lock", "Login", "Remote", "Remotes", "Result", "Trust", "connect", "in_parallel", "merged", "trust"]
