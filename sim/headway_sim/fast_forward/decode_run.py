"""The length of many steps of nothing but decodes, in closed form.

``decodes`` requests add as many KV tokens per step, so the lengths of their steps are an arithmetic
progression, and with first length ``a`` and difference ``2 c``

    k steps take       k a + c k (k - 1)
    t is passed after  k = 2 t / (b + sqrt(b^2 + 4 c t)),   b = a - c

(the root in this form is stable as c goes to 0).
"""

from math import inf, sqrt

from headway_sim.step_model import DecodeLine

FS_PER_S = 1e15


class DecodeRun:
    """Steps from the one that finds ``kv_tokens`` on; times in femtoseconds."""

    __slots__ = ("_first", "_half_difference", "steps")

    def __init__(self, line: DecodeLine, decodes: int, kv_tokens: int) -> None:
        self._first = FS_PER_S * (line.base_s + line.per_kv_token_s * kv_tokens)
        self._half_difference = FS_PER_S * line.per_kv_token_s * decodes / 2
        self.steps = inf
        """As far as the line holds."""
        if line.until_kv_tokens != inf:
            self.steps = max(1, -(-(line.until_kv_tokens - kv_tokens) // decodes))

    @property
    def first_fs(self) -> float:
        return self._first

    def length_fs(self, steps: int) -> int:
        return round(steps * self._first + self._half_difference * steps * (steps - 1))

    def steps_before(self, limit_fs: int, most: int) -> int:
        """How many steps end before ``limit_fs`` after the start; at most ``most``."""
        if limit_fs <= 0:
            return 0
        c = self._half_difference
        b = self._first - c
        # Where steps get shorter (tables are noisy), the root may lie beyond the last of them.
        root = sqrt(max(0.0, b * b + 4 * c * limit_fs))
        steps = min(most, int(2 * limit_fs / (b + root)))
        while steps < most and self.length_fs(steps + 1) < limit_fs:
            steps += 1
        while steps > 0 and self.length_fs(steps) >= limit_fs:
            steps -= 1
        return steps
