"""Where a search stopped, so that the next run goes on there."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from odc_bdc.errors import InvalidValueError, SourceError
from odc_bdc.indexing.whole_file import whole_file


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a search: a source, by its number, and the link to the page that comes next."""

    source: int = 0
    link: Mapping[str, Any] | None = None


class Resume:
    """Keeps the place of a search in a small JSON file, for the run after one that was killed.

    What is handed out need not be safe yet: whoever takes the items says so by `done`, when they
    are in the index. The next run starts with the first page that has an item which is not; a
    source that has no pages is read from its beginning.

    Attributes
    ----------
    path
        The file. It is removed when the search is finished and all of it is done.
    resumed
        This run did not start at the beginning: it does not see all items.

    Examples
    --------
    >>> resume = Resume(Path("search.json"))
    >>> resume.resumed
    False
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.resumed = False
        self._search = ""
        self._ahead: deque[tuple[int, Place | None]] = deque()

    def open(self, search: str) -> Place:
        """Give the place where a search of this fingerprint goes on.

        Raises
        ------
        InvalidValueError
            If the file is something else.
        """
        self._search = search
        self._ahead.clear()
        try:
            state = json.loads(self.path.read_text("utf-8"))
        except FileNotFoundError:
            return Place()
        except (OSError, ValueError) as e:
            raise InvalidValueError(f"{self.path}: cannot be read as the state of a search") from e
        if not _is_state(state):
            raise InvalidValueError(f"{self.path}: not the state of a search; name another file")
        if state["search"] != search:
            return Place()
        self.resumed = True
        return Place(state["source"], state["next"])

    def reached(self, count: int, place: Place | None) -> None:
        """Note that the search goes on at `place`, or ends, after `count` items of this run."""
        self._ahead.append((count, place))

    def restart(self) -> None:
        """Note that the place is of no use any more, and the search starts at its beginning."""
        self.resumed = False
        self._ahead.clear()

    def done(self, count: int) -> None:
        """Keep the place that is safe, now that the first `count` items of this run are.

        Raises
        ------
        SourceError
            If the file cannot be written.
        """
        safe = None
        while self._ahead and self._ahead[0][0] <= count:
            safe = self._ahead.popleft()
        if safe is None:
            return
        try:
            if safe[1] is None:
                self.path.unlink(missing_ok=True)
            else:
                self._write(safe[1])
        except OSError as e:
            raise SourceError(f"{self.path}: cannot keep the place of the search: {e}") from e

    def _write(self, place: Place) -> None:
        state = {"search": self._search, "source": place.source, "next": place.link}
        # A killed run leaves the state of before, or this one, and no half of one.
        with whole_file(self.path) as file:
            json.dump(state, file)


def _is_state(state: Any) -> bool:
    if not isinstance(state, dict) or set(state) != {"search", "source", "next"}:
        return False
    link = state["next"]
    is_link = link is None or (isinstance(link, dict) and isinstance(link.get("href"), str))
    return is_link and isinstance(state["source"], int) and state["source"] >= 0
