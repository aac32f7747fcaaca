from tests.decisions.conftest import estate, repository  # noqa: F401 - fixtures
