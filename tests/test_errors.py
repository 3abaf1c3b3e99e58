"""The errors: kinds that Python's own handlers understand, and suggestions."""

from __future__ import annotations

import pytest

from lucent import errors


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [
        (errors.InputError, ValueError),
        (errors.LayerError, LookupError),
        (errors.WeightsError, OSError),
        (errors.DivergenceError, ArithmeticError),
    ],
)
def test_each_kind_is_a_lucent_error_and_its_builtin_relative(kind, builtin):
    with pytest.raises(errors.LucentError, match="what to type"):
        raise kind("what to type")
    assert issubclass(kind, builtin)


def test_the_text_of_a_lookup_error_is_not_quoted():
    # str(KeyError("text")) is "'text'", which would spoil the sentences.
    assert str(errors.LayerError("There is no layer 'a'.")) == "There is no layer 'a'."


def test_suggestions_are_the_closest_names_best_first():
    known = ["mixed4a", "mixed4b", "mixed5a", "head"]
    assert errors.suggestion("mixed4", known, limit=2) == "Did you mean 'mixed4b', 'mixed4a'?"
    assert errors.suggestion("hed", iter(known)) == "Did you mean 'head'?"


def test_there_is_no_suggestion_where_nothing_is_close():
    assert errors.suggestion("qqq", ["mixed4a", "head"]) == ""
    assert errors.suggestion("mixed4a", []) == ""
