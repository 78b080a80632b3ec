"""Warnings stay inside, whichever threads decode, and the caller's filters come back."""

import logging
import threading
import warnings

import pytest

from guardrail.images.codec import QUIET


def test_warnings_inside_are_dropped_and_outside_are_not():
    with QUIET:
        warnings.warn("inside", UserWarning, stacklevel=1)
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", UserWarning, stacklevel=1)


def test_filters_come_back_after_an_error():
    before = list(warnings.filters)
    with pytest.raises(ZeroDivisionError), QUIET:
        raise ZeroDivisionError
    assert list(warnings.filters) == before


def test_overlapping_threads_restore_the_filters():
    before = list(warnings.filters)
    first_in, second_in, first_out = (threading.Event() for _ in range(3))

    def first():
        with QUIET:
            first_in.set()
            second_in.wait(5)
        first_out.set()

    def second():
        first_in.wait(5)
        with QUIET:
            second_in.set()
            first_out.wait(5)
            warnings.warn("still inside", UserWarning, stacklevel=1)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_pillow_does_not_log_tag_values():
    assert not logging.getLogger("PIL.TiffImagePlugin").isEnabledFor(logging.DEBUG)
