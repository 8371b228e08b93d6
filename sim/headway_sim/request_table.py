"""Every request of a run as a line of CSV."""

import csv
from collections.abc import Iterable
from typing import TextIO

from headway_sim.world.records import RequestRecord

COLUMNS = (
    "number",
    "session",
    "replica",
    "arrived_s",
    "prompt_tokens",
    "estimated_tokens",
    "output_tokens",
    "fate",
    "reason",
    "endpoint",
    "was_held",
    "retries",
    "failed_open",
    "cached_tokens",
    "sent_s",
    "ttft_s",
    "tpot_s",
    "e2e_s",
)


def write_csv(records: Iterable[RequestRecord], file: TextIO) -> None:
    """An empty field: did not happen."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    for record in records:
        table.writerow(
            (
                record.number,
                record.session,
                record.replica,
                record.arrived_ns / 1e9,
                record.prompt_tokens,
                record.estimated_tokens,
                record.output_tokens,
                record.fate,
                record.reason,
                record.endpoint_id,
                int(record.was_held),
                record.retries,
                int(record.failed_open),
                record.cached_tokens,
                None if record.sent_ns is None else record.sent_ns / 1e9,
                record.ttft_s,
                record.tpot_s,
                record.e2e_s,
            )
        )
