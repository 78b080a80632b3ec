"""Writes the matrix of faults into docs/faults.md; a test holds both equal."""

from pathlib import Path

from tests.faults.cells import print_counts, print_table

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


def main() -> None:
    page = PAGE.read_text()
    for name, text in (("counts", print_counts()), ("matrix", print_table())):
        begin, rest = page.split(f"<!-- {name} -->\n")
        _, end = rest.split("<!-- end -->", 1)
        page = f"{begin}<!-- {name} -->\n{text}\n<!-- end -->{end}"
    PAGE.write_text(page)


if __name__ == "__main__":
    main()
