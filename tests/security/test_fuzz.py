"""What the OpenAPI document allows and what it does not, made up by schemathesis, to the whole product as a process.

Every answer has a status that the document names, and is as the document says; errors have the one shape. `make fuzz`
is the long form.
"""

from itertools import cycle
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from omni_app.api.openapi import document
from tests.cases import fuzzing
from tests.security.processes import Product

SHORT, LONG = 8, 1_000
"""Cases of each operation and kind."""
SCHEMA = schemathesis.openapi.from_dict(document())
OPERATIONS = {
    f"{one.ok().method.upper()} {one.ok().path}": one.ok() for one in SCHEMA.get_all_operations() if isinstance(one, Ok)
}
KINDS = [
    (name, mode)
    for name, operation in OPERATIONS.items()
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
    if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters
]
"""What takes nothing can be given nothing wrong."""
CHECKS = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]


def test_every_operation_of_the_document_is_tried() -> None:
    documented = {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}
    assert OPERATIONS.keys() == documented


@pytest.mark.fuzz
@pytest.mark.timeout(0 if fuzzing() else 120)
@pytest.mark.parametrize(("name", "mode"), KINDS)
def test_every_answer_is_as_the_document_says(product_process: Product, name: str, mode: GenerationMode) -> None:
    keys = cycle(({"Authorization": f"Bearer {product_process.key}"}, {"X-API-Key": product_process.key}, {}))
    before = len(product_process.log)
    statuses: set[int] = set()

    def tried(case: Case) -> None:
        # What was made up for these two headers is a key that nobody has; the test of keys is elsewhere.
        for header in KEY_HEADERS:
            case.headers.pop(header, None)
        answer = case.call(base_url=product_process.address, headers=next(keys), timeout=60)
        case.validate_response(answer, checks=CHECKS)
        statuses.add(answer.status_code)
        if answer.status_code >= 400:
            assert_has_the_error_shape(answer.json(), path=case.path)

    count = LONG if fuzzing() else SHORT
    strategy: st.SearchStrategy[Case] = OPERATIONS[name].as_strategy(generation_mode=mode)
    run = settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    run(given(strategy)(tried) if fuzzing() else seed(1)(given(strategy)(tried)))()
    assert statuses - {500} == statuses
    assert "Traceback" not in product_process.log[before:]


KEY_HEADERS = ("authorization", "x-api-key")


def assert_has_the_error_shape(body: Any, *, path: str) -> None:
    error = body["error"]
    assert error["message"] and body["request_id"]
    assert (body["type"] == "error" and error["type"]) if path == "/v1/messages" else error["code"]
