"""The OpenAPI document: what generated clients and readers of `/docs` rely on."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI
from httpx import AsyncClient
from pydantic import BaseModel

from app.api.problems import problem_responses, raises
from app.core.errors import ConflictError, NotFoundError
from app.main import app as documented

PROBLEM = "application/problem+json"


class ShelfNotFoundError(NotFoundError):
    """No shelf with this id."""

    code = "shelf_not_found"


class ShelfFullError(ConflictError):
    """The shelf is full."""

    code = "shelf_full"


@raises(ShelfNotFoundError)
async def get_shelf(shelf_id: str) -> str:
    return shelf_id


def operations() -> Iterator[dict[str, Any]]:
    for path in documented.openapi()["paths"].values():
        yield from path.values()


def test_operations_are_named_after_their_functions() -> None:
    names = [operation["operationId"] for operation in operations()]

    assert {"create_item", "list_items", "read_item", "read_health"} <= {*names}
    assert len(names) == len({*names})


def test_every_error_is_a_problem() -> None:
    for operation in operations():
        for status, response in operation["responses"].items():
            if status >= "400":
                assert list(response["content"]) == [PROBLEM]
                for code, example in response["content"][PROBLEM]["examples"].items():
                    assert example["value"]["code"] == code
                    assert example["value"]["status"] == int(status)


async def test_no_shape_is_described_that_is_not_sent(client: AsyncClient) -> None:
    document = (await client.get("/openapi.json")).text

    assert "HTTPValidationError" not in document


def test_errors_of_bodies_are_documented_where_there_is_a_body() -> None:
    for operation in operations():
        documented = {"413", "415"} & operation["responses"].keys()

        assert documented == ({"413", "415"} if "requestBody" in operation else set())


def test_errors_of_a_route_and_of_its_dependencies_are_documented(app: FastAPI) -> None:
    @app.put("/shelves/{shelf_id}", responses=problem_responses(ShelfFullError))
    async def fill_shelf(shelf: Annotated[str, Depends(get_shelf)]) -> str:
        return shelf

    document = app.openapi()

    operation = document["paths"]["/shelves/{shelf_id}"]["put"]
    assert operation["operationId"] == "fill_shelf"
    assert set(operation["responses"]) == {"200", "404", "409", "422"}
    example = operation["responses"]["404"]["content"][PROBLEM]["examples"]["shelf_not_found"]
    assert example["value"]["detail"] == "No shelf with this id."
    assert {"shelf_full", "shelf_not_found"} <= {
        *document["components"]["schemas"]["ProblemCode"]["enum"]
    }


def test_route_keeps_the_responses_that_it_describes_itself(app: FastAPI) -> None:
    class Elsewhere(BaseModel):
        url: str

    @app.post("/moved", responses={409: {"model": Elsewhere}, 422: {"model": Elsewhere}})
    async def move(data: Elsewhere) -> Elsewhere:
        return data

    responses = app.openapi()["paths"]["/moved"]["post"]["responses"]

    assert "application/json" in responses["409"]["content"]
    assert responses["422"]["content"].keys() == {"application/json", PROBLEM}


@pytest.mark.parametrize("name", ["ItemCreate", "ItemRead", "Problem", "FieldError"])
def test_text_has_an_example(name: str) -> None:
    schema = documented.openapi()["components"]["schemas"][name]

    for field, description in schema["properties"].items():
        kinds = [description, *description.get("anyOf", [])]
        is_text = any(kind.get("type") == "string" and "format" not in kind for kind in kinds)
        has_example = any(
            "examples" in kind or "default" in kind or "const" in kind for kind in kinds
        )
        assert has_example or not is_text, field
