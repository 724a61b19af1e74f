"""What the documents and the code say about each other is there: sections, links, files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDERS = ("sleepfm_jax", "data_builders", "configs", "launch", "tests", "docs")
CITED = re.compile(r"(\w+)\.md[`)\]]*,?[\s#]+§(\d+(?:\.\w+)?)")
NOT_HERE = re.compile(r"\b(?:DESIGN|FIELD|INDEX)\.md")
QUESTIONS = (
    "the loss",
    "a missing modality",
    "a label's meaning",
    "rate, patch and clip",
    "devices",
    "a checkpoint's content",
    "the step",
    "a new dataset",
    "a new objective",
    "what is frozen",
    "splits and leaks",
    "differences from the references",
)


def texts(root: Path):
    """(path, text) of all Python and Markdown but this test."""
    paths = [p for folder in FOLDERS for p in (root / folder).rglob("*") if p.is_file()]
    for path in sorted([*paths, *root.glob("*.md")]):
        if path.suffix in (".py", ".md") and path.name != "test_docs.py":
            yield path, path.read_text(encoding="utf-8")


def sections(text: str) -> set[str]:
    """Numbers of a document's headings, and of the items of their numbered lists: 1, 1.B, 2.8."""
    found, chapter = set(), ""
    for line in text.splitlines():
        if heading := re.match(r"#+ (\d+(?:\.[A-Z])?)\b", line):
            chapter = heading[1].partition(".")[0]
            found.add(heading[1])
        elif item := re.match(r"(\d+)\. ", line):
            found.add(f"{chapter}.{item[1]}")
    return found


def test_every_section_that_is_cited_exists(root):
    known = {p.stem: sections(p.read_text(encoding="utf-8")) for p in (root / "docs").glob("*.md")}
    missing, seen = [], 0
    for path, text in texts(root):
        where = path.relative_to(root)
        missing += [f"{where}: {name}" for name in NOT_HERE.findall(text)]
        missing += [
            f"{where}: docs/{name}.md"
            for name in re.findall(r"docs/([\w-]+)\.md", text)
            if name not in known
        ]
        cited = CITED.findall(text)
        missing += [f"{where}: {a} §{b}" for a, b in cited if b not in known.get(a, ())]
        if len(cited) != text.count("§"):
            missing.append(f"{where}: a § without the document that it is of, as in docs/x.md §1")
        seen += len(cited)
    assert seen > 5, "no citations where this test looks"
    assert not missing, "\n".join(missing)


def test_every_link_leads_somewhere(root):
    broken, seen = [], 0
    for path, text in texts(root):
        if path.suffix != ".md":
            continue
        for link in re.findall(r"\]\(([^)\s]+)\)", text):
            if "://" in link or link.startswith("#"):
                continue
            seen += 1
            if not (path.parent / link.partition("#")[0]).exists():
                broken.append(f"{path.relative_to(root)}: {link}")
    assert seen > 5
    assert not broken, "\n".join(broken)


def tree(root: Path) -> list[str]:
    """Paths of the README's annotated tree."""
    block = (root / "README.md").read_text().split("## Layout")[1].split("```")[1]
    found, folder = [], ""
    for line in block.strip("\n").splitlines():
        name = line.split()[0]
        folder = folder if line.startswith(" ") else name
        found.append(folder + name if line.startswith(" ") else name)
    return found


def test_the_annotated_tree_is_the_tree(root):
    listed = tree(root)
    gone = [path for path in listed if not (root / path).exists()]
    own = [p.parent for p in root.glob("sleepfm_jax/*/__init__.py")]
    own += [p for p in root.glob("sleepfm_jax/*.py") if p.name != "__init__.py"]
    paths = [p.relative_to(root).as_posix() + "/" * p.is_dir() for p in own]
    missing = sorted(set(paths) - set(listed))
    assert not gone, f"README's Layout names what is not there: {gone}"
    assert not missing, f"README's Layout lacks {missing}"


@pytest.mark.parametrize("question", QUESTIONS)
def test_the_one_file_of_each_question_exists(root, question):
    text = (root / "CONTRIBUTING.md").read_text().split("## Where is X decided?")[1]
    rows = dict(re.findall(r"^\| ([^|`]+) \| `([^`]+)` \|", text, re.MULTILINE))
    assert tuple(rows) == QUESTIONS
    assert (root / rows[question]).is_file(), rows[question]
