"""What can go wrong, one class per error code of the protocol.

Every message ends with what to do about it. Catch :class:`PlanegymError` for
all of them, or the built-in class that fits (``TimeoutError``,
``ConnectionError``, ``PermissionError``, ``ValueError``).
"""

from __future__ import annotations

from typing import Any, ClassVar


class PlanegymError(Exception):
    """Base of every error of this package.

    Attributes:
        code: the protocol's code, ``""`` where the error never crossed the wire.
        message: what happened, without the advice.
        row: the environment row at fault, or None.
        retry_ms: after how many milliseconds trying again makes sense, or None.
        fatal: whether the connection is over.
    """

    code: str = ""
    advice: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        row: int | None = None,
        retry_ms: int | None = None,
        fatal: bool = False,
    ) -> None:
        self.message = message
        self.row = row
        self.retry_ms = retry_ms
        self.fatal = fatal
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.message}. {self.advice}" if self.advice else self.message

    def __reduce__(self) -> tuple[Any, ...]:  # worker processes send errors home
        return _rebuild, (type(self), self.message, self.row, self.retry_ms, self.fatal, self.code)


def _rebuild(
    cls: type[PlanegymError],
    message: str,
    row: int | None,
    retry_ms: int | None,
    fatal: bool,
    code: str,
) -> PlanegymError:
    e = cls(message, row=row, retry_ms=retry_ms, fatal=fatal)
    e.code = code
    return e


# --- errors that this side finds


class ServerNotRunningError(PlanegymError, ConnectionError):
    """Nothing answers at the URL."""

    advice = (
        "Start a server with `planegym serve`, or from Python with planegym.launch(); "
        "a server elsewhere is named by the url argument or PLANEGYM_URL."
    )


class BinaryNotFoundError(PlanegymError, FileNotFoundError):
    """:func:`planegym.launch` found no planegym binary."""

    advice = (
        "Set PLANEGYM_BIN to a planegym binary or put one on PATH; install a planegym wheel of "
        "this platform, which carries it; or, where Go is, `pip install ./python` in a clone of "
        "the repository, which builds it."
    )


class LaunchError(PlanegymError, RuntimeError):
    """The server that :func:`planegym.launch` started ended, or never answered."""

    advice = "What it printed stands above; run the same command in a terminal to look closer."


class PendingError(PlanegymError):
    """A reply is still outstanding, so this call cannot be sent."""

    advice = "Take the reply with step_wait() or recv(), or drop it with reset()."


class ProtocolError(PlanegymError, ConnectionError):
    """The other end does not speak planegym.v1 as written down."""

    advice = "Check that the url is a planegym server's; if it is, report this with both versions."


# --- errors that the server reports


class BadFrameError(PlanegymError):
    """The server could not read a message."""

    code = "bad_frame"
    advice = "This is a fault of the client: report it with both versions."


class BadVersionError(PlanegymError, ConnectionError):
    """Client and server share no protocol version."""

    code = "bad_version"
    advice = (
        "Install the Python package and the server of one release: `pip show planegym` and "
        "`planegym doctor` name the two."
    )


class InvalidActionError(PlanegymError, ValueError):
    """An action is not in the action space; nothing was stepped."""

    code = "invalid_action"
    advice = "Actions are integers within action_space; nothing was stepped, so step again."


class ClosedError(PlanegymError):
    """The environment was closed before this call."""

    code = "closed"
    advice = "Make a new one."


class ResetRequiredError(PlanegymError):
    """A step came before the first reset, or its predecessor's outcome is unknown."""

    code = "reset_required"
    advice = "Call reset() first."


class EpisodeOverError(PlanegymError):
    """A step came after terminated or truncated, without autoreset."""

    code = "episode_over"
    advice = "Call reset(), for a VectorEnv with options={'reset_mask': terminated | truncated}."


class SkippedError(PlanegymError):
    """A pipelined step was not executed, since an earlier one failed."""

    code = "skipped"
    advice = "Fix what the earlier error names and send the step again."


class UnknownScenarioError(PlanegymError, ValueError):
    """The server has no such scenario."""

    code = "unknown_scenario"
    advice = "`planegym scenario list` prints what can be served."


class InvalidConfigError(PlanegymError, ValueError):
    """The scenario refuses an argument of make."""

    code = "invalid_config"
    advice = "Correct the argument that the message names."


class InvalidRowsError(PlanegymError, ValueError):
    """Rows are out of range or named twice, or seeds do not match them in number."""

    code = "invalid_rows"
    advice = "Rows are distinct integers in [0, num_envs)."


class BadSnapshotError(PlanegymError, ValueError):
    """A state does not fit this environment, or the environment takes none."""

    code = "bad_snapshot"
    advice = "Restore what get_state() of an equal environment gave."


class UnknownEnvError(PlanegymError):
    """The server holds no such environment in this session."""

    code = "unknown_env"
    advice = "Call reset(): it makes the environment anew."


class ModelUnavailableError(PlanegymError):
    """The scenario's model or data is missing on the server."""

    code = "model_unavailable"
    advice = "Start the server with the data or model that the message names."


class SessionBusyError(PlanegymError):
    """Another connection holds the session."""

    code = "session_busy"
    advice = "Use one environment object per process and thread, or wait for the other to end."


class SessionLostError(PlanegymError, ConnectionError):
    """The episode is gone: the connection broke and the session could not be resumed."""

    code = "session_lost"
    advice = "Call reset(): it connects again and starts a new episode."


class CapacityError(PlanegymError):
    """A limit of the server does not allow this."""

    code = "capacity"
    advice = "Close environments, ask for fewer at once, or raise the server's limit."


class RateLimitedError(PlanegymError):
    """Too many messages a second."""

    code = "rate_limited"
    advice = "Step in larger batches, or raise the server's limit."


class StepTimeoutError(PlanegymError, TimeoutError):
    """The environment missed the server's deadline; its late result is dropped."""

    code = "timeout"
    advice = "Call reset(), or raise the server's step deadline."


class ReplyTimeoutError(StepTimeoutError):
    """No reply within this side's timeout. Nothing is lost: it is still awaited."""

    advice = (
        "Call reset() to drop the late reply, or, in a VectorEnv, step_wait() or recv() to go on "
        "waiting for it; timeout= in seconds sets the patience."
    )


class SlowConsumerError(PlanegymError, ConnectionError):
    """Replies were not read fast enough and the server cut the connection."""

    code = "slow_consumer"
    advice = "Receive before sending more, then call reset()."


class DrainingError(PlanegymError, ConnectionError):
    """The server is shutting down."""

    code = "draining"
    advice = "Connect to another server, or wait for this one to come back."


class InternalError(PlanegymError):
    """The environment crashed on the server; the session is over."""

    code = "internal"
    advice = "The server's log has the stack: report it. reset() starts a new session."


class EnvError(PlanegymError):
    """The environment itself failed on the server."""

    code = "env_error"
    advice = "The server's log says more; call reset() to start a new episode."


class UnauthorizedError(PlanegymError, PermissionError):
    """The server wants a token, or another one."""

    code = "unauthorized"
    advice = (
        "Pass token=, or set PLANEGYM_TOKEN, to what the server's token file holds; a pickled "
        "environment leaves its token behind, so set PLANEGYM_TOKEN where it is used."
    )


BY_CODE: dict[str, type[PlanegymError]] = {
    c.code: c
    for c in (
        BadFrameError,
        BadVersionError,
        InvalidActionError,
        InvalidRowsError,
        InvalidConfigError,
        BadSnapshotError,
        ClosedError,
        InternalError,
        ResetRequiredError,
        EpisodeOverError,
        SkippedError,
        UnknownScenarioError,
        UnknownEnvError,
        ModelUnavailableError,
        SessionBusyError,
        SessionLostError,
        CapacityError,
        RateLimitedError,
        StepTimeoutError,
        SlowConsumerError,
        DrainingError,
        EnvError,
        UnauthorizedError,
    )
}


def from_code(
    code: str,
    message: str,
    *,
    row: int | None = None,
    retry_ms: int | None = None,
    fatal: bool = False,
) -> PlanegymError:
    """The error of a code; a code of a newer server becomes a plain PlanegymError."""
    e = BY_CODE.get(code, PlanegymError)(message, row=row, retry_ms=retry_ms, fatal=fatal)
    e.code = code
    return e
