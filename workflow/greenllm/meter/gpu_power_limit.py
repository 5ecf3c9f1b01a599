"""The power limit of one GPU, through NVML: read, set, and the range that its driver permits."""

from typing import Any


class PowerLimitError(Exception):
    """NVML refused; the message says why. `needs_right`: another user could."""

    def __init__(self, reason: str, needs_right: bool = False) -> None:
        super().__init__(reason)
        self.needs_right = needs_right


class GpuPowerLimit:
    """The power limit of a GPU, in milliwatts as NVML counts it. Each method raises PowerLimitError where it fails.

    NVML API reference, nvmlDeviceSetPowerManagementLimit: it needs administrator's rights, and a limit ends with the
    loaded driver, at the latest with the boot.
    """

    def __init__(self, uuid: str) -> None:
        """Find the GPU. Raises PowerLimitError where NVML does not know it."""
        try:
            import pynvml
        except ImportError as error:
            raise PowerLimitError(str(error)) from None
        self._nvml: Any = pynvml
        self.uuid = uuid
        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        except pynvml.NVMLError as error:
            raise PowerLimitError(f"NVML: {error}") from None

    def read_mW(self) -> int:
        """Return the limit that is set."""
        return int(self._asked("nvmlDeviceGetPowerManagementLimit"))

    def in_effect_mW(self) -> int:
        """Return the limit in effect: the least of the one that is set and of all others, such as the board's."""
        return int(self._asked("nvmlDeviceGetEnforcedPowerLimit"))

    def range_mW(self) -> tuple[int, int]:
        """Return the lowest and the highest limit that may be set."""
        least, most = self._asked("nvmlDeviceGetPowerManagementLimitConstraints")
        return int(least), int(most)

    def set(self, limit_mW: int) -> None:
        """Set the limit."""
        self._asked("nvmlDeviceSetPowerManagementLimit", limit_mW)

    def _asked(self, function: str, *arguments: int) -> Any:
        nvml = self._nvml
        try:
            return getattr(nvml, function)(self._handle, *arguments)
        except nvml.NVMLError as error:
            raise PowerLimitError(f"NVML: {error}", isinstance(error, nvml.NVMLError_NoPermission)) from None
