//! Tables of numbers, and figures: a chart with its table under it.

use maud::{Markup, html};

/// A table in which the first column names, and the others are numbers.
pub(super) fn table(heading: &[String], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll tabindex="0" {
            table {
                thead { tr { @for cell in heading { th scope="col" { (cell) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (at, cell) in row.iter().enumerate() {
                                @if at == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A figure: what it shows, the chart, and its numbers to unfold.
pub(super) fn figure(caption: &str, chart: &Markup, numbers: &Markup) -> Markup {
    html! {
        figure {
            figcaption { (caption) }
            (chart)
            details { summary { "Numbers" } (numbers) }
        }
    }
}

/// Strings of anything that has them.
pub(super) fn cells<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}
