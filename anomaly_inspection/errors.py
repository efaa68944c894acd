# SPDX-License-Identifier: Apache-2.0
"""
The errors of the package.

::

    InspectionError
    ├── SettingError     a setting, parameter or option is out of range or of the wrong type
    ├── SourceError      a camera, folder or video cannot be opened or has failed
    ├── FrameError       a frame cannot be judged: size, encoding, truncated, black, saturated
    ├── AlignmentError   the part could not be aligned to its reference
    ├── RecipeError      a recipe is missing, broken or of another version
    ├── LimitError       a limit is refused
    ├── LinkError        the serial link to the device, or a line on it, is not as it must be
    ├── GateError        a gate did not do or did not confirm what it was told
    ├── StateError       the state that outlives a process cannot be read or written
    ├── RecordsError     the records of what a line has produced cannot be read or written
    ├── ReportError      a validation report cannot be read, was changed, or is not signed
    ├── BrokerError      the MQTT broker cannot be reached, or refuses the connection
    ├── CommandError     a command from the plant is refused
    └── AccessError      a person or program may not do this
        └── WaitError    too many wrong passwords came before

Every message names the value it complains about and the allowed range.

"""


class InspectionError(Exception):
    """
    Any error this package raises on purpose.

    """


class SettingError(InspectionError):
    """
    A setting, parameter or option is out of range or of the wrong type.

    """


class SourceError(InspectionError):
    """
    A camera, folder or video cannot be opened or has failed.

    """


class FrameError(InspectionError):
    """
    A frame cannot be judged: another size or encoding, truncated, black or saturated.

    """


class AlignmentError(InspectionError):
    """
    The part could not be aligned to its reference.

    """


class RecipeError(InspectionError):
    """
    A recipe is missing, broken or of another version.

    """


class LimitError(InspectionError):
    """
    A limit is refused: unknown measure, not finite, or on the good side of typical.

    """


class LinkError(InspectionError):
    """
    The serial link to the device, or a line on it, is not as it must be.

    """


class GateError(InspectionError):
    """
    A gate did not do, or did not confirm, what it was told.

    """


class StateError(InspectionError):
    """
    The state that outlives a process cannot be read or written.

    """


class ReportError(InspectionError):
    """
    A validation report cannot be read, was changed, or is not signed by this key.

    """


class RecordsError(InspectionError):
    """
    The records of what a line has produced cannot be read or written.

    """


class BrokerError(InspectionError):
    """
    The MQTT broker cannot be reached, or refuses the connection.

    """


class CommandError(InspectionError):
    """
    A command from the plant is refused.

    Parameters
    ----------
    message : str
        Why.
    request_id : str
        The sender's name for it; '' = it has none that is proper.

    """

    def __init__(self, message: str, request_id: str = '') -> None:
        super().__init__(message)
        self.request_id = request_id


class AccessError(InspectionError):
    """
    A person or program may not do this.

    Parameters
    ----------
    code : str
        The reason as a code, for pages in another language; '' = it has none.
    values : str
        What belongs to the code, by name.

    """

    def __init__(self, message: str, code: str = '', **values: str) -> None:
        super().__init__(message)
        self.code = code
        self.values = values


class WaitError(AccessError):
    """
    Too many wrong passwords came before.

    Parameters
    ----------
    wait_s : float
        How long to wait before the next attempt.

    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f'too many wrong passwords; wait {wait_s:.0f} s and try again')
        self.wait_s = wait_s
