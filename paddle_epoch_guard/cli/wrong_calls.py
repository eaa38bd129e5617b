"""What click and typer say of a wrong call, in the language of the process."""

import re

from paddle_epoch_guard.language import mark, tr

_TEXTS = (
    mark("Missing command."),
    mark("Missing argument {name}."),
    mark("Missing option {name}."),
    mark("No such option: {name} (Possible options: {names})"),
    mark("No such option: {name} Did you mean {other}?"),
    mark("No such option: {name}"),
    mark("No such option {name}."),
    mark("Option {name} requires an argument."),
    mark("Option {name} does not take a value."),
    mark("Got unexpected extra argument ({names})"),
    mark("Got unexpected extra arguments ({names})"),
    mark("Got unexpected extra argument(s) ({names})"),
    mark("Invalid value for {name}: {message}"),
    mark("Value error, {message}"),
    mark("{value} is not one of {choices}."),
    mark("{value} is not a valid integer."),
    mark("{value} is not a valid float."),
    mark("{value} is not in the range {limits}."),
    mark("Input should be a valid integer, unable to parse string as an integer"),
    mark("Input should be a valid number, unable to parse string as a number"),
    mark("Input should be greater than or equal to {limit}"),
    mark("Input should be less than or equal to {limit}"),
)
"""Of several releases; the first that matches counts. What none of them matches stays in English."""


def told(message: str) -> str:
    """A message of click's about a wrong call.

    Args:
        message: in English.
    """
    for text in _TEXTS:
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(text))
        found = re.fullmatch(pattern, message, re.DOTALL)
        if found is not None:
            values = found.groupdict()
            if "message" in values:
                values["message"] = told(values["message"])
            return tr(text, **values) if values else tr(text)
    return message
