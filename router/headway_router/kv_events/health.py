"""Do an engine's events join our requests?  Judged by the recent ones."""

from collections import Counter

from headway_router.kv_events.outcomes import CacheKnowledge, StoredOutcome

WINDOW_BLOCKS = 2000.0
"""Evidence counts half once so much has come after it."""
ENOUGH_BLOCKS = 16
"""Less of what does not join is no verdict."""
LOST_SHARE, REGAINED_SHARE = 0.5, 0.25
"""Of blocks that should join and do not; apart, so that the verdict does not flap."""


class JoinHealth:
    """Blocks of requests that others sent say nothing, nor does it, once an engine has named a
    session, if some of its requests have none."""

    def __init__(self) -> None:
        self._joined = self._orphans = self._nameless = 0.0
        self._knowledge = CacheKnowledge.UNPROVEN

    @property
    def knowledge(self) -> CacheKnowledge:
        return self._knowledge

    def count(self, stored: Counter[StoredOutcome]) -> None:
        self._joined += stored[StoredOutcome.JOINED]
        self._orphans += stored[StoredOutcome.UNKNOWN_PARENT]
        self._nameless += stored[StoredOutcome.NO_SESSION]
        if stored.total() > stored[StoredOutcome.NO_SESSION]:
            self._nameless = 0.0
        unjoined = self._orphans + self._nameless
        total = self._joined + unjoined
        if not total:
            return
        if unjoined > LOST_SHARE * total and unjoined >= ENOUGH_BLOCKS:
            self._knowledge = CacheKnowledge.UNJOINED
        elif unjoined <= REGAINED_SHARE * total:
            self._knowledge = CacheKnowledge.EXACT
        if total > WINDOW_BLOCKS:
            self._joined /= 2
            self._orphans /= 2
            self._nameless /= 2

    def reset(self) -> None:
        """Nothing is known of the engine any more."""
        self._joined = self._orphans = self._nameless = 0.0
        self._knowledge = CacheKnowledge.UNPROVEN
