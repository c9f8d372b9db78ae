"""All routes of the API."""

from fastapi import APIRouter, status

from app.api.problems import problem_responses
from app.api.routes import health, items

router = APIRouter(responses=problem_responses(status.HTTP_422_UNPROCESSABLE_CONTENT))
router.include_router(health.router)
router.include_router(items.router)
