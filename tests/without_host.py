"""Where no host is installed, what needs one is skipped, and all else is tested: ``make test-python``.

Nobody lists what needs a host: an import that fails for want of it says so, and so does the mark ``host``. A test that
needs one in another process has the mark ``needs_host``.
"""

import importlib.util

import pytest

HOSTS = ("paddle", "paddlenlp", "paddleformers")
WITH_HOSTS = (*HOSTS, "fast_dataindex", "tool_helpers")
"""The hosts, and their builders of indices, which come with them."""
MISSING = all(importlib.util.find_spec(name) is None for name in HOSTS)
REASON = "needs a host, and none is installed here"
needs_host = pytest.mark.skipif(MISSING, reason=REASON)


def _is_for_want_of_a_host(error):
    while error is not None:
        if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] in WITH_HOSTS:
            return True
        error = error.__cause__
    return False


def _skip_for_want_of_a_host(report, call, path):
    if MISSING and call is not None and call.excinfo is not None and _is_for_want_of_a_host(call.excinfo.value):
        report.outcome = "skipped"
        report.longrepr = (str(path), 0, f"Skipped: {REASON}")
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    report = yield
    return _skip_for_want_of_a_host(report, getattr(report, "call", None), collector.path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    return _skip_for_want_of_a_host(report, call, item.path)


def pytest_collection_modifyitems(items):
    if MISSING:
        for item in items:
            if item.get_closest_marker("host") is not None:
                item.add_marker(pytest.mark.skip(reason=REASON))
