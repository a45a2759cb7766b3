//! What something used over time: at full resolution for a while, then as the least, mean and greatest of longer spans.
//!
//! Both are rings of a length that does not change, so that what a container takes is known beforehand; they grow by small blocks
//! until they have it, and never move. At full resolution a value takes three bytes: its five digits are more than a percentage or a
//! rate means, and the exact counters of the last look are kept apart.

use std::time::Duration;

use super::blocks::Blocks;

/// A moment, or a span of moments, in tenths of a second since whenever the sampler began.
pub(super) type Tenths = u32;

/// Values at one moment, none below zero; a value that is not known is `NAN`.
pub(super) type Values<const N: usize> = [f32; N];

/// A moment as it is kept: without gaps, and without the bits of the values that mean nothing.
#[derive(Clone, Copy, Debug)]
struct Moment<const N: usize> {
    at: [u8; size_of::<Tenths>()],
    values: [Short; N],
}

impl<const N: usize> Moment<N> {
    fn new(at: Tenths, values: Values<N>) -> Self {
        Moment { at: at.to_ne_bytes(), values: values.map(Short::new) }
    }

    fn at(&self) -> Tenths {
        Tenths::from_ne_bytes(self.at)
    }

    fn values(&self) -> Values<N> {
        self.values.map(Short::value)
    }
}

/// A number that is not below zero, as the upper bits of an `f32` behind its sign: 17 significant ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Short([u8; 3]);

impl Short {
    const LEFT_OUT: u32 = 7;
    const UNKNOWN: Short = Short([0xff; 3]);

    fn new(value: f32) -> Self {
        if value.is_nan() {
            return Short::UNKNOWN;
        }
        // Rounded up from the middle on, which carries over into the exponent as it should.
        let [_, short @ ..] =
            ((value.max(0.0).to_bits() + (1 << (Short::LEFT_OUT - 1))) >> Short::LEFT_OUT).to_be_bytes();
        Short(short)
    }

    fn value(self) -> f32 {
        let Short([a, b, c]) = self;
        f32::from_bits(u32::from_be_bytes([0, a, b, c]) << Short::LEFT_OUT)
    }
}

/// The least, the mean and the greatest of one value over a span; all `NAN` where it never was known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) min: f32,
    pub(super) mean: f32,
    pub(super) max: f32,
}

/// A span of time, by its beginning, with a spread of each value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span<const N: usize> {
    pub(super) at: Tenths,
    pub(super) spreads: [Spread; N],
}

/// How long what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keep {
    /// At full resolution, at most so many moments.
    pub(super) fine: usize,
    /// The length of the spans of what is older.
    pub(super) span: Tenths,
    /// At most so many of these.
    pub(super) spans: usize,
}

impl Keep {
    /// Moments for `fine` at this interval, and spans of `span` for `all`; at least one of each. Whether these are too many is for
    /// whoever asks for them to say.
    pub(super) fn of(interval: Duration, fine: Duration, span: Duration, all: Duration) -> Self {
        let count = |all: Duration, each: Duration| {
            let count = all.as_nanos() / each.as_nanos().max(1);
            usize::try_from(count).unwrap_or(usize::MAX).max(1)
        };
        let tenths = Tenths::try_from(span.as_millis() / 100).unwrap_or(Tenths::MAX).max(1);
        Keep { fine: count(fine, interval), span: tenths, spans: count(all, span) }
    }

    /// The most bytes that one history takes.
    #[cfg(test)]
    pub(super) fn most_bytes<const N: usize>(&self) -> usize {
        size_of::<History<N>>() + Moments::<N>::most_bytes(self.fine) + Spans::<N>::most_bytes(self.spans)
    }
}

/// Adds values up to a spread.
#[derive(Clone, Copy, Debug)]
struct Sum {
    min: f32,
    max: f32,
    sum: f64,
    count: u32,
}

impl Default for Sum {
    fn default() -> Self {
        Sum { min: f32::INFINITY, max: f32::NEG_INFINITY, sum: 0.0, count: 0 }
    }
}

impl Sum {
    /// Adds a spread that stands for so many values.
    fn add(&mut self, spread: Spread, count: u32) {
        if spread.mean.is_nan() {
            return;
        }
        self.min = self.min.min(spread.min);
        self.max = self.max.max(spread.max);
        self.sum += f64::from(spread.mean) * f64::from(count);
        self.count += count;
    }

    #[allow(clippy::cast_possible_truncation, reason = "the mean of what fits does")]
    fn spread(&self) -> Spread {
        if self.count == 0 {
            return Spread { min: f32::NAN, mean: f32::NAN, max: f32::NAN };
        }
        // Rounding must not lead out of what it is the mean of.
        let mean = (self.sum / f64::from(self.count)) as f32;
        Spread { min: self.min, mean: mean.clamp(self.min, self.max), max: self.max }
    }
}

fn alone(value: f32) -> Spread {
    Spread { min: value, mean: value, max: value }
}

/// A span that is over.
#[derive(Clone, Copy, Debug)]
struct Over<const N: usize> {
    span: Span<N>,
    /// Its first moment.
    first: Tenths,
    /// How many moments it stands for.
    count: u32,
}

/// A span that is not over yet.
#[derive(Clone, Copy, Debug)]
struct Open<const N: usize> {
    at: Tenths,
    first: Tenths,
    sums: [Sum; N],
    count: u32,
}

impl<const N: usize> Open<N> {
    fn over(&self) -> Over<N> {
        let span = Span { at: self.at, spreads: self.sums.map(|sum| sum.spread()) };
        Over { span, first: self.first, count: self.count }
    }
}

type Moments<const N: usize> = Blocks<Moment<N>, 16>;
/// They are large and come seldom: a block of sixteen would take the memory of more than an hour at once.
type Spans<const N: usize> = Blocks<Over<N>, 4>;

/// One thing's history of `N` values.
#[derive(Clone, Debug)]
pub(super) struct History<const N: usize> {
    keep: Keep,
    fine: Moments<N>,
    spans: Spans<N>,
    open: Option<Open<N>>,
}

impl<const N: usize> History<N> {
    pub(super) fn new(keep: Keep) -> Self {
        History { keep, fine: Blocks::new(keep.fine), spans: Blocks::new(keep.spans), open: None }
    }

    /// Adds what was seen at this moment, which is later than all before.
    pub(super) fn push(&mut self, at: Tenths, values: Values<N>) {
        self.fine.push(Moment::new(at, values));
        let begin = at - at % self.keep.span;
        if let Some(open) = self.open.filter(|open| open.at != begin) {
            self.spans.push(open.over());
            self.open = None;
        }
        let open = self.open.get_or_insert(Open { at: begin, first: at, sums: [Sum::default(); N], count: 0 });
        for (sum, value) in open.sums.iter_mut().zip(values) {
            sum.add(alone(value), 1);
        }
        open.count += 1;
    }

    /// What was since then, in steps of this length or of that at which it is kept, whichever is longer, oldest first. Each step
    /// begins at a multiple of its length.
    pub(super) fn since(&self, since: Tenths, step: Tenths) -> Vec<Span<N>> {
        let step = step.max(1);
        let mut steps: Vec<(Tenths, [Sum; N])> = Vec::new();
        let mut add = |at: Tenths, spreads: [Spread; N], count: u32| {
            let begin = at - at % step;
            if steps.last().is_none_or(|(last, _)| *last != begin) {
                steps.push((begin, [Sum::default(); N]));
            }
            if let Some((_, sums)) = steps.last_mut() {
                for (sum, spread) in sums.iter_mut().zip(spreads) {
                    sum.add(spread, count);
                }
            }
        };
        // Spans, as far as not all of them is kept finer, and then what came after these. The one that is not over is one of them
        // where moments are kept for a shorter time than a span.
        let fine_from = self.fine.iter().next().map_or(Tenths::MAX, Moment::at);
        let mut thin_until = since;
        let open = self.open.as_ref().map(Open::over);
        // A span in which it was asked for is told whole: its beginning cannot be told from its end.
        let is_asked = |over: &&Over<N>| {
            since < fine_from && over.first < fine_from && over.span.at.saturating_add(self.keep.span) > since
        };
        for over in self.spans.iter().chain(&open).filter(is_asked) {
            add(over.span.at, over.span.spreads, over.count);
            thin_until = over.span.at.saturating_add(self.keep.span);
        }
        for moment in self.fine.iter().filter(|moment| moment.at() >= thin_until) {
            add(moment.at(), moment.values().map(alone), 1);
        }
        steps.into_iter().map(|(at, sums)| Span { at, spreads: sums.map(|sum| sum.spread()) }).collect()
    }

    /// The bytes that it takes now.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>() + self.fine.bytes() + self.spans.bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_hours(24);
    const KEEP: Keep = Keep { fine: 10, span: 50, spans: 4 };

    fn means(spans: &[Span<1>]) -> Vec<(Tenths, f32)> {
        spans.iter().map(|span| (span.at, span.spreads[0].mean)).collect()
    }

    /// A value each second, which is the number of the second.
    fn seconds(count: u32) -> History<1> {
        let mut history = History::new(KEEP);
        (0..count).for_each(|second| history.push(second * 10, [second as f32]));
        history
    }

    #[test]
    fn what_is_new_is_fine_and_what_is_older_is_thin() {
        let history = seconds(23);
        let all = history.since(0, 1);
        // 13 to 22 are fine. Of 10 to 14 there is a span, of which a part is fine: nothing is counted twice, and nothing left out.
        let thin = [(0, 2.0), (50, 7.0), (100, 12.0)];
        let fine: Vec<_> = (15_u16..23).map(|second| (u32::from(second) * 10, f32::from(second))).collect();
        assert_eq!(means(&all), [&thin[..], &fine].concat());
        assert_eq!(all[1].spreads[0], Spread { min: 5.0, mean: 7.0, max: 9.0 });
        assert_eq!(means(&history.since(200, 1)), [(200, 20.0), (210, 21.0), (220, 22.0)]);
    }

    #[test]
    fn steps_are_as_long_as_asked() {
        let history = seconds(10);
        assert_eq!(means(&history.since(0, 40)), [(0, 1.5), (40, 5.5), (80, 8.5)]);
        assert_eq!(history.since(0, 100)[0].spreads[0], Spread { min: 0.0, mean: 4.5, max: 9.0 });
        assert_eq!(history.since(0, 0).len(), 10);
        assert!(history.since(1000, 10).is_empty());
    }

    #[test]
    fn a_step_over_spans_and_moments_weighs_both_by_what_they_stand_for() {
        // 0 to 22, of which the first fifteen are three spans.
        assert_eq!(means(&seconds(23).since(0, 1000)), [(0, 11.0)]);
    }

    #[test]
    fn a_span_that_is_not_over_is_told_where_moments_are_kept_for_less() {
        let mut history = History::new(Keep { fine: 2, ..KEEP });
        (0..9).for_each(|second| history.push(second * 10, [second as f32]));
        // Of 5 to 8 only the last two are fine.
        assert_eq!(means(&history.since(0, 1)), [(0, 2.0), (50, 6.5)]);
        assert_eq!(means(&history.since(70, 1)), [(70, 7.0), (80, 8.0)]);
        // What was since then is in a span that began before.
        assert_eq!(means(&history.since(60, 1)), [(50, 6.5)]);
    }

    #[test]
    fn moments_that_are_kept_are_told_one_by_one_wherever_they_begin() {
        let mut history = History::new(KEEP);
        (3..8).for_each(|second| history.push(second * 10, [second as f32]));
        let alone: Vec<_> = (3_u16..8).map(|second| (u32::from(second) * 10, f32::from(second))).collect();
        assert_eq!(means(&history.since(0, 1)), alone);
    }

    #[test]
    fn it_never_grows_beyond_what_was_said() {
        let history = seconds(10_000);
        assert!(history.bytes() <= KEEP.most_bytes::<1>(), "{} {}", history.bytes(), KEEP.most_bytes::<1>());
        assert_eq!((history.fine.iter().count(), history.spans.iter().count()), (KEEP.fine, KEEP.spans));
        let day = Keep::of(
            Duration::from_secs(2),
            Duration::from_secs(900),
            Duration::from_secs(300),
            Duration::from_secs(86400),
        );
        assert_eq!((day.fine, day.span, day.spans), (450, 3000, 288));
        let long = Keep::of(Duration::from_millis(100), Duration::from_hours(24), DAY, DAY);
        assert_eq!((long.fine, long.spans), (864_000, 1), "what is asked for is not cut in silence");
        assert_eq!(Keep::of(DAY, Duration::ZERO, DAY, Duration::ZERO).fine, 1);
    }

    #[test]
    fn five_digits_are_kept_of_any_value() {
        for value in [0.0, 1.0, 0.1, 99.99, 12345.678, 1.6e10, f32::MIN_POSITIVE, 3.4e37, 1.999_999_9] {
            let kept = Short::new(value).value();
            assert!((kept - value).abs() <= value / 100_000.0, "{value} {kept}");
        }
        assert!(Short::new(f32::NAN).value().is_nan() && Short::new(-1.0).value() == 0.0);
        assert!(Short::new(f32::INFINITY).value() == f32::INFINITY && Short::new(f32::MAX).value() == f32::INFINITY);
        assert_eq!(size_of::<Moment<13>>(), 4 + 13 * 3);
    }

    #[test]
    fn what_is_not_known_is_left_out_of_means() {
        let mut history = History::<2>::new(KEEP);
        for (at, value) in [(0, 1.0), (10, f32::NAN), (20, 3.0)] {
            history.push(at, [value, f32::NAN]);
        }
        let all = history.since(0, 100);
        assert_eq!(all[0].spreads[0], Spread { min: 1.0, mean: 2.0, max: 3.0 });
        assert!(all[0].spreads[1].mean.is_nan() && all[0].spreads[1].max.is_nan());
    }

    #[test]
    fn a_pause_leaves_no_span() {
        let mut history = History::<1>::new(KEEP);
        history.push(0, [1.0]);
        history.push(1000, [2.0]);
        history.push(2000, [3.0]);
        assert_eq!(means(&history.since(0, 50)), [(0, 1.0), (1000, 2.0), (2000, 3.0)]);
        assert_eq!(history.spans.iter().map(|over| over.span.at).collect::<Vec<_>>(), [0, 1000]);
    }
}
