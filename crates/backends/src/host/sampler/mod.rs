//! The sampler: one for this process and machine, which looks at everything again and again and hands what it saw to all readers.
//!
//! It is a plain thread, so that no reader waits for it and it waits for none; it begins with the first reader and ends when nobody
//! has asked for a minute. How often it looks follows from what was asked for, and from what a look costs: it slows down rather than
//! use more of a processor than it may, and says so in every sample.

mod look;
mod rings;
mod sample;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use roadstead_core::usage::Sampling;
use roadstead_core::{Error, ErrorKind, Result};
use tokio::sync::watch;

use self::look::Looker;
pub(super) use self::rings::Rings;
pub(super) use self::sample::ProcessSample;
pub use self::sample::{GroupSample, Sample};
use super::history::Keep;
use super::pace::Pace;

/// The thread ends when nobody has asked for so long.
const IDLE: Duration = Duration::from_mins(1);
/// The length of the steps of what is older.
const THIN: Duration = Duration::from_mins(5);
/// Intervals are never shorter.
const INTERVAL_LEAST: Duration = Duration::from_millis(100);

/// How it is looked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SamplerOptions {
    /// From one look to the next; at least a tenth of a second. Two seconds.
    pub interval: Duration,
    /// How much of one core looking may use, in percent: between 0.01 and 100. Two.
    pub budget_percent: f64,
    /// For how long everything is kept: at most [`MOMENTS_MAX`](Self::MOMENTS_MAX) intervals. A quarter of an hour.
    pub fine: Duration,
    /// For how long what is older is kept, in steps of five minutes: at most [`MOMENTS_MAX`](Self::MOMENTS_MAX) of these. A day.
    pub keep: Duration,
    /// Whether it goes on when nobody asks, so that there is a history when somebody does. No.
    pub keep_running: bool,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions {
            interval: Duration::from_secs(2),
            budget_percent: 2.0,
            fine: Duration::from_mins(15),
            keep: Duration::from_hours(24),
            keep_running: false,
        }
    }
}

impl SamplerOptions {
    /// So many samples of each container and process are kept at most, and so many of the steps of what is older.
    pub const MOMENTS_MAX: u32 = 100_000;

    /// Checks whether it can be looked like this.
    ///
    /// # Errors
    /// `InvalidInput` with the field `interval`, `budget_percent`, `fine` or `keep`.
    pub fn validate(&self) -> Result<()> {
        let keep = self.keep();
        let most = usize::try_from(Self::MOMENTS_MAX).unwrap_or(usize::MAX);
        if self.interval < INTERVAL_LEAST {
            return Err(Error::invalid("interval", "must be at least a tenth of a second"));
        }
        if !(0.01..=100.0).contains(&self.budget_percent) {
            return Err(Error::invalid("budget_percent", "must be from 0.01 to 100"));
        }
        if keep.fine > most {
            let reason = format!("would be {} samples at this interval; at most {most} are kept", keep.fine);
            return Err(Error::invalid("fine", reason));
        }
        if keep.spans > most {
            let reason = format!("would be {} steps of five minutes; at most {most} are kept", keep.spans);
            return Err(Error::invalid("keep", reason));
        }
        Ok(())
    }

    fn keep(&self) -> Keep {
        Keep::of(self.interval, self.fine, THIN, self.keep)
    }

    fn pace(&self) -> Pace {
        Pace::new(self.interval, self.budget_percent / 100.0)
    }
}

/// Looks at this machine for all who ask. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Sampler(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when the options changed.
    changed: Condvar,
    seen: watch::Sender<Seen>,
}

#[derive(Debug)]
struct State {
    options: SamplerOptions,
    /// Grows with each change of the options.
    version: u64,
    is_running: bool,
    asked: Instant,
    rings: Option<Rings>,
}

/// What the last look saw.
#[derive(Clone, Debug, Default)]
enum Seen {
    #[default]
    Nothing,
    This(Arc<Sample>),
    Failed(String),
}

/// The samples that come, each once it is there; those that come faster than they are taken are left out.
#[derive(Debug)]
pub(super) struct Samples(watch::Receiver<Seen>);

impl Default for Sampler {
    fn default() -> Self {
        Sampler::new()
    }
}

impl Sampler {
    /// One of its own, which costs as much again as the shared one.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            options: SamplerOptions::default(),
            version: 0,
            is_running: false,
            asked: Instant::now(),
            rings: None,
        };
        Sampler(Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            seen: watch::Sender::new(Seen::Nothing),
        }))
    }

    /// The one of this process.
    #[must_use]
    pub fn shared() -> Self {
        static SHARED: OnceLock<Sampler> = OnceLock::new();
        SHARED.get_or_init(Sampler::new).clone()
    }

    /// Changes how it is looked, from the next look on. What was kept stays unless it is to be kept for another time.
    ///
    /// # Errors
    /// Those of [`SamplerOptions::validate`]; then nothing is changed.
    pub fn configure(&self, options: SamplerOptions) -> Result<()> {
        options.validate()?;
        {
            let mut state = self.0.state();
            if options.keep() != state.options.keep() {
                state.rings = None;
            }
            state.options = options;
            state.version += 1;
        }
        self.0.changed.notify_all();
        Ok(())
    }

    /// How it is looked.
    #[must_use]
    pub fn options(&self) -> SamplerOptions {
        self.0.state().options.clone()
    }

    /// What the last look saw; the first one waits for a look.
    ///
    /// # Errors
    /// `Unavailable` when the kernel's files cannot be read, or there can be no more threads.
    pub async fn sample(&self) -> Result<Arc<Sample>> {
        self.samples()?.now().await
    }

    /// What is seen from now on. While it is held, looking goes on.
    pub(super) fn samples(&self) -> Result<Samples> {
        let samples = Samples(self.0.seen.subscribe());
        let mut state = self.0.state();
        state.asked = Instant::now();
        if !state.is_running {
            let shared = Arc::clone(&self.0);
            std::thread::Builder::new().name("roadstead-sampler".to_owned()).spawn(move || shared.run()).map_err(
                |cause| {
                    Error::new(ErrorKind::Unavailable, format!("the sampler cannot begin: {cause}")).with_source(cause)
                },
            )?;
            state.is_running = true;
        }
        Ok(samples)
    }

    /// Reads histories; nothing before the first look.
    pub(super) fn histories<T>(&self, read: impl FnOnce(&Rings) -> T) -> Option<T> {
        self.0.state().rings.as_ref().map(read)
    }
}

impl Samples {
    /// The last one, or the first one when there is none.
    pub(super) async fn now(&mut self) -> Result<Arc<Sample>> {
        let seen = self.0.wait_for(|seen| !matches!(seen, Seen::Nothing)).await.map(|seen| seen.clone());
        match seen {
            Ok(Seen::This(sample)) => Ok(sample),
            Ok(Seen::Failed(why)) => Err(Error::new(ErrorKind::Unavailable, why)),
            Ok(Seen::Nothing) | Err(_) => Err(Error::new(ErrorKind::Unavailable, "the sampler has ended")),
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Result<Arc<Sample>> {
        self.0.changed().await.map_err(|_| Error::new(ErrorKind::Unavailable, "the sampler has ended"))?;
        self.now().await
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread.
    fn run(self: Arc<Self>) {
        let _running = Running(&self);
        let mut looker = Looker::here();
        let (mut version, mut pace) = {
            let state = self.state();
            (state.version, state.options.pace())
        };
        let mut last = Look::default();
        loop {
            let due = self.look(&mut looker, &mut pace, &mut last);
            let mut state = self.state();
            loop {
                if state.version != version {
                    (version, pace) = (state.version, state.options.pace());
                    break;
                }
                let now = Instant::now();
                if now >= due {
                    break;
                }
                let waited = self.changed.wait_timeout(state, due - now);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let is_asked = state.options.keep_running || self.seen.receiver_count() > 0 || state.asked.elapsed() < IDLE;
            if !is_asked {
                // Whoever asks from here on begins another thread, since the state is held until this one is said to have ended.
                self.end(&mut state);
                return;
            }
        }
    }

    /// Looks, and hands out what was seen with what it cost; gives when to look again.
    fn look(&self, looker: &mut Looker, pace: &mut Pace, last: &mut Look) -> Instant {
        let (begun, used) = (Instant::now(), processor_time());
        let seen = looker.look();
        let mut sampling = Sampling::default();
        {
            let mut state = self.state();
            if let Ok(sample) = &seen {
                let keep = state.options.keep();
                state.rings.get_or_insert_with(|| Rings::new(keep)).push(sample, looker.page_bytes());
            }
            sampling.asked_interval_seconds = state.options.interval.as_secs_f64();
            sampling.budget_percent = state.options.budget_percent;
            sampling.history_bytes = state.rings.as_ref().map_or(0, Rings::bytes);
        }
        let cost = processor_time().saturating_sub(used);
        let due = begun + pace.after(cost);
        *last = Look { cost, begun: Some(begun), percent: last.percent_after(begun) };
        sampling.interval_seconds = pace.interval().as_secs_f64();
        sampling.slowed = pace.is_slowed();
        sampling.sample_cost_seconds = cost.as_secs_f64();
        sampling.cost_percent = last.percent;
        match seen {
            Ok(sample) => {
                self.seen.send_replace(Seen::This(Arc::new(Sample { sampling, ..sample })));
            }
            Err(cause) => {
                let why = format!("this machine's processes cannot be read: {cause}");
                tracing::warn!("{why}");
                self.seen.send_replace(Seen::Failed(why));
            }
        }
        due
    }

    fn end(&self, state: &mut State) {
        state.is_running = false;
        state.rings = None;
        self.seen.send_replace(Seen::Nothing);
    }
}

/// What the last look cost.
#[derive(Clone, Copy, Debug, Default)]
struct Look {
    cost: Duration,
    begun: Option<Instant>,
    /// Of one core, of late.
    percent: f64,
}

impl Look {
    /// With a look that began now: half of it is what was before.
    fn percent_after(self, begun: Instant) -> f64 {
        let Some(before) = self.begun else { return 0.0 };
        let seconds = begun.duration_since(before).as_secs_f64();
        if seconds <= 0.0 {
            return self.percent;
        }
        // What the look before cost is for the time until this one.
        let now = self.cost.as_secs_f64() / seconds * 100.0;
        if self.percent > 0.0 { f64::midpoint(self.percent, now) } else { now }
    }
}

/// Says that the thread has ended, however it ends.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.state();
            self.0.end(&mut state);
        }
    }
}

/// What this very thread has used of the processors.
fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn samples_come_one_after_the_other() {
        let sampler = Sampler::new();
        let options =
            SamplerOptions { interval: Duration::from_millis(100), budget_percent: 100.0, ..SamplerOptions::default() };
        sampler.configure(options).unwrap();
        let mut samples = sampler.samples().unwrap();
        let first = samples.now().await.unwrap();
        assert!(first.process(std::process::id()).is_some() && first.machine.memory.total_bytes > 0);
        assert!(first.processes.iter().all(|process| process.cpu_percent.is_none()));
        assert!(first.sampling.sample_cost_seconds > 0.0, "what it cost is told with it");
        let second = samples.next().await.unwrap();
        assert!(second.observed_at > first.observed_at);
        let own = second.process(std::process::id()).unwrap();
        assert!(own.cpu_percent.is_some_and(|percent| percent >= 0.0));
        assert!(second.sampling.sample_cost_seconds > 0.0 && second.sampling.history_bytes > 0);
        assert!((second.sampling.asked_interval_seconds - 0.1).abs() < 1e-9);
        // Another reader has the same one, and waits for none.
        let third = sampler.sample().await.unwrap();
        assert!(third.observed_at >= second.observed_at);
        let points = sampler.histories(|rings| (rings.machine(None, None), rings.process(own, None, None))).unwrap();
        assert!(points.0.len() >= 2 && points.1.len() >= 2);
        assert!(points.0.is_sorted_by_key(|point| point.at));
    }

    #[test]
    fn what_cannot_be_kept_is_refused_and_changes_nothing() {
        let sampler = Sampler::new();
        let good = SamplerOptions::default();
        let day = Duration::from_hours(24);
        let often = SamplerOptions { interval: Duration::from_millis(100), ..good };
        for (options, field) in [
            (SamplerOptions { interval: Duration::from_millis(99), ..good }, "interval"),
            (SamplerOptions { budget_percent: f64::NAN, ..good }, "budget_percent"),
            (SamplerOptions { fine: day, ..often }, "fine"),
            (SamplerOptions { fine: Duration::from_millis(10_000_100), ..often }, "fine"),
            (SamplerOptions { keep: 366 * day, ..good }, "keep"),
        ] {
            assert_eq!(sampler.configure(options).unwrap_err().field(), Some(field));
            assert_eq!(sampler.options(), good);
        }
        sampler.configure(SamplerOptions { fine: Duration::from_secs(10_000), ..often }).unwrap();
    }

    #[tokio::test]
    async fn what_is_kept_for_another_time_is_kept_anew() {
        let sampler = Sampler::new();
        let mut options = SamplerOptions::default();
        (options.interval, options.budget_percent) = (Duration::from_hours(1), 100.0);
        sampler.configure(options.clone()).unwrap();
        let mut samples = sampler.samples().unwrap();
        samples.now().await.unwrap();
        // A change of the options wakes the thread, which would sleep for an hour.
        options.fine = Duration::from_hours(2);
        sampler.configure(options.clone()).unwrap();
        samples.next().await.unwrap();
        let points = sampler.histories(|rings| rings.machine(None, None).len()).unwrap();
        assert_eq!((points, sampler.options()), (1, options));
    }
}
