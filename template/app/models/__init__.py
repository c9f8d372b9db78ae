"""SQLModel tables. Each is imported here, so that migrations and tests know of it."""

from app.models.item import Item

__all__ = ["Item"]
