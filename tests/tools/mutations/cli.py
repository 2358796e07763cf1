"""Mutations of the command line."""

from .row import of

MUTATIONS = [
    *of(
        "cli/acting",
        "system/test_cli.py",
        (
            "if asking and ids and not choice.ids:",
            "if False:",
            "system/test_cli.py::test_what_can_not_be_undone_is_asked_first",
        ),
    ),
    *of(
        "cli/group",
        "system/test_cli.py",
        (
            "raise click.ClickException(str(error)) from error",
            "raise",
            "system/test_cli.py::test_a_bad_setting_is_a_clear_error",
        ),
        (
            'if click.get_current_context().invoked_subcommand not in ("check", "health"):',
            "if True:",
            "system/test_cli.py::test_check_tells_a_setting_that_is_wrong",
        ),
        (
            "    with suppress(FileNotFoundError):",
            "    with suppress(PermissionError):",
            "system/test_cli.py::test_status_needs_no_working_directory",
        ),
        (
            "    with serving(home()):\n        yield",
            "    yield",
            "system/test_up.py::test_up_runs_everything_and_ctrl_c_ends_all_of_it",
        ),
    ),
    *of(
        "cli/looking",
        "system/test_cli.py",
        (
            'sys.exit(health.EXIT_STATUS[found["verdict"]])',
            "sys.exit(0)",
            "packaging/test_demo.py::test_health_says_how_to_start_what_is_not_running",
        ),
        (
            'text.check, as_json)\n    sys.exit(0 if found["ok"] else 1)',
            "text.check, as_json)",
            "system/test_cli.py::test_check_tells_a_setting_that_is_wrong",
        ),
        (
            "State(state) if state else None, to",
            "None, to",
            "system/test_cli.py::test_list_finds_by_state_address_and_domain",
        ),
        (
            "report.find(wanted, limit)",
            "report.find(wanted)",
            "system/test_cli.py::test_list_finds_by_state_address_and_domain",
        ),
    ),
    *of(
        "cli/running",
        "system/test_signals.py system/test_own_celery_app.py",
        (
            'find_spec("gevent") is None',
            "False",
            "system/test_worker_pools.py::test_a_pool_that_is_not_installed_is_a_clear_error",
        ),
        (
            "return app or settings.MAILQUEUE.CELERY_APP or DEFAULT_APP",
            "return app or DEFAULT_APP",
            "system/test_own_celery_app.py::test_our_command_runs_the_projects_application",
        ),
        (
            "with until_stopped() as stop, serving(home()):\n            status",
            "with serving(home()), until_stopped() as stop:\n            status",
            "system/test_signals.py::test_one_while_a_worker_starts_leaves_no_server_behind",
        ),
    ),
]
