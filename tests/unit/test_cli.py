"""The command line: errors in one line, help for everything."""

import click
import pytest
import yaml
from click.testing import CliRunner

from odc_bdc.cli import main
from odc_bdc.cli._options import DAYS
from odc_bdc.errors import InvalidValueError
from odc_bdc.product import product_document


def commands(group, path=()):
    """Give the words of every command."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize("words", [(), *commands(main)], ids=" ".join)
def test_help_explains_by_example(words):
    done = CliRunner().invoke(main, [*words, "--help"])
    assert done.exit_code == 0
    assert (
        "odc-bdc "
        in done.output.split("Options:")[0].partition("\n")[2]
        + done.output.split("Options:")[1].partition("Examples:")[2]
    )


@pytest.fixture
def failing(monkeypatch):
    """Give a function that makes `odc-bdc product list` raise."""

    def fail(error):
        def raise_it():
            raise error

        monkeypatch.setattr("odc_bdc.product.shipped_products", raise_it)

    return fail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (InvalidValueError("a.yaml: no such grid"), "odc-bdc: a.yaml: no such grid\n"),
        (KeyError("x"), "odc-bdc: unexpected KeyError: 'x' (`odc-bdc --debug ...` says where"),
    ],
)
def test_an_error_is_one_line_without_a_traceback(failing, error, said):
    failing(error)
    done = CliRunner().invoke(main, ["product", "list"])
    assert done.exit_code == 2
    assert done.output.startswith(said)
    assert done.output.count("\n") == 1


def test_debug_shows_where(failing):
    failing(KeyError("x"))
    done = CliRunner().invoke(main, ["--debug", "product", "list"])
    assert isinstance(done.exception, KeyError)


def test_usage_is_clicks_own():
    done = CliRunner().invoke(main, ["product", "add"])
    assert done.exit_code == 2
    assert "give the names of products, or --all" in done.output


@pytest.mark.parametrize(
    ("time", "days"),
    [
        (("2019", "2020"), ("2019-01-01", "2020-12-31")),
        (("2019-11", "2020-02"), ("2019-11-01", "2020-02-29")),
        (("2019-11-03", "2020"), ("2019-11-03", "2020-12-31")),
    ],
)
def test_years_and_months_mean_their_first_and_last_day(time, days):
    told = tuple(str(kind.convert(text, None, None)) for kind, text in zip(DAYS, time, strict=True))
    assert told == days


def test_day_that_does_not_exist_is_named():
    done = CliRunner().invoke(
        main, ["cube", "plan", "CB4_64_16D_STK_v1", "--time", "2019-02-30", "2020"]
    )
    assert done.exit_code == 2
    assert "'2019-02-30' cannot be read: it is not a time of ISO 8601" in done.output


def test_a_product_is_shown_as_it_can_be_added():
    done = CliRunner().invoke(main, ["product", "show", "CB4_64_16D_STK_v1"])
    assert done.exit_code == 0
    assert yaml.safe_load(done.output) == product_document("CB4_64_16D_STK_v1")


def test_a_product_that_is_not_there_is_told():
    done = CliRunner().invoke(main, ["product", "show", "CB4_64_16D_STK_V1"])
    assert done.exit_code
    assert "do you mean CB4_64_16D_STK_v1" in f"{done.exception}{done.output}"
