"""What README and docs say is so: examples run, and all that is named exists.

The rule for fenced blocks: `python` runs, and prints the `text` block behind it, if there is one;
`py` is shown only, since it needs a database; `sh` holds commands, `yaml` documents of ours.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from configparser import ConfigParser
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
import yaml
from click.testing import CliRunner
from datacube.migration import ODC2DeprecationWarning
from datacube.model import Product

from odc_bdc.cli import main
from odc_bdc.cube import CubeSpec, shipped_cubes
from odc_bdc.files import Access
from odc_bdc.function import ENTRY_POINTS
from odc_bdc.grid import Grid
from odc_bdc.indexing import IngestRecipe, shipped_recipes
from odc_bdc.naming import CollectionName, FileName, ItemName, product_name
from odc_bdc.plugins import MASKS, SIGNERS

ROOT = Path(__file__).parents[2]
GROUPS = {ENTRY_POINTS, MASKS, SIGNERS}
"""Of entry points, which look like modules."""
TOP = ("README.md", "README.pt.md", "CONTRIBUTING.md", "CHANGELOG.md", "notebooks/README.md")
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (*(ROOT / name for name in TOP), *sorted((ROOT / "docs").rglob("*.md")))
}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OTHER_PROGRAMS = {".", "datacube", "export", "pip", "uv"}


def blocks(page, *kinds):
    return [(kind, text) for kind, text in BLOCK.findall(PAGES[page]) if kind in kinds]


def prose(page):
    return BLOCK.sub("", PAGES[page])


def inline(page):
    return re.findall(r"`([^`\n]+)`", prose(page))


def shell_lines():
    for page in PAGES:
        for _, text in blocks(page, "sh"):
            for line in text.replace("\\\n", " ").replace("&&", "\n").splitlines():
                words = shlex.split(line, comments=True)
                while words and re.match(r"[A-Z_]+=", words[0]):
                    words.pop(0)
                if words:
                    yield page, words


COMMANDS = [(page, words) for page, words in shell_lines() if words[0] == "odc-bdc"]
MENTIONED = [
    (page, text.split())
    for page in PAGES
    for text in inline(page)
    if text.startswith("odc-bdc ") and text.split()[1] != "COMMAND"
]


def resolve(words):
    """Follow the words of a command line; give the command and what is left of them."""
    command, rest = main, list(words)
    context = click.Context(main)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(context, rest.pop(0))
        assert found is not None, f"odc-bdc {' '.join(words)}: no such command"
        command = found
    return command, rest


def options(command):
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("--")}


def leaves(command, name=()):
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for word in command.list_commands(context):
        yield from leaves(command.get_command(context, word), (*name, word))


def ids(cases):
    return [f"{page}: {' '.join(words)}" for page, words in cases]


@pytest.mark.parametrize(
    ("page", "number"),
    [
        (p, n)
        for p in PAGES
        for n, (kind, _) in enumerate(blocks(p, "python", "text"))
        if kind == "python"
    ],
)
def test_python_examples_run_and_print_what_is_shown(page, number):
    found = blocks(page, "python", "text")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(found[number][1], page, "exec"), {"__name__": "example"})  # noqa: S102 (ours)
    following = found[number + 1 : number + 2]
    if following and following[0][0] == "text":
        assert printed.getvalue() == following[0][1]


def test_the_readme_shows_the_numbers_of_the_seed():
    (_, code), (_, shown) = blocks("README.md", "python", "text")
    assert "2900" in code
    assert shown.split() == ["AVG", "3050", "MED", "3100", "STK", "3150"]


def test_examples_that_need_a_database_are_python():
    for page in PAGES:
        for _, text in blocks(page, "py"):
            compile(text, page, "exec")


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=ids(COMMANDS))
def test_shown_commands_are_accepted(page, words):
    command, rest = resolve(words[1:])
    assert not isinstance(command, click.Group)
    command.make_context(words[0], rest)  # raises on a wrong option, value or number of arguments


@pytest.mark.parametrize(("page", "words"), MENTIONED, ids=ids(MENTIONED))
def test_mentioned_commands_exist_with_their_options(page, words):
    command, rest = resolve(words[1:])
    given = {word for word in rest if word.startswith("--")}
    assert given <= options(command) | {"--help"}


def test_mentioned_options_exist():
    known = {"--help"}.union(*(options(command) for _, command in leaves(main)))
    for page in PAGES:
        named = {text.split()[0] for text in inline(page) if text.startswith("--")}
        assert named <= known, page


def test_the_command_line_page_has_every_command_and_option():
    sections = dict(
        re.findall(
            r"^## ([a-z]+)\n(.*?)(?=^## )", PAGES["docs/reference/cli.md"], re.MULTILINE | re.DOTALL
        )
    )
    for name, command in leaves(main):
        section = sections[name[0]]
        assert f"odc-bdc {' '.join(name)}" in section
        missing = [o for o in options(command) - {"--help"} if f"`{o}" not in section]
        assert not missing, name
        for param in command.params:
            rows = [row for row in section.splitlines() if row.startswith(f"| `{param.opts[0]}")]
            if type(param.default) in (int, str) and rows:
                assert any(str(param.default) in row for row in rows), rows


def test_named_make_targets_and_variables_exist():
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    variables = set(re.findall(r"^([A-Z_]+) [?:]=", makefile, re.MULTILINE))
    shown = [words for _, words in shell_lines() if words[0] == "make"]
    named = [text.split() for page in PAGES for text in inline(page) if text.startswith("make ")]
    assert shown
    assert named
    for _, *words in shown + named:
        assert {word for word in words if "=" not in word} <= targets
        assert {word.split("=")[0] for word in words if "=" in word} <= variables
    listed = {text.split()[1] for text in inline("CONTRIBUTING.md") if text.startswith("make ")}
    assert targets <= listed


def test_shown_programs_are_known():
    assert {words[0] for _, words in shell_lines()} <= OTHER_PROGRAMS | {"make", "odc-bdc"}


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_between_files_resolve(page):
    here = (ROOT / page).parent
    for target in re.findall(r"!?\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (here / name).resolve() if name else ROOT / page
        assert path.exists(), target
        if anchor:
            headings = re.findall(
                r"^#+ (.+)$", BLOCK.sub("", path.read_text("utf-8")), re.MULTILINE
            )
            assert anchor in map(slug, headings), target


def test_every_page_is_in_the_navigation():
    def pages(entry):
        if isinstance(entry, str):
            yield entry
            return
        for value in entry.values() if isinstance(entry, dict) else entry:
            yield from pages(value)

    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))["nav"]
    # Those of notebooks are made when the documentation is.
    made = {f"docs/notebooks/{path.stem}.md" for path in (ROOT / "notebooks").glob("*.ipynb")}
    written = {p for p in PAGES if p.startswith("docs/")}
    assert {f"docs/{name}" for name in pages(nav)} == written | made


def test_both_readmes_show_the_same():
    def shown(page):
        return [
            re.sub(r"  # .*", "", text) for _, text in blocks(page, "sh", "py", "python", "text")
        ]

    assert shown("README.md") == shown("README.pt.md")
    assert inline("README.md") == inline("README.pt.md")
    headings = [re.findall(r"^#+ ", prose(p), re.MULTILINE) for p in ("README.md", "README.pt.md")]
    assert headings[0] == headings[1]


@pytest.mark.filterwarnings("ignore", category=ODC2DeprecationWarning)
@pytest.mark.parametrize("page", PAGES)
def test_named_modules_functions_and_files_exist(page):
    for name in set(re.findall(r"\bodc_bdc(?:\.\w+)+", PAGES[page])) - GROUPS:
        parent, _, leaf = name.rpartition(".")
        module = import_module(parent)
        assert hasattr(module, leaf) or find_spec(name), name
    folders = r"(?:odc_bdc|product_defs|ows_cfg|ingest|tests|docs)"
    for text in inline(page):
        if re.fullmatch(rf"{folders}/[\w/.]*", text):
            assert (ROOT / text).exists(), text


def test_documents_that_are_shown_are_valid(tmp_path):
    kinds = []
    for page in PAGES:
        for _, text in blocks(page, "yaml"):
            doc = yaml.safe_load(text)
            if "timeline" in doc:
                assert CubeSpec.from_dict(doc, where=page).outputs
                kinds.append("cube")
            elif "assets" in doc:
                (tmp_path / "recipe.yaml").write_text(text, encoding="utf-8")
                assert IngestRecipe.from_yaml(tmp_path / "recipe.yaml").assets
                kinds.append("recipe")
            elif "limits" in doc:
                recipe = "collection: a\nproduct: b\nassets: [red]\n"
                (tmp_path / "part.yaml").write_text(recipe + text, encoding="utf-8")
                assert IngestRecipe.from_yaml(tmp_path / "part.yaml").limits
                kinds.append("part of a recipe")
            elif "tile_size" in doc:
                assert Grid.from_dict(doc, where=page).tile_size
                kinds.append("grid")
            elif all(key.startswith("https://") for key in doc):
                assert Access.from_dict(doc, where=page)
                kinds.append("access")
            else:
                Product.validate(doc)
                kinds.append("product")
    assert sorted(kinds) == [
        *("access", "cube", "grid", "part of a recipe", "product", "recipe", "recipe")
    ]


def test_the_table_of_recipes_is_complete():
    rows = re.findall(
        r"^\| `(\w+)` \| `([\w.-]+)` \| `(\w+)` \|$",
        PAGES["docs/howto/index-scenes.md"],
        re.MULTILINE,
    )
    assert sorted(rows) == sorted(
        (r.name, r.collection, r.product) for r in shipped_recipes().values()
    )


def test_cubes_that_are_named_come_with_the_package_or_are_defined():
    known = {*shipped_cubes(), "FARM_64_1M_AVG_v1"}
    for page, text in PAGES.items():
        assert set(re.findall(r"\b\w+_(?:STK|MED|AVG)_v\d\b", text)) <= known, page


def test_the_page_of_names_shows_names_that_follow_the_grammar():
    sections = re.split(r"^## ", PAGES["docs/reference/names.md"], flags=re.MULTILINE)
    readers = {
        "Collections": CollectionName.parse,
        "Items": ItemName.parse,
        "Files": FileName.parse,
        "Folders": lambda text: ItemName.from_folder(text).folder + "/",
    }
    for title, read in readers.items():
        (section,) = [text for text in sections if text.startswith(f"{title}\n")]
        table = section.partition("\n### ")[0]
        examples = re.findall(r"\| `([^`]+)` \|$", table, re.MULTILINE)
        assert len(examples) > 5
        assert [str(read(example)) for example in examples] == examples
    products = re.findall(r"^\| `([^`]+)` \| `(\w+)` \|$", "".join(sections), re.MULTILINE)
    assert len(products) == 3
    for collection, product in products:
        assert product_name(collection) == product


def test_named_extras_exist():
    setup = ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    extras = set(setup["options.extras_require"])
    for page, text in PAGES.items():
        named = set(re.findall(r"(?:`|'(?:\.|odc_bdc))\[([a-z]+)\]", text))
        assert named <= extras, page


def test_named_variables_are_read_by_the_code():
    code = "".join(
        path.read_text("utf-8")
        for top in ("odc_bdc", "ows_cfg", "notebooks")
        for path in (ROOT / top).rglob("*.py")
    )
    named = {name for text in PAGES.values() for name in re.findall(r"\bODC_BDC_\w+", text)}
    # Those of rules of access are the reader's to choose.
    own = {
        rule.token
        for _, text in blocks("docs/howto/remote-scenes.md", "yaml")
        for rule in Access.from_dict(yaml.safe_load(text)).rules
    }
    assert named
    assert not {name for name in named - own if name not in code}


def test_the_page_on_cubes_shows_what_the_command_prints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = "docs/howto/define-a-cube.md"
    ((_, definition),) = blocks(page, "yaml")
    shown = [text for _, text in blocks(page, "text")]
    faults = [("function: AVG", "function: MEAN"), ("clear: [127]", "clear: 127")]
    texts = [definition, definition, definition.replace(*faults[0])]
    texts[1] = definition.replace(*faults[0]).replace(*faults[1])
    for text, wanted in zip(texts, shown, strict=True):
        Path("my_cube.yaml").write_text(text, "utf-8")
        assert CliRunner().invoke(main, ["cube", "show", "my_cube.yaml"]).output == wanted
