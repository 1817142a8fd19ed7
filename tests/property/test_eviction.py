"""Names that somebody invents are forgotten, which changes nothing; and very many refusals are taken in parts."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.reasons import Reason
from streams.runtime.batches import Record
from streams.telemetry.kernel import eviction
from streams.telemetry.kernel.partition import PartitionKernel
from tests.property.kernel_logs import BASE_MS, KEY, TABLE, logs, measured, new_run, paired, pairings, run
from tests.property.test_corrected_pairings import FAR_MS, corrections

CUTS = st.lists(st.integers(0, 80), max_size=12)


@given(logs(), CUTS, st.lists(st.booleans(), max_size=12))
@settings(deadline=None, max_examples=80)
def test_forgetting_after_every_batch_changes_no_outcome(log, cuts, closes):
    remembering = run(log, cuts, closes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eviction, "MAX_UNUSED_NAMES", -(10**9))
        forgetful = run(log, cuts, closes)
    assert forgetful.windows == remembering.windows
    assert forgetful.late == remembering.late
    assert forgetful.quarantined == remembering.quarantined
    assert sorted(forgetful.quarantined_rows) == sorted(remembering.quarantined_rows)
    assert forgetful.kernel.settled() == remembering.kernel.settled()
    assert forgetful.devices == remembering.devices


@given(logs(most=40), corrections(), st.integers(0, 40))
@settings(deadline=None, max_examples=40)
def test_a_pairing_corrected_between_forgetting_comes_to_the_same(log, corrected, cut):
    def outcome():
        r, at = new_run(), cut % len(log)
        r.add(r.kernel.ingest(log[:at], pairings(), 1))
        r.kernel.learn(corrected, 2)
        r.add(r.kernel.ingest(log[at:], corrected, 2))
        r.close(FAR_MS)
        return r.windows, sorted(r.quarantined_rows), r.late, r.quarantined

    remembered = outcome()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(eviction, "MAX_UNUSED_NAMES", -(10**9))
        assert outcome() == remembered


def _naming(offset: int, device: str, patient: str) -> Record:
    record = measured(offset, BASE_MS + offset, device)
    return record._replace(value=orjson.dumps(orjson.loads(record.value) | {"patient_id": patient}))


def test_a_hundred_thousand_invented_devices_and_patients_are_not_remembered():
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    for first in range(0, 100_000, 5_000):
        records = [_naming(at, f"invented-{at}", f"nobody-{at}") for at in range(first, first + 4_999)]
        records.append(_naming(first + 4_999, "d3", f"nobody-{first}"))
        found = kernel.ingest(records, pairings(), 1)
        assert {reading.reason for reading in found.quarantined[:-1]} == {Reason.UNPAIRED}
        assert found.quarantined[-1].reason == Reason.PATIENT_MISMATCH
        assert len(kernel.decoder.devices) <= eviction.MAX_UNUSED_NAMES + 5_000
        assert len(kernel.decoder.patients) <= len(pairings())
        assert len(kernel.store.devices.watermark) <= 2 * (eviction.MAX_UNUSED_NAMES + 5_000)


def test_a_device_that_measured_is_known_again_after_thousands_that_did_not(monkeypatch):
    monkeypatch.setattr(eviction, "MAX_UNUSED_NAMES", 10)
    r = new_run()
    r.add(r.kernel.ingest([measured(0, BASE_MS)], pairings(), 1))
    for at in range(1, 200):
        r.add(r.kernel.ingest([measured(at, BASE_MS + at, f"invented-{at}")], pairings(), 1))
    r.add(r.kernel.ingest([measured(200, BASE_MS + 200)], pairings() | {("north", "d9"): paired("d9")}, 2))
    r.close(FAR_MS)
    (window,) = (orjson.loads(value) for value in r.windows.values())
    assert (window["count"], window["source"]["first_offset"], window["source"]["last_offset"]) == (2, 0, 200)


def test_frames_of_very_many_refusals_are_validated_one_after_the_other():
    frame = b'{"tenant_id":"north","device_id":"d0","readings":[' + b",".join([b"1"] * 10_000) + b"]}"
    log = [Record(at, BASE_MS, b"d", frame, ()) for at in range(3)] + [measured(3, BASE_MS)]
    kernel = PartitionKernel("telemetry.readings", 0, TABLE, KEY)
    parts, more = [], True
    while more:
        ingested = kernel.ingest(log, pairings(), 1)
        parts.append((len(ingested.quarantined), ingested.opened, kernel.position))
        more = ingested.more
    assert parts == [(10_000, 0, 1), (10_000, 0, 2), (10_000, 1, 4)]


@given(logs(most=30), CUTS)
@settings(deadline=None, max_examples=30)
def test_a_batch_taken_in_small_parts_comes_to_the_same(log, cuts):
    log = [r._replace(value=b" " + r.value.replace(b"device_id", b"device\\u005fid")) for r in log]
    whole = run(log, cuts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("streams.telemetry.kernel.decode.MAX_MEASUREMENTS", 3)
        patch.setattr("streams.telemetry.kernel.decode.MAX_BYTES", 700)
        r, more = new_run(), True
        while more:
            ingested = r.kernel.ingest(log, pairings(), 1)
            r.add(ingested)
            more = ingested.more
        r.close(FAR_MS)
    assert r.windows == whole.windows
    assert sorted(r.quarantined) == sorted(whole.quarantined)
    assert sorted(r.late) == sorted(whole.late)
