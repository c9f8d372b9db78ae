"""Items over HTTP."""

from httpx import AsyncClient


async def test_created_item_is_found_where_location_says(client: AsyncClient) -> None:
    created = await client.post("/api/v1/items", json={"title": "Milk", "description": "2 l"})

    found = await client.get(created.headers["Location"])

    assert created.status_code == 201
    assert found.status_code == 200
    assert found.json() == created.json()
