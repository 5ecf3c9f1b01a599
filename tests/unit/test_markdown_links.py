"""Links between the project's own files: each leads to a file, and to a heading where it names one."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def text_of(page: Path) -> str:
    """Return a page's text without its blocks of code."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def leads_nowhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    # Sections that the site's build makes exist only there. That build fails if a link has no target.
    made = "{{ keys(" in target.read_text() if target.suffix == ".md" and target.exists() else False
    return not target.exists() or bool(anchor and target.suffix == ".md" and not made and anchor not in anchors(target))


def test_links_in_markdown_lead_to_files_and_headings_that_exist() -> None:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    links = [
        (page, link)
        for page in listed.stdout.splitlines()
        for link in re.findall(r"\]\(([^)\s]+)\)", text_of(ROOT / page))
        if not re.match(r"[a-z]+:", link)
    ]
    assert links, "no link was found"
    assert [f"{page}: {link}" for page, link in links if leads_nowhere(ROOT / page, link)] == []
