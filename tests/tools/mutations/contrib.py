"""Mutations of what only Django projects need."""

from .row import of

MUTATIONS = [
    *of(
        "contrib/django/apps",
        "system/test_django_checks.py",
        (
            "register(check_mail_settings)",
            "pass",
            "system/test_django_checks.py::test_every_bad_setting_is_named",
        ),
        (
            "        hide_urls()\n",
            "",
            "system/test_error_reports.py::test_a_report_of_a_journal_that_is_away_shows_no_password",
        ),
    ),
    *of(
        "contrib/django/checks",
        "system/test_django_checks.py",
        (
            "            if path != delivering:\n",
            "            if True:\n",
            "system/test_django_checks.py::test_missing_delivery_backend_is_an_error",
        ),
        (
            "if django_settings.DEBUG or not",
            "if not",
            "system/test_django_checks.py::test_queue_that_delivers_into_itself_is_an_error",
        ),
        (
            "        *_check_oauth2(),\n",
            "",
            "system/test_django_checks.py::test_a_login_by_oauth2_that_can_not_be_done_is_an_error",
        ),
    ),
    *of(
        "contrib/django/reports",
        "system/test_error_reports.py",
        (
            "|JOURNAL_URL",
            "",
            "system/test_error_reports.py::test_a_report_of_a_journal_that_is_away_shows_no_password",
        ),
    ),
    *of(
        "contrib/django/tasks",
        "system/test_own_celery_app.py system/test_django.py",
        (
            "from mailqueue.tasks import deliver",
            "deliver = None",
            "system/test_own_celery_app.py::test_autodiscovery_finds_the_task",
        ),
    ),
]
