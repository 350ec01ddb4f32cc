"""Takes the README's picture of the page: docs/board.png.

Run: python docs/board_picture.py leaderboard.html (what `make demo` leaves)
Needs chromium, and `pip install playwright` (`make browser` installs both).
"""

import argparse
import shutil
from io import BytesIO
from pathlib import Path

from PIL import Image

SIZE = (1180, 1240)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("board.png"))
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright  # pyright: ignore[reportMissingImports]

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]}, color_scheme="light")
        page.goto(args.page.resolve().as_uri())
        page.wait_for_selector("#picture svg")
        shot = page.screenshot()
        browser.close()
    Image.open(BytesIO(shot)).convert("RGB").save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
