"""Units as strings: what they mean, and what an error says of those that mean nothing."""

from __future__ import annotations

import pytest

from lucent.errors import InputError
from lucent.optvis.objectives import as_objective, channel, class_logit, neuron
from lucent.units import parsed


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("mixed4a:476", channel("mixed4a", 476)),
        ("mixed4a:476:3:2", neuron("mixed4a", 476, x=3, y=2)),
        ("relu#1:4", channel("relu#1", 4)),
        ("inception3a.branch1.relu:7:0:1", neuron("inception3a.branch1.relu", 7, 0, 1)),
        ("encoder[hidden]:3", channel("encoder[hidden]", 3)),
        ("encoder#0['a:b'][1]:3", channel("encoder#0['a:b'][1]", 3)),
        ("blocks.6@cls:42", channel("blocks.6@cls", 42)),
        ("blocks.6:42@cls", channel("blocks.6@cls", 42)),
        (" blocks.6 : 42 @reg0 ", channel("blocks.6@reg0", 42)),
        ("blocks[a@b]:3@cls", channel("blocks[a@b]@cls", 3)),
        ("blocks.6#0[1]:42@cls", channel("blocks.6#0[1]@cls", 42)),
        ("blocks.6@patches:42:3:2", neuron("blocks.6@patches", 42, x=3, y=2)),
        ("blocks.6:42:3:2@patches", neuron("blocks.6@patches", 42, x=3, y=2)),
        ("sae:12", channel("sae", 12)),
        ("labels:golden retriever", class_logit("labels", "golden retriever")),
        ("labels:3", channel("labels", 3)),
        ("labels:3:1 mug", class_logit("labels", "3:1 mug")),
        ("labels:7@home", channel("labels@home", 7)),
        ("labels:at @ sign", class_logit("labels", "at @ sign")),
    ],
)
def test_string_is_short_for_an_objective(text, same):
    made = as_objective(text)
    assert made.description == same.description
    assert made.terms[0].arguments == same.terms[0].arguments


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "Name the layer; lucent.modelzoo.util.get_model_layers(model) lists them."),
        (":3", "Name the layer; "),
        ("@cls:3", "Name the layer; "),
        ("mixed4a", "Say which unit: 'mixed4a:0' is the first; deepdream('mixed4a') takes all."),
        ("mixed4a:", "Say which unit: 'mixed4a:0' is the first"),
        ("mixed4a:-1", "are counted from 0: 'mixed4a:0' is the first unit."),
        ("mixed4a:3:5", "A position is a column and a row: 'mixed4a:3:3:2'."),
        ("mixed4a:3:5:6:7", "A position is a column and a row: 'mixed4a:3:3:2'."),
        ("mixed4a:1.5", "Units and positions are whole numbers, and x, the column, comes before y"),
        ("mixed4a:3:x:4", "Units and positions are whole numbers"),
        ("mixed4a:dog", "a class by its label is 'labels:dog'."),
    ],
)
def test_string_of_another_form_is_told_what_to_write(text, remedy):
    with pytest.raises(InputError) as error:
        parsed(text)
    message = str(error.value)
    assert f"The objective {text!r} is not of the form 'layer:channel' or" in message
    assert remedy in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("b.6@cls:42@reg0", "names two tokens: write 'b.6@cls:42'."),
        ("b.6:42:3:2@cls", "names a position, which a token has not: write 'b.6@cls:42'."),
        ("b.6@cls:42:3:2", "names a position, which a token has not: write 'b.6@cls:42'."),
    ],
)
def test_a_token_is_named_once_and_has_no_position(text, said):
    with pytest.raises(InputError) as error:
        as_objective(text)
    assert said in str(error.value)
