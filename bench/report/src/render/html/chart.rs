//! A chart: two axes, and marks between them, as inline SVG. Colours are the style sheet's `s0` .. `s7`.

use maud::{Markup, html};

use super::axis::Axis;

/// How many colours there are; further series begin again.
pub(super) const COLOURS: usize = 8;

/// A chart has the page's width, or shares it with another.
pub(super) const WIDE: f64 = 1060.0;
pub(super) const HALF: f64 = 520.0;

const HEIGHT: f64 = 280.0;
const LEFT: f64 = 72.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 46.0;

/// A chart in the making.
pub(super) struct Chart {
    title: String,
    description: String,
    width: f64,
    x: Axis,
    y: Axis,
    marks: Vec<Markup>,
}

impl Chart {
    /// Empty axes. `title` and `description` are for those who do not see it.
    pub(super) fn new(title: impl Into<String>, description: impl Into<String>, x: Axis, y: Axis) -> Chart {
        Chart { title: title.into(), description: description.into(), width: WIDE, x, y, marks: Vec::new() }
    }

    /// Half as wide.
    pub(super) fn half(self) -> Chart {
        Chart { width: HALF, ..self }
    }

    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        let right = LEFT + self.x.at(x) * (self.width - LEFT - RIGHT);
        (right, HEIGHT - BOTTOM - self.y.at(y) * (HEIGHT - TOP - BOTTOM))
    }

    /// A line through points. `style`: further classes, such as `thin`.
    pub(super) fn line(&mut self, colour: usize, style: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let path = points.into_iter().map(|point| pair(self.place(point))).collect::<Vec<_>>().join(" ");
        self.marks
            .push(html! { polyline class={ "line s" (colour % COLOURS) " " (style) } points=(path) {} });
    }

    /// A point that says something when the pointer rests on it.
    pub(super) fn dot(&mut self, colour: usize, style: &str, at: (f64, f64), says: &str) {
        let (x, y) = self.place(at);
        self.marks.push(html! {
            circle class={ "dot s" (colour % COLOURS) " " (style) } cx=(short(x)) cy=(short(y)) r="4" { title { (says) } }
        });
    }

    /// A dashed line across.
    pub(super) fn level(&mut self, colour: usize, y: f64) {
        let (_, height) = self.place((0.0, y));
        let height = short(height);
        self.marks.push(html! {
            line class={ "level s" (colour % COLOURS) } x1=(LEFT) x2=(self.width - RIGHT) y1=(height) y2=(height) {}
        });
    }

    /// A dashed line up.
    pub(super) fn wall(&mut self, colour: usize, x: f64) {
        let (right, _) = self.place((x, 0.0));
        let right = short(right);
        self.marks.push(html! {
            line class={ "level s" (colour % COLOURS) } x1=(right) x2=(right) y1=(TOP) y2=(HEIGHT - BOTTOM) {}
        });
    }

    /// The SVG.
    pub(super) fn draw(self) -> Markup {
        let (bottom, middle) = (HEIGHT - BOTTOM, (LEFT + self.width - RIGHT) / 2.0);
        html! {
            svg.chart viewBox={ "0 0 " (self.width) " " (HEIGHT) } role="img" aria-label={ (self.title) ". " (self.description) } {
                desc { (self.description) }
                g.grid aria-hidden="true" {
                    @for (value, text) in &self.y.ticks {
                        @let (_, y) = self.place((0.0, *value));
                        line x1=(LEFT) x2=(self.width - RIGHT) y1=(short(y)) y2=(short(y)) {}
                        text x=(LEFT - 9.0) y=(short(y + 4.0)) text-anchor="end" { (text) }
                    }
                    line x1=(LEFT) x2=(self.width - RIGHT) y1=(bottom) y2=(bottom) {}
                    @for (value, text) in &self.x.ticks {
                        @let x = LEFT + self.x.at(*value) * (self.width - LEFT - RIGHT);
                        line.tick x1=(short(x)) x2=(short(x)) y1=(bottom) y2=(bottom + 5.0) {}
                        text x=(short(x)) y=(bottom + 19.0) text-anchor="middle" { (text) }
                    }
                    text.axis x=(middle) y=(HEIGHT - 8.0) text-anchor="middle" { (self.x.label) }
                    text.axis x=(-(TOP + bottom) / 2.0) y="13" transform="rotate(-90)" text-anchor="middle" { (self.y.label) }
                }
                @for mark in &self.marks { (mark) }
            }
        }
    }
}

/// Names and colours of series.
pub(super) fn legend<'a>(names: impl IntoIterator<Item = (usize, &'a str)>) -> Markup {
    html! {
        ul.legend aria-hidden="true" {
            @for (colour, name) in names {
                li { span class={ "swatch s" (colour % COLOURS) } {} (name) }
            }
        }
    }
}

fn pair((x, y): (f64, f64)) -> String {
    format!("{},{}", short(x), short(y))
}

/// A coordinate to a tenth of a unit.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or_else(|| text.clone(), str::to_owned)
}
