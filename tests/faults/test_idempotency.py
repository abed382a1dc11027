"""Three gateways, one `Idempotency-Key`: the short form of the play `idempotency` of `make chaos`."""

from pathlib import Path

from tests.faults.idempotency import played


async def test_one_call_and_one_charge_however_often_and_wherever_a_request_is_sent_and_whoever_dies(
    postgres_url: str, tmp_path: Path
) -> None:
    assert await played(tmp_path, postgres_url, count=20, lapse=False)
