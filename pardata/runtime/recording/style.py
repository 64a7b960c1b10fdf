"""The style of pages: light and dark, from 400 px on. Pure."""

from __future__ import annotations

from html import escape
from typing import Final

# Blue, grey, orange and red of lightnesses that differ, so that they can be told apart without colours too.
STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--card:#f6f7f9;--line:#d5dae0;--text:#1c2127;--soft:#5a6470;--busy:#2f6fb3;
--starved:#c3ccd6;--blocked:#e0943a;--memory:#9c4a1a;--bad:#c62828;--slow:#7b3fa0;--retried:#127a6b;--hint:#eaf2fb}
@media(prefers-color-scheme:dark){:root{--page:#14171b;--card:#1c2127;--line:#363e48;--text:#e4e8ec;--soft:#9aa5b1;
--busy:#5b9be0;--starved:#454f5a;--blocked:#e0a04e;--memory:#d9743c;--bad:#ff6b62;--slow:#c08ae6;--retried:#45bfa9;
--hint:#1b2a3b}}
*{box-sizing:border-box}
body{margin:0 auto;padding:24px 24px 48px;max-width:1280px;background:var(--page);color:var(--text);
font:14px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:22px;line-height:1.25;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:16px;margin:36px 0 4px}
p{margin:0 0 10px}.soft,.note{color:var(--soft)}.note{font-size:13px;max-width:80ch}
.advice{background:var(--hint);border-left:4px solid var(--busy);border-radius:4px;padding:10px 14px;margin:16px 0;
font-size:15px;overflow-wrap:anywhere}
.failed{border-left-color:var(--bad)}
.numbers{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
.numbers th,.numbers td{padding:5px 10px 5px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
.numbers th{font-weight:600;color:var(--soft);font-size:13px}
.numbers th:first-child,.numbers td:first-child,.numbers .left{text-align:left}
.numbers.fit{width:auto}.numbers.fit th,.numbers.fit td{padding-right:26px}
.numbers td:first-child{overflow-wrap:anywhere;min-width:9ch}
.numbers td.left{overflow-wrap:anywhere}.numbers .number{white-space:nowrap}
.share{display:flex;height:12px;min-width:70px;border-radius:3px;overflow:hidden;background:var(--card);margin-top:5px}
.share i{display:block}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;margin:4px 0 10px;font-size:13px;color:var(--soft)}
.legend i{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px}
.row{display:grid;grid-template-columns:150px minmax(0,1fr);gap:0 14px;align-items:center;margin:5px 0}
.row>.head{text-align:right;overflow-wrap:anywhere;line-height:1.3}
.row>.head small{display:block;color:var(--soft)}
.chart{display:block;width:100%;background:var(--card);border-radius:3px}
.lanes .row{margin:2px 0}.lanes .first{margin-top:10px}
.axis{position:relative;height:20px;font-size:12px;color:var(--soft);border-top:1px solid var(--line)}
.axis span{position:absolute;transform:translateX(-50%);white-space:nowrap;padding-top:2px}
.axis span:first-child{transform:none}
.axis .end{transform:translateX(-100%)}
.busy{fill:var(--busy);background:var(--busy)}.starved{fill:var(--starved);background:var(--starved)}
.blocked{fill:var(--blocked);background:var(--blocked)}.memory{fill:var(--memory);background:var(--memory)}
.other{background:transparent;border:1px solid var(--line)}
.slow{fill:var(--slow);background:var(--slow)}.killed{fill:var(--bad);background:var(--bad)}
.retried{fill:var(--retried);background:var(--retried)}
.memory-use{fill:var(--busy)}.limit{stroke:var(--bad);stroke-width:2;vector-effect:non-scaling-stroke;fill:none}
.mark{vector-effect:non-scaling-stroke;stroke:var(--text);stroke-width:1.5;fill:none}
.mark.p95{stroke-dasharray:5 3}.mark.p99{stroke-dasharray:2 2}
.graph{display:block;width:100%;height:auto;margin:8px 0;font-size:13px}
.graph .edge{fill:none;stroke:var(--soft);stroke-width:1.3}
.graph .box{fill:var(--card);stroke:var(--line);stroke-width:1.2}
.graph .slowest{stroke:var(--blocked);stroke-width:2.5}
.graph text{fill:var(--text)}
.graph .halo{paint-order:stroke;stroke:var(--page);stroke-width:4px;stroke-linejoin:round}
.graph .name{font-weight:600}.graph .rate{font-size:11.5px;fill:var(--soft)}
.narrow{display:none}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,360px),1fr));gap:20px 28px}
.card h3{font-size:14px;margin:0 0 4px;overflow-wrap:anywhere}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:var(--card);padding:10px 12px;border-radius:4px;
font-size:12.5px;line-height:1.45;margin:6px 0 12px}
details{margin:4px 0}summary{cursor:pointer;overflow-wrap:anywhere}
code{font-size:13px}
@media(max-width:760px){body{padding:16px 16px 40px}.row{grid-template-columns:minmax(0,1fr)}
.row>.head{text-align:left}.row>.head small{display:inline;margin-left:6px}
.wide-only{display:none}.numbers th,.numbers td{padding-right:7px;font-size:12.5px}}
@media(max-width:600px){.stages thead{display:none}.stages tr{display:flex;flex-wrap:wrap;gap:0 14px;padding:6px 0;
border-bottom:1px solid var(--line)}.stages td{border:0;padding:0}
.stages td:first-child,.stages td:last-child{flex:0 0 100%}
.stages .number:before{content:attr(data-head) " ";color:var(--soft)}
.numbers.fit{display:block;overflow-x:auto}.numbers.fit td:not(:first-child){white-space:nowrap}
.numbers.fit th,.numbers.fit td{padding-right:12px}
.axis span.end:nth-child(n+6){display:none}}
@media(max-width:900px){.graph.across.swaps{display:none}.narrow{display:block}}
"""


def page(title: str, body: str) -> str:
    """Return a whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def table(heads: list[str], rows: list[list[str]], kind: str = "") -> str:
    """Return a table; heads and cells are HTML. A head that begins with '<' is a whole cell of the head."""
    first = "".join(head if head.startswith("<") else f"<th>{head}</th>" for head in heads)
    lines = "".join(
        "<tr>" + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in row) + "</tr>"
        for row in rows
    )
    return f'<table class="numbers {kind}"><thead><tr>{first}</tr></thead><tbody>{lines}</tbody></table>'


def legend(*parts: tuple[str, str]) -> str:
    """Return a legend of (class, text)."""
    return (
        '<div class="legend">'
        + "".join(f'<span><i class="{kind}"></i>{text}</span>' for kind, text in parts)
        + "</div>"
    )


def row(head: str, small: str, chart: str, kind: str = "") -> str:
    """Return a chart with its name on the left; `head` and `small` are texts."""
    under = f"<small>{escape(small)}</small>" if small else ""
    return f'<div class="row {kind}"><div class="head">{escape(head)}{under}</div><div>{chart}</div></div>'
