"""Stop strings: an answer ends before the first of them, also where it arrives in pieces."""

from collections.abc import Sequence


class StopStrings:
    """Finds the first stop string in the text of an answer. Text that may begin one is held back."""

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = stop
        self._held = ""
        self.found = False

    def add(self, piece: str) -> str:
        """Add new text; return the text that can't be part of a stop string, up to a found one."""
        text = self._held + piece
        self.found = any(stop in text for stop in self._stop)
        shown = min((text.find(stop) for stop in self._stop if stop in text), default=len(text) - self._begun(text))
        self._held = "" if self.found else text[shown:]
        return text[:shown]

    def rest(self) -> str:
        """Return the text that is held back, as no more follows."""
        held, self._held = self._held, ""
        return held

    def _begun(self, text: str) -> int:
        """Return the length of the longest end of a text with which a stop string begins."""
        lengths = (
            length
            for stop in self._stop
            for length in range(1, min(len(stop), len(text) + 1))
            if text.endswith(stop[:length])
        )
        return max(lengths, default=0)
