"""Shared style sheet of all pages: colours, type, cards, tables and charts."""

from __future__ import annotations

LIGHT = (
    "#0b62a8 #de7926 #2a3a0a #650f43 #9083fc #bd3d6f "
    "#12268f #876923 #16654f #2f8bad #899a65 #c57f94"
)
"""Line colours on a light page, chosen by search. With protanopia, deuteranopia or tritanopia
(Machado et al. 2009) no two are nearer than 8.8 by CIEDE2000, and each has a contrast of 3 or more
with the page."""
DARK = (
    "#6fb1f2 #8b7d0d #c1f2c3 #ce4e7e #766ce2 #fce67a "
    "#f0a7bc #208a86 #7ee0f2 #9cac76 #f48b38 #a86e57"
)
"""Line colours on a dark page, chosen alike: no two are nearer than 9.4."""


def base_style() -> str:
    """Return the style sheet that every page begins with; a page's own rules follow it."""
    light, dark = (
        "".join(f"--p{number}:{colour};" for number, colour in enumerate(colours.split()))
        for colours in (LIGHT, DARK)
    )
    numbers = range(len(LIGHT.split()))
    classes = "".join(f".c{number}{{--line:var(--p{number})}}" for number in numbers)
    return (
        BASE.replace("/*light*/", light).replace("/*dark*/", dark).replace("/*classes*/", classes)
    )


BASE = """
:root{color-scheme:light dark;--page:#f6f7f8;--card:#fff;--ink:#1a1f26;--soft:#5a6470;
--rule:#e1e5e9;--grid:#e9ecef;--accent:#0b62a8;--tint:#eaf2f9;/*light*/}
@media (prefers-color-scheme:dark){:root{--page:#121418;--card:#1b1e24;--ink:#e8eaed;--soft:#a2abb6;
--rule:#31363e;--grid:#2a2f37;--accent:#7db8f0;--tint:#1d2b3a;/*dark*/}}
/*classes*/
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,-apple-system,
"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif;font-variant-numeric:tabular-nums;
-webkit-text-size-adjust:100%}
main{max-width:1320px;margin:0 auto;padding:56px 28px 40px}
h1{font-size:clamp(1.7rem,1.2rem + 2.2vw,2.6rem);line-height:1.15;letter-spacing:-.02em;
margin:0 0 14px;max-width:22em;font-weight:680;text-wrap:balance}
h2{font-size:1.4rem;line-height:1.25;letter-spacing:-.01em;margin:0 0 8px;font-weight:650}
h3{font-size:1rem;line-height:1.35;margin:0;font-weight:620}
p{margin:0 0 12px;max-width:46em}
section{margin-top:60px}
.eyebrow{color:var(--accent);font-weight:600;font-size:.9rem;margin-bottom:10px;
overflow-wrap:anywhere}
.lead{color:var(--soft);font-size:1.1rem;max-width:42em}
.hint{color:var(--soft)}
.card{background:var(--card);border:1px solid var(--rule);border-radius:14px}
.tiles{display:grid;gap:16px;grid-template-columns:repeat(auto-fit,minmax(min(100%,230px),1fr));
margin:0 0 16px;padding:0;list-style:none}
.tile{padding:22px 24px}
.tile.first{grid-column:span 2;background:var(--tint);border-color:transparent}
.tile .what{color:var(--soft);font-size:.9rem;margin:0 0 6px}
.tile .name{font-weight:620;margin:0 0 14px;line-height:1.35;overflow-wrap:anywhere}
.tile.first .name{font-size:1.25rem}
.tile .score{font-size:2.1rem;line-height:1;font-weight:680;letter-spacing:-.02em;margin:0 0 8px}
.tile.first .score{font-size:3.2rem}
.whole{white-space:nowrap}
.tile .more{color:var(--soft);font-size:.92rem;margin:0}
.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,210px),1fr));
gap:18px 28px;margin:0;padding:22px 24px}
.facts dt{color:var(--soft);font-size:.85rem}
.facts dd{margin:2px 0 0;font-weight:560;overflow-wrap:anywhere}
.facts .wide{grid-column:1/-1}
.facts .wide dd{font-weight:400}
.scroll{overflow-x:auto;margin-top:20px}
.scroll:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:separate;border-spacing:0;width:100%;font-size:.92rem;line-height:1.35}
caption{caption-side:bottom;text-align:left;color:var(--soft);font-size:.85rem;padding:14px 18px}
caption span{position:sticky;left:18px;display:inline-block;max-width:min(46em,calc(100vw - 70px))}
th,td{padding:11px 11px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--rule);
vertical-align:middle}
thead th{color:var(--soft);font-weight:560;font-size:.84rem;vertical-align:bottom;
white-space:normal;padding-top:14px}
tbody th{font-weight:460}
th:first-child{position:sticky;left:0;background:var(--card);text-align:left;padding-left:18px;
z-index:1}
tbody th:first-child{white-space:normal;min-width:190px;max-width:270px;overflow-wrap:anywhere}
.words{text-align:left;white-space:normal}
.tag{display:inline-block;font-size:.74rem;font-weight:600;color:var(--accent);
background:var(--tint);border-radius:9px;padding:1px 9px;margin-top:4px;line-height:1.35}
.part-of{display:block;color:var(--soft);font-size:.8rem;line-height:1.3}
svg{display:block;overflow:visible}
.chart{width:100%;height:auto}
.chart text{fill:var(--soft);font-size:10.5px;font-family:inherit}
.chart.small text{font-size:11.5px}
.chart .axis{font-weight:560}
.bars path{fill:var(--accent)}.bars path:hover{fill:var(--ink)}
.bar{width:100%;min-width:70px;height:8px}
.bar rect{fill:var(--grid)}.bar path{fill:var(--accent)}
.grid{stroke:var(--grid);fill:none;vector-effect:non-scaling-stroke}
.base{stroke:var(--soft);stroke-opacity:.6;fill:none;vector-effect:non-scaling-stroke}
.target{stroke:var(--ink);stroke-opacity:.55;stroke-dasharray:2 4;fill:none;
vector-effect:non-scaling-stroke}
.line{stroke:var(--line);stroke-width:2;fill:none;stroke-linejoin:round;stroke-linecap:round;
vector-effect:non-scaling-stroke}
.mark{fill:var(--line);stroke:var(--card);stroke-width:1;vector-effect:non-scaling-stroke}
.mark:hover{stroke:var(--ink);stroke-width:2}
footer{margin-top:64px;padding-top:18px;border-top:1px solid var(--rule);color:var(--soft);
font-size:.87rem}
@media print{body{background:none}section{break-inside:avoid}.scroll{overflow:visible}}
@media (max-width:900px){.chart text{font-size:12px}}
@media (max-width:600px){main{padding:32px 16px 28px}section{margin-top:44px}
.tile.first{grid-column:auto}.tile.first .score{font-size:2.6rem}
.facts{grid-template-columns:1fr 1fr;gap:16px 20px;padding:20px}
.chart.large text{font-size:18.5px}.large .mark{stroke:var(--line);stroke-width:2.4}
.large .line{stroke-width:1.6}
th,td{padding:10px}th:first-child{padding-left:14px}
tbody th:first-child{min-width:136px;max-width:136px;font-size:.87rem}
th:first-child{box-shadow:1px 0 0 var(--rule)}}
"""
