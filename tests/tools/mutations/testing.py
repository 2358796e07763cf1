"""Mutations of what the tests of applications use."""

from .row import of

MUTATIONS = [
    *of(
        "testing/assertions",
        "integration/test_testing.py",
        (
            "re.escape(wanted[name])",
            "wanted[name]",
            "unit/test_testing_assertions.py::test_a_subject_is_found_as_it_is_written",
        ),
        (
            "    if unknown:\n        raise TypeError",
            "    if False:\n        raise TypeError",
            "integration/test_testing.py::test_an_applications_tests_run_with_the_fixtures",
        ),
    ),
]
