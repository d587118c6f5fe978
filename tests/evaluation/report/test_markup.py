"""Elements: text is escaped, attributes are named as HTML names them."""

from __future__ import annotations

from srn.evaluation.report.markup import Markup, element, figure, joined, table


def test_text_is_escaped_and_markup_is_not() -> None:
    assert element("b", "a < b & c") == "<b>a &lt; b &amp; c</b>"
    assert element("p", element("b", "<"), "&") == "<p><b>&lt;</b>&amp;</p>"
    assert joined(["<", Markup("<br>")], " ") == "&lt; <br>"
    assert isinstance(joined(["a"]), Markup)


def test_attributes() -> None:
    made = element("text", "a", class_="strong", text_anchor="end", x=1.26, y=2, transform=None, title='"<')
    assert made == '<text class="strong" text-anchor="end" x="1.3" y="2" title="&quot;&lt;">a</text>'
    assert element("rect", width=3) == '<rect width="3"/>'
    assert element("td") == "<td></td>"


def test_a_table_heads_its_rows_and_columns() -> None:
    made = table("<caption>", ["name", "n"], [["a&b", "1"], ["all", element("b", "2")]], total=True)
    assert 'aria-label="&lt;caption&gt;"' in made
    assert '<th scope="col">n</th>' in made
    assert '<tr><th scope="row">a&amp;b</th><td data-label="n">1</td></tr>' in made
    assert '<tr class="total"><th scope="row">all</th><td data-label="n"><b>2</b></td></tr>' in made


def test_a_figure_without_a_caption() -> None:
    assert figure(element("b", "x")) == "<figure><b>x</b></figure>"
    assert figure(Markup(), "a<b") == "<figure><figcaption>a&lt;b</figcaption></figure>"
