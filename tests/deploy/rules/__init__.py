"""The rules between the files that deploy and check a project, and the application.

One module a subject. Each rule has the faults that it must find beside it.
"""

from importlib import import_module
from pkgutil import iter_modules

from tests.deploy.rule import Rule

MODULES = [import_module(f"{__name__}.{module.name}") for module in iter_modules(__path__)]
RULES = [found for module in MODULES for found in vars(module).values() if isinstance(found, Rule)]
