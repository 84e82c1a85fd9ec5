"""The one error of the clusters: what went wrong and what to do next, in words for the person at the terminal.

Raised by every module here, caught only by the command line, which prints it without a traceback.
"""


class ClusterError(RuntimeError):
    """A cluster, a tool or an image could not be made; the message says why and what would mend it."""
