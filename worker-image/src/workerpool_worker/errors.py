"""What can go wrong, by what is to be done about it.

A job fails for good (dead letter) or for now (retry); a broker is away (wait and reconnect); a setting is
wrong (exit 2). Messages say what to do next and never contain secrets.
"""


class JobError(Exception):
    """An attempt at a job failed; the message is the reason in the dead letter."""


class PermanentError(JobError):
    """Another attempt would fail the same way: the job goes to the dead letters at once."""


class TemporaryError(JobError):
    """Another attempt may succeed: the job is retried until its attempts are used up."""


class BrokerError(Exception):
    """The broker cannot be reached or refuses; nothing is lost and the call may be made again."""


class ConfigError(Exception):
    """A setting is wrong; the message names it and the mend."""
