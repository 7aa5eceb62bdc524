"""The picture of the README: the articles that most devices read, and how many enjoyed each, from the published marts.

.venv/bin/python docs/pictures/most_read.py [MARTS [SVG]]
"""

import sys
from html import escape
from pathlib import Path

import duckdb

HERE = Path(__file__).parent
MARTS = Path("data/published/current/marts.duckdb")
# Distinct devices over all days: those of single days must not be summed.
QUERY = """
with engaged as (
    select
        content_id,
        count(distinct device_key) filter (where is_read) as readers,
        count(distinct device_key) filter (where is_enjoyed) as enjoyers
    from fct_content_engagement
    where content_type = 'article' and not is_bot
    group by all
)

select contents.title, contents.product, engaged.readers, engaged.enjoyers
from engaged
inner join dim_contents as contents on engaged.content_id = contents.content_id and contents.is_current
where engaged.readers > 0
order by engaged.readers desc, engaged.content_id
limit 8
"""
# Pixels: the drawing, where bars begin, the longest bar, the first row and the height of a row.
WIDTH, LEFT, LONGEST, TOP, ROW = 880, 300, 500, 92, 44
# Blue and orange that colour-blind people tell apart, on light and on dark.
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.head { font-size: 18px; font-weight: 600 } .quiet { fill: #59636e; font-size: 12px }
.read { fill: #a8c7ee } .enjoyed { fill: #d9680b } .ground { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc } .quiet { fill: #9198a1 } .ground { fill: #0d1117 }
  .read { fill: #31577f } .enjoyed { fill: #f08c3a }
}
"""


def draw(rows: list[tuple[str, str, int, int]]) -> str:
    """An SVG of title, product, readers and enjoyers: within each bar of who read, the part that enjoyed."""
    height = TOP + ROW * len(rows) + 16
    scale = LONGEST / max((readers for _, _, readers, _ in rows), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        f'aria-label="Devices that read and that enjoyed the most read articles">',
        f"<style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="8"/>',
        '<text class="head" x="20" y="36">Who read it, who enjoyed it</text>',
        '<text class="quiet" x="20" y="58">Distinct devices; the most read articles of the sample</text>',
        f'<rect class="read" x="{LEFT}" y="68" width="12" height="12" rx="2"/>',
        f'<text class="quiet" x="{LEFT + 18}" y="78">read</text>',
        f'<rect class="enjoyed" x="{LEFT + 64}" y="68" width="12" height="12" rx="2"/>',
        f'<text class="quiet" x="{LEFT + 82}" y="78">and enjoyed</text>',
    ]
    for number, (title, product, readers, enjoyers) in enumerate(rows):
        y = TOP + ROW * number
        parts += [
            f'<text x="20" y="{y + 17}">{escape(title)}</text>',
            f'<text class="quiet" x="20" y="{y + 33}">{escape(product)}</text>',
            f'<rect class="read" x="{LEFT}" y="{y + 4}" width="{readers * scale:.1f}" height="28" rx="3"/>',
            f'<rect class="enjoyed" x="{LEFT}" y="{y + 11}" width="{enjoyers * scale:.1f}" height="14" rx="2"/>',
            f'<text class="quiet" x="{LEFT + readers * scale + 8:.1f}" y="{y + 22}">'
            f"{readers:,} · {enjoyers / readers:.0%}</text>",
        ]
    return "\n".join([*parts, "</svg>"]) + "\n"


def main(marts: Path = MARTS, picture: Path = HERE / "most_read.svg") -> None:
    """Draw it."""
    with duckdb.connect(str(marts), read_only=True) as db:
        picture.write_text(draw(db.execute(QUERY).fetchall()), encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
